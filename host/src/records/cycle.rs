//! Finds circles among things that refer to each other by index.

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Open,
    Done,
}

/// The index of something that refers to itself through `links`, if anything
/// does. Every link must be below `count`.
///
/// It walks on the heap: a chain may be as long as there are things.
pub(crate) fn find_cycle<L>(count: usize, links: impl Fn(usize) -> L) -> Option<usize>
where
    L: Iterator<Item = usize>,
{
    let mut visits = vec![Visit::New; count];
    for start in 0..count {
        let mut path = Vec::new();
        if visits[start] == Visit::New {
            visits[start] = Visit::Open;
            path.push((start, links(start)));
        }
        while let Some((at, rest)) = path.last_mut() {
            match rest.next() {
                Some(next) if visits[next] == Visit::Open => return Some(next),
                Some(next) if visits[next] == Visit::New => {
                    visits[next] = Visit::Open;
                    path.push((next, links(next)));
                }
                Some(_) => {}
                None => {
                    visits[*at] = Visit::Done;
                    path.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(links: &[&[usize]]) -> Option<usize> {
        find_cycle(links.len(), |index| links[index].iter().copied())
    }

    #[test]
    fn a_circle_is_found_and_shared_ends_are_none() {
        assert_eq!(cycle(&[]), None);
        assert_eq!(cycle(&[&[1, 2], &[3], &[3], &[]]), None);
        assert_eq!(cycle(&[&[0]]), Some(0));
        assert_eq!(cycle(&[&[1], &[2], &[3], &[1]]), Some(1));
    }

    #[test]
    fn a_chain_of_a_million_needs_no_stack() {
        let last = 999_999;
        assert_eq!(
            find_cycle(last + 1, |index| (index < last)
                .then_some(index + 1)
                .into_iter()),
            None
        );
    }
}
