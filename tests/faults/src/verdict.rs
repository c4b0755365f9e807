//! Compares what arrived with what was sent.

use std::collections::BTreeMap;

use sio_streams_driver::sio_streams_core::{CommandError, EntryId};

use crate::Fate;

/// The deliveries of one author's messages at one receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages that were published.
    pub published: usize,
    /// Messages whose failure was reported.
    pub failed: usize,
    /// Messages that came.
    pub heard: usize,
    /// Messages that were published and did not come, for a reason that was reported.
    pub excused: usize,
}

/// Compares the fates of an author's messages, whose numbers begin with `first`, with the numbers of
/// those that came, in their order.
///
/// `excused` says for an entry whether its loss was reported to somebody who could know.
///
/// # Errors
///
/// Says what is wrong: a message that came twice or out of order, that came though it was reported
/// not to, or that did not come though it was published.
pub fn judge(
    first: u32,
    fates: &[Fate],
    heard: &[u32],
    excused: impl Fn(EntryId) -> bool,
) -> Result<Count, String> {
    if let Some(pair) = heard.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("{} came after {}", pair[1], pair[0]));
    }
    let mut count = Count { heard: heard.len(), ..Count::default() };
    let mut rest = heard.iter().copied().peekable();
    for (number, fate) in (first..).zip(fates) {
        let came = rest.next_if_eq(&number).is_some();
        match fate {
            Fate::Published(id) => {
                count.published += 1;
                if !came {
                    count.excused += 1;
                    if !excused(*id) {
                        return Err(format!("{number} was published as {id}, and did not come"));
                    }
                }
            }
            // Nobody knows: it may have come.
            Fate::Failed(CommandError::Lost(_)) | Fate::Open => count.failed += 1,
            fate if came => return Err(format!("{number} came, but: {fate:?}")),
            Fate::Failed(_) | Fate::Refused(_) => count.failed += 1,
        }
    }
    match rest.next() {
        Some(number) => Err(format!("{number} came, and was never said")),
        None => Ok(count),
    }
}

/// Takes out what came again. What came first stays, in its order; the numbers that came again are
/// counted.
pub fn without_repeats(heard: &[u32]) -> (Vec<u32>, BTreeMap<u32, usize>) {
    let mut seen = BTreeMap::new();
    let mut first = Vec::new();
    for &number in heard {
        let times = seen.entry(number).or_insert(0);
        if *times == 0 {
            first.push(number);
        }
        *times += 1;
    }
    seen.retain(|_, times| *times > 1);
    (first, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates() -> Vec<Fate> {
        let id = |seq| Fate::Published(EntryId { ms: 1, seq });
        let lost = || Fate::Failed(CommandError::Lost(String::new()));
        let not_sent = || Fate::Failed(CommandError::NotSent(String::new()));
        vec![id(0), lost(), id(1), not_sent(), id(2)]
    }

    #[test]
    fn what_arrived_must_be_what_was_said() {
        let judge = |heard: &[u32]| judge(0, &fates(), heard, |_| false);
        assert_eq!(judge(&[0, 2, 4]), Ok(Count { published: 3, failed: 2, heard: 3, excused: 0 }));
        assert_eq!(judge(&[0, 1, 2, 4]), Ok(Count { published: 3, failed: 2, heard: 4, excused: 0 }));
        for wrong in [&[0, 2][..], &[0, 2, 2, 4], &[0, 4, 2], &[0, 2, 3, 4], &[0, 2, 4, 5], &[]] {
            assert!(judge(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_loss_that_was_reported_is_excused() {
        let excused = |id: EntryId| id.seq == 1;
        let count = judge(0, &fates(), &[0, 4], excused).unwrap();
        assert_eq!(count, Count { published: 3, failed: 2, heard: 2, excused: 1 });
        assert!(judge(0, &fates(), &[0, 2], excused).is_err());
    }

    #[test]
    fn numbers_may_begin_anywhere() {
        let count = judge(7, &fates(), &[7, 9, 11], |_| false).unwrap();
        assert_eq!(count, Count { published: 3, failed: 2, heard: 3, excused: 0 });
        for wrong in [&[0, 2, 4][..], &[6, 7, 9, 11], &[7, 9, 11, 12]] {
            assert!(judge(7, &fates(), wrong, |_| false).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn repeats_are_taken_out_and_counted() {
        assert_eq!(without_repeats(&[1, 2, 1, 2, 3, 2]), (vec![1, 2, 3], BTreeMap::from([(1, 2), (2, 3)])));
    }
}
