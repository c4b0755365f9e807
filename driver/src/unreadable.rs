//! A search for a way around an entry that can't be read. A reply with this entry alone is too
//! large for the server, or for something on the way.
//!
//! No command that reads a stream returns ids without contents. However, a read behind an id is cut
//! off if that entry is the next one, and it is not cut off if the id is the entry's own or a later
//! one. Each cut costs a connection. Therefore the search comes from above, where nothing is cut
//! off.

use sio_streams_core::EntryId;

/// The number of parts into which a range of milliseconds is divided.
const PARTS: u64 = 32;

/// The number of ids within a millisecond that are tried one by one.
const TRIES: u32 = 8;

/// The number of entries that may be read before the search is cut off. The reads that were cut off
/// before it had asked for two at most.
const STEPS: u32 = 3;

/// The number of times that the search may be cut off. If it is cut off more often, something else
/// is wrong.
const CUTS: u32 = 40;

/// The times after this machine's time at which the search begins, in milliseconds. They are tried
/// one after the other, since the server's clock may be ahead.
const AHEAD: [u64; 4] = [0, 60 * 60 * 1_000, 24 * 60 * 60 * 1_000, u64::MAX];

/// The result of reading one entry behind an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Entry(EntryId),
    Nothing,
    CutOff,
}

/// A way around the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The id behind which the entry that can't be read is the next one.
    pub(crate) behind: EntryId,
    /// The id behind which entries can be read again.
    pub(crate) resume: EntryId,
    /// `true` if that entry is certainly the only one in between.
    pub(crate) alone: bool,
}

/// A search for a way around an entry.
#[derive(Debug)]
pub(crate) struct Search {
    now: u64,
    /// The id behind which the search was cut off first.
    behind: EntryId,
    /// The highest id so far behind which reading was cut off. During the walk, this is the last
    /// entry that was read.
    low: EntryId,
    /// The lowest id so far behind which reading was not cut off.
    high: EntryId,
    asked: EntryId,
    stage: Stage,
    cuts: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Reads on, entry by entry, until it is cut off. The number is that of the entries that may
    /// still be read.
    Walk(u32),
    /// Looks for a time that is late enough. The number is an index of [`AHEAD`].
    Top(usize),
    /// Goes back from there, in steps that grow.
    Back {
        from: u64,
        step: u64,
    },
    /// Goes through the rest from above, in steps of this size. Zero means that the size is not
    /// known yet.
    Divide(u64),
    /// Tries the ids of a millisecond. The number is that of the ids that may still be tried.
    Within(u32),
    /// The entry is found. The search reads once more where it was cut off first, since that may
    /// have been a coincidence.
    Confirm {
        alone: bool,
    },
    Over {
        alone: bool,
    },
    /// Something else is wrong, or nothing is.
    Failed,
}

fn end_of(ms: u64) -> EntryId {
    EntryId { ms, seq: u64::MAX }
}

impl Search {
    /// Starts a search after reading behind `after` was cut off, at once or soon. `now` is this
    /// machine's time in milliseconds. It only affects how long the search takes.
    pub(crate) fn new(after: EntryId, now: u64) -> Self {
        Search {
            now,
            behind: after,
            low: after,
            high: end_of(u64::MAX),
            asked: after,
            stage: Stage::Walk(STEPS),
            cuts: 0,
        }
    }

    /// Returns the id behind which one entry is to be read next, or `None` if the search is over.
    pub(crate) fn next(&mut self) -> Option<EntryId> {
        self.asked = loop {
            // The first millisecond in which the entry can be.
            let least = self.low.ms.saturating_add((self.low.seq == u64::MAX).into());
            match self.stage {
                Stage::Walk(_) => break self.low,
                Stage::Top(at) => match AHEAD.get(at) {
                    Some(ahead) => break end_of(self.now.max(self.low.ms).saturating_add(*ahead)),
                    None => self.stage = Stage::Failed,
                },
                Stage::Back { from, step } => match from.checked_sub(step) {
                    Some(ms) if ms >= least => break end_of(ms),
                    _ => self.stage = Stage::Divide(0),
                },
                Stage::Divide(step) => match (self.high.ms.saturating_sub(least), step) {
                    (0, _) => self.stage = Stage::Within(TRIES),
                    (more, 0) => self.stage = Stage::Divide(more.div_ceil(PARTS)),
                    (more, step) => break end_of(self.high.ms - step.min(more)),
                },
                Stage::Within(0) => self.stage = Stage::Confirm { alone: false },
                Stage::Within(_) if self.low.ms == self.high.ms => {
                    break EntryId { seq: self.low.seq.saturating_add(1), ..self.low };
                }
                Stage::Within(_) => break EntryId { seq: 0, ..self.high },
                Stage::Confirm { .. } => break self.behind,
                Stage::Over { .. } | Stage::Failed => return None,
            }
        };
        Some(self.asked)
    }

