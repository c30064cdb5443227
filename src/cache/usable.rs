//! Whether a layer can be used as it is stored: decided here alone, for looking
//! up, importing and exporting alike. And what an export does about a layer
//! that cannot.

use std::fmt;

use crate::blob::{Condition, Properties, State};

/// Why a layer cannot be used as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// It cannot be read.
    Unreadable(State),
    /// It has another size than it should.
    Size {
        /// In bytes.
        found: u64,
        /// In bytes.
        wanted: u64,
    },
}

impl Properties {
    /// Why the blob cannot be used as a layer of this size; none where it can.
    pub(super) fn obstacle(&self, size: u64) -> Option<Obstacle> {
        match &self.state {
            State::Readable if self.size == size => None,
            State::Readable => Some(Obstacle::Size {
                found: self.size,
                wanted: size,
            }),
            state => Some(Obstacle::Unreadable(state.clone())),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(state) => write!(f, "{state}"),
            Self::Size { found, wanted } => {
                write!(f, "the store holds {found} bytes of it instead of {wanted}")
            }
        }
    }
}

/// What an export does about a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is there.
    Reuse,
    /// Writes it, on this condition.
    Write(Condition),
    /// Removes this version, which cannot be overwritten, and writes the layer.
    Remove(String),
    /// It can be neither used nor replaced, for this reason.
    GiveUp(String),
}

impl Step {
    /// What to do about a layer of this size, given what the store holds of it.
    /// `refusal` is why it could not be written as it stands there.
    pub(super) fn of(found: Option<&Properties>, size: u64, refusal: Option<&str>) -> Self {
        let Some(found) = found else {
            return match refusal {
                Some(refusal) => Self::GiveUp(refusal.to_owned()),
                None => Self::Write(Condition::Absent),
            };
        };
        let obstacle = match found.obstacle(size) {
            None => return Self::Reuse,
            Some(obstacle) => obstacle,
        };
        match (&obstacle, refusal) {
            // In the archive tier a blob can be removed, and not overwritten.
            (Obstacle::Unreadable(State::Archived | State::Rehydrating), _) => {
                Self::Remove(found.etag.clone())
            }
            // What lies in a directory is not ours to remove.
            (Obstacle::Unreadable(State::Directory), _) => Self::GiveUp(obstacle.to_string()),
            (_, Some(refusal)) => {
                Self::GiveUp(format!("{obstacle}, and it cannot be replaced: {refusal}"))
            }
            (Obstacle::Size { .. }, None) => Self::Write(Condition::Is(found.etag.clone())),
            // Of a blob that the store does not show there is no version to
            // name. Whoever writes this key writes the same bytes.
            (Obstacle::Unreadable(_), None) => Self::Write(Condition::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(size: u64, state: State) -> Properties {
        Properties {
            size,
            modified: 0,
            etag: "\"1\"".to_owned(),
            state,
        }
    }

    #[test]
    fn a_layer_can_be_used_where_its_size_is_right_and_it_can_be_read() {
        assert_eq!(found(5, State::Readable).obstacle(5), None);
        assert_eq!(
            found(4, State::Readable).obstacle(5),
            Some(Obstacle::Size {
                found: 4,
                wanted: 5
            })
        );
        for state in [
            State::Archived,
            State::Rehydrating,
            State::CustomerKey,
            State::Directory,
            State::Refused("403".to_owned()),
        ] {
            let obstacle = found(5, state.clone()).obstacle(5);
            assert_eq!(obstacle, Some(Obstacle::Unreadable(state)));
        }
    }

    #[test]
    fn a_layer_is_reused_replaced_removed_first_or_given_up() {
        let version = || Condition::Is("\"1\"".to_owned());
        let refused = || State::Refused("409 Why".to_owned());
        let given_up = |text: &str| Step::GiveUp(text.to_owned());
        let remove = || Step::Remove("\"1\"".to_owned());
        for (state, size, refusal, expected) in [
            (State::Readable, 5, None, Step::Reuse),
            // Another writer was there first.
            (State::Readable, 5, Some("no"), Step::Reuse),
            (State::Readable, 4, None, Step::Write(version())),
            (
                State::Readable,
                4,
                Some("no"),
                given_up(
                    "the store holds 4 bytes of it instead of 5, and it cannot be replaced: no",
                ),
            ),
            (State::Archived, 5, None, remove()),
            (State::Rehydrating, 5, Some("no"), remove()),
            (
                State::Directory,
                0,
                None,
                given_up("a directory has its name"),
            ),
            (State::CustomerKey, 5, None, Step::Write(Condition::None)),
            (refused(), 0, None, Step::Write(Condition::None)),
            (
                refused(),
                0,
                Some("no"),
                given_up("the store refuses it: 409 Why, and it cannot be replaced: no"),
            ),
        ] {
            let found = found(size, state);
            assert_eq!(Step::of(Some(&found), 5, refusal), expected, "{found:?}");
        }
        assert_eq!(Step::of(None, 5, None), Step::Write(Condition::Absent));
        assert_eq!(Step::of(None, 5, Some("no")), given_up("no"));
    }
}
