//! Why a call failed, in the contract's cases. The texts are for people and
//! hold no secret.

use crate::digest::Digest;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// An attribute, or the variable used instead of it, is not acceptable.
    #[error("`{name}`: {reason}")]
    InvalidAttribute {
        /// The attribute, or the variable's name.
        name: String,
        /// Why it is not acceptable, and what is.
        reason: String,
    },
    /// No credential was found, or the store refused it.
    #[error("{0}")]
    Unauthenticated(String),
    /// The credential may not do this, or the host does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The store could not be reached, or kept failing.
    #[error("{0}")]
    Unavailable(String),
    /// What the store holds is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// The host's content could not be read.
    #[error("{0}")]
    Content(String),
    /// Layers of a manifest that the store does not have at their size.
    #[error("the store does not have {} of the manifest's layers", .0.len())]
    MissingLayers(Vec<Digest>),
    /// A name is not as the precondition of a write said.
    #[error("{0}")]
    Conflict(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An attribute, or its variable, that is not acceptable.
    pub(crate) fn attribute(name: &str, reason: impl Into<String>) -> Self {
        Self::InvalidAttribute {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }

    /// The same error, which has another sentence to say.
    pub(crate) fn and(mut self, sentence: &str) -> Self {
        let (Self::Unauthenticated(text)
        | Self::Forbidden(text)
        | Self::Unavailable(text)
        | Self::Corrupt(text)
        | Self::Content(text)
        | Self::Conflict(text)
        | Self::Other(text)
        | Self::InvalidAttribute { reason: text, .. }) = &mut self
        else {
            return self;
        };
        text.push_str(". ");
        text.push_str(sentence);
        self
    }
}