    /// Notes what was found behind the id that was asked for.
    pub(crate) fn found(&mut self, found: Found) {
        let (asked, is_cut) = (self.asked, found == Found::CutOff);
        self.cuts += u32::from(is_cut);
        match self.stage {
            Stage::Confirm { .. } => {}
            _ if is_cut => self.low = asked,
            Stage::Walk(_) => {}
            _ => self.high = asked,
        }
        self.stage = match (self.stage, found) {
            _ if self.cuts > CUTS => Stage::Failed,
            (Stage::Walk(_), Found::CutOff) => {
                self.behind = asked;
                Stage::Top(0)
            }
            (Stage::Walk(left @ 1..), Found::Entry(id)) if id > asked => {
                self.low = id;
                Stage::Walk(left - 1)
            }
            (Stage::Walk(_), _) => Stage::Failed,
            (Stage::Top(at), Found::CutOff) => Stage::Top(at + 1),
            (Stage::Top(_), _) => Stage::Back { from: asked.ms, step: 1 },
            (Stage::Back { from, step }, Found::Entry(_) | Found::Nothing) => {
                Stage::Back { from, step: step.saturating_mul(2) }
            }
            (Stage::Back { .. } | Stage::Divide(_), Found::CutOff) => Stage::Divide(0),
            (Stage::Within(left), Found::CutOff) => Stage::Within(left.saturating_sub(1)),
            (Stage::Within(_), _) => Stage::Confirm { alone: true },
            (Stage::Confirm { alone }, Found::CutOff) => Stage::Over { alone },
            (Stage::Confirm { .. }, _) => Stage::Failed,
            (stage, _) => stage,
        };
    }

    /// Returns the way around the entry, if the search has found it.
    pub(crate) fn way(&self) -> Option<Way> {
        match self.stage {
            Stage::Over { alone } => Some(Way { behind: self.behind, resume: self.high, alone }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a stream in which one entry can't be read. Returns the result, the number of reads,
    /// and the number of reads that were cut off.
    fn search(ids: &[EntryId], unreadable: EntryId, after: EntryId, now: u64) -> (Option<Way>, u32, u32) {
        let mut search = Search::new(after, now);
        let mut asked = 0;
        while let Some(behind) = search.next() {
            asked += 1;
            search.found(match ids.iter().find(|id| **id > behind) {
                Some(id) if *id == unreadable => Found::CutOff,
                Some(id) => Found::Entry(*id),
                None => Found::Nothing,
            });
        }
        (search.way(), asked, search.cuts)
    }

    #[test]
    fn the_entry_is_found_wherever_it_is() {
        const DAY: u64 = 24 * 60 * 60 * 1_000;
        let now = 1_700_000_000_000;
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..2_000 {
            // The entries come at any pace, from bursts to about one a day.
            let pace = 10_u64.pow(rng.u32(0..9));
            let mut ids = Vec::new();
            let mut last = EntryId { ms: now - rng.u64(0..30 * DAY), seq: rng.u64(0..3) };
            for _ in 0..rng.usize(1..20) {
                ids.push(last);
                last = match rng.bool() {
                    true => EntryId { seq: last.seq + rng.u64(1..3), ..last },
                    false => EntryId { ms: last.ms + rng.u64(1..=pace), seq: 0 },
                };
            }
            let at = rng.usize(..ids.len());
            let before = at.checked_sub(1 + rng.usize(0..2)).map_or(EntryId::ZERO, |before| ids[before]);
            // The clocks may differ.
            let clock = if rng.bool() { now } else { rng.u64(now - DAY..now + DAY) };
            let (way, asked, cuts) = search(&ids, ids[at], before, clock);
            let way = way.unwrap_or_else(|| panic!("{round}: {ids:?}, {at}"));
            assert!(way.behind < ids[at] && ids[at] <= way.resume, "{round}: {way:?}");
            assert!(!way.alone || way.resume == ids[at], "{round}: {way:?}");
            if let Some(next) = ids.get(at + 1) {
                assert!(way.resume < *next || !way.alone, "{round}: {way:?}, {next:?}");
                assert!(way.resume.ms == ids[at].ms, "{round}: {way:?}");
            }
            assert!(cuts <= 20 && asked <= 400, "{round}: {cuts} of {asked}");
        }
    }

    #[test]
    fn where_nothing_is_wrong_nothing_is_found() {
        let ids: Vec<EntryId> = (1..10).map(|ms| EntryId { ms, seq: 0 }).collect();
        let none = EntryId { ms: 100, seq: 0 };
        for after in 0..10 {
            let (way, asked, _) = search(&ids, none, EntryId { ms: after, seq: 0 }, 50);
            assert!(way.is_none() && asked <= STEPS + 1);
        }
    }

    #[test]
    fn a_cut_that_was_chance_is_found_to_be() {
        let ids: Vec<EntryId> = (1..10).map(|seq| EntryId { ms: 7, seq }).collect();
        for chance in 0..20 {
            let mut search = Search::new(EntryId { ms: 7, seq: 3 }, 1_000);
            let mut asked = 0;
            while let Some(behind) = search.next() {
                search.found(match ids.iter().find(|id| **id > behind) {
                    _ if asked == chance => Found::CutOff,
                    Some(id) => Found::Entry(*id),
                    None => Found::Nothing,
                });
                asked += 1;
            }
            assert_eq!(search.way(), None, "{chance}");
        }
    }

    #[test]
    fn who_is_cut_off_everywhere_gives_up() {
        let mut search = Search::new(EntryId::ZERO, 1_000);
        let mut asked = 0;
        while search.next().is_some() {
            asked += 1;
            search.found(Found::CutOff);
        }
        assert!(asked < 10 && search.way().is_none());
    }
}
