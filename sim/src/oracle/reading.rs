//! Each reader reads each entry once, from its starting point on; missing entries are reported,
//! with the right number.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bytestring::ByteString;
use sio_streams_core::{CommandId, Entry, EntryId, Lost, NodeId, StreamInfo, Time};

use super::Oracle;
use super::delivery::Expected;
use super::log::Written;

/// The oracle's view of how a node reads a stream.
#[derive(Debug, Default)]
pub(super) struct ReaderView {
    /// The last entry that came; nothing before the stream's end is known.
    cursor: Option<EntryId>,
    /// The id behind which it has to read everything.
    start: EntryId,
    /// It looks whether an entry that has come is still there. What comes now is not for the
    /// application.
    pub(super) probing: bool,
    /// The id behind which it has asked for entries.
    asked_behind: EntryId,
    /// It has begun to look whether entries that have come are still there, and nothing shows yet
    /// that it is done with that.
    pub(super) searching: bool,
    /// The last batch does not begin with the entry that was read last: it is held back, and may
    /// have to be read again.
    pub(super) doubtful: bool,
    /// The last entry before those.
    sure: EntryId,
    /// The entries that were held back when the server lost some of them. The reader has taken them,
    /// or reads the rest again. Nothing shows yet which of the two it is.
    undecided: Option<Undecided>,
    /// Another master has given an entry's id to one that is just like it. Then nobody can tell the
    /// two streams apart there.
    twins: bool,
    /// Everything up to the cursor was trimmed after another master had added entries below it. Then
    /// only the numbers of entries can show that, and they may agree.
    overgrown: bool,
    /// It has asked for its last entry once more.
    overlaps: bool,
    /// Entries that were added below the cursor, by a master that the reader had not seen. They have
    /// to come when it is switched to that master.
    owed: BTreeSet<EntryId>,
    /// The entries that have come and were not looked at yet.
    pub(super) queue: VecDeque<(EntryId, Rc<Written>, Time)>,
    /// The ones among them that came before their namespace was opened: they are not for it.
    pub(super) early: BTreeSet<EntryId>,
    /// The event that must be told of the first entry that was looked at.
    pub(super) next: Option<Expected>,
    /// The events that may be told or passed over.
    pub(super) perhaps: Vec<Expected>,
    /// The delivered numbers of each author that numbers its entries.
    pub(super) seen: BTreeMap<NodeId, BTreeMap<u64, EntryId>>,
    /// The calls that were delivered.
    pub(super) delivered: BTreeSet<u64>,
    /// Entries that can't come any more, and were not reported as missing.
    missing: BTreeMap<EntryId, Time>,
    /// Entries that were reported as missing. That may be known before what is behind them has
    /// come.
    reported: BTreeSet<EntryId>,
    /// Entries that have come; for what the server loses of them.
    came: BTreeSet<EntryId>,
    /// It asks the server what it counts, and holds back what has come meanwhile.
    pub(super) checking: Option<CommandId>,
    /// The first entry that the stream had when the server last told its count.
    first_told: EntryId,
    /// A reply was lost with its link: the stream may be another one.
    pub(super) broken: bool,
    /// The ones among them that the server has lost.
    pub(super) lost: BTreeSet<EntryId>,
    /// The number of entries that the server has lost before the cursor, whether or not the node had
    /// read them: it may have begun to read behind them.
    passed: u64,
    /// The server has given a lost entry's id to another one: nobody can tell.
    doubled: bool,
    missed: u64,
    unread: u64,
    /// Sums can be compared, but not each for itself: entries were lost at both ends.
    mixed: bool,
    uncounted: bool,
    /// A gap was reported after the server had lost entries: these may be part of it.
    told: bool,
    /// Entries that lie before the cursor, as the server has given their ids a second time.
    behind: u64,
    rewinds: u64,
}

/// Entries that a reader has taken, or will read again.
#[derive(Debug)]
struct Undecided {
    cursor: Option<EntryId>,
    queue: VecDeque<(EntryId, Rc<Written>, Time)>,
    early: BTreeSet<EntryId>,
}

impl ReaderView {
    /// The last entry that was looked at.
    pub(super) fn looked_at(&self) -> EntryId {
        let cursor = self.cursor.unwrap_or_default();
        let next = self.next.as_ref().and_then(Expected::entry);
        let Some(waiting) = next.or(self.queue.front().map(|(id, ..)| *id)) else { return cursor };
        self.came.range(..waiting).next_back().copied().unwrap_or(before(waiting))
    }

    /// The number of times that the node reported lost entries.
    pub(super) fn rewinds(&self) -> u64 {
        self.rewinds
    }

    /// Returns `true` if entries can't come any more, and the gap has not been reported yet.
    pub(super) fn has_unreported_gap(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Returns `true` if the server has told that entries behind the last one that has come are
    /// trimmed. Until more is read, a node can't tell by the count on which side of what it has just
    /// read they are missing.
    pub(super) fn has_gap_ahead(&self) -> bool {
        self.cursor.is_some_and(|cursor| cursor < self.first_told)
    }

    /// Forgets what has come behind this entry and was held back. Returns it.
    fn forget_held(&mut self, sure: EntryId) -> Undecided {
        let cursor = self.cursor;
        let kept = self.queue.partition_point(|(id, ..)| *id <= sure);
        let queue = self.queue.split_off(kept);
        let mut early = BTreeSet::new();
        for (id, ..) in &queue {
            self.came.remove(id);
            early.extend(self.early.take(id));
        }
        self.doubtful = false;
        self.cursor = self.cursor.map(|cursor| cursor.min(sure));
        Undecided { cursor, queue, early }
    }

    /// Notes that the reader has taken what was held back when the server lost some of it. Returns
    /// `true` if there was such a thing.
    pub(super) fn has_taken(&mut self) -> bool {
        let Some(Undecided { cursor, queue, early }) = self.undecided.take() else { return false };
        let here: BTreeSet<EntryId> = queue.iter().map(|(id, ..)| *id).collect();
        self.came.extend(here.difference(&self.lost));
        self.cursor = self.cursor.max(cursor);
        self.queue.extend(queue);
        self.early.extend(early);
        true
    }

    /// Returns `true` if it may be that it has just taken this entry, which was held back.
    pub(super) fn may_have_taken(&self, entry: Option<EntryId>) -> bool {
        let has = |entry| self.queue.iter().any(|(id, ..)| *id == entry);
        self.doubtful && self.checking.is_none() && !self.probing && entry.is_none_or(has)
    }

    /// The last entry that has come.
    pub(super) fn last_read(&self) -> Option<EntryId> {
        self.came.last().copied()
    }

    /// Returns `true` if this entry has come.
    pub(super) fn has_read(&self, entry: EntryId) -> bool {
        self.came.contains(&entry)
    }
}

impl Oracle {
    fn reader(&mut self, host: usize, stream: &ByteString) -> &mut ReaderView {
        self.hosts[host].readers.entry(stream.clone()).or_default()
    }

    /// A node asks for a stream's end, or what the server counts.
    pub(super) fn locates(&mut self, host: usize, stream: &ByteString, id: CommandId) {
        let reader = self.reader(host, stream);
        (reader.checking, reader.probing, reader.searching) = (Some(id), false, false);
    }

    pub(super) fn located(
        &mut self,
        host: usize,
        stream: &ByteString,
        id: CommandId,
        info: Option<&StreamInfo>,
    ) {
        let reader = self.reader(host, stream);
        if reader.checking != Some(id) {
            return;
        }
        reader.checking = None;
        reader.broken = false;
        let last = info.map_or(EntryId::ZERO, |info| info.last_generated_id);
        if reader.doubtful && reader.queue.back().is_some_and(|(id, ..)| last < *id) {
            // The server has lost some of what is held back. The rest is read again.
            reader.undecided = Some(reader.forget_held(reader.sure));
        }
        reader.first_told = info.and_then(|info| info.first_entry_id).unwrap_or_default();
        reader.overgrown |= reader.behind > 0 && reader.cursor < Some(reader.first_told);
        // Entries that were trimmed do not come, even if a third master still has them.
        reader.owed.retain(|id| *id >= reader.first_told);
        if reader.cursor.is_none() {
            reader.start = info.map_or(EntryId::ZERO, |info| info.last_generated_id);
            reader.cursor = Some(reader.start);
        }
    }

    /// A node reads on.
    pub(super) fn reads(&mut self, host: usize, stream: &ByteString, after: EntryId, count: u32) {
        let reader = self.reader(host, stream);
        // It looks for entries that it has taken.
        if reader.cursor.is_some_and(|cursor| after > cursor) {
            reader.has_taken();
        }
        reader.undecided = None;
        let Some(cursor) = reader.cursor else {
            return self.fail("read from nowhere", format!("host {host} reads {stream} from {after}"));
        };
        if self.reader(host, stream).broken {
            self.fail("read on after a break", format!("host {host} reads {stream} from {after}"));
        }
        let reader = self.reader(host, stream);
        reader.probing = after < cursor && count == 1;
        reader.searching = reader.probing;
        reader.asked_behind = after;
        if reader.probing {
            return;
        }
        reader.doubtful = false;
        reader.overlaps = after < cursor;
        // It may read its last entry once more.
        if after != cursor && after != before(cursor) {
            let details = format!("host {host} reads {stream} from {after}, but has come to {cursor}");
            self.fail("read from elsewhere", details);
        }
    }

    /// Entries have come.
    pub(super) fn handed(&mut self, host: usize, stream: &ByteString, entries: &[Entry]) {
        let now = self.now;
        let reader = self.reader(host, stream);
        if core::mem::take(&mut reader.probing) {
            // Entries that were trimmed before the reader found out that there was another master
            // do not come.
            let (after, first) = (reader.asked_behind, entries.first().map(|entry| entry.id));
            reader.owed.retain(|id| *id <= after || first.is_some_and(|first| first <= *id));
            return;
        }
        if let Some(first) = entries.first()
            && self.reader(host, stream).overlaps
        {
            let history = self.histories.entry(stream.clone()).or_default();
            let found = history.find(first.id, &first.fields);
            let reader = self.reader(host, stream);
            let same = reader.cursor == Some(first.id)
                && found.is_some_and(|(_, lost)| !lost)
                && (reader.came.contains(&first.id) || reader.start == first.id);
            (reader.doubtful, reader.sure) = (!same, reader.cursor.unwrap_or_default());
        }
        for entry in entries {
            let history = self.histories.entry(stream.clone()).or_default();
            let written = history.find(entry.id, &entry.fields);
            let Some(reader) = self.hosts[host].readers.get_mut(stream) else { return };
            let Some(cursor) = reader.cursor else { continue };
            if entry.id <= cursor {
                continue;
            }
            for id in history.between(cursor, entry.id).filter(|id| !reader.reported.contains(id)) {
                reader.missed += 1;
                reader.missing.insert(id, now);
            }
            reader.cursor = Some(entry.id);
            reader.owed.remove(&entry.id);
            match written {
                Some((written, lost)) => {
                    // It may have been on its way when the server lost it.
                    reader.unread += u64::from(lost);
                    reader.passed += u64::from(lost);
                    if lost { &mut reader.lost } else { &mut reader.came }.insert(entry.id);
                    reader.queue.push_back((entry.id, written, now));
                }
                None => self.fail("an entry from nowhere", format!("{stream} {}", entry.id)),
            }
        }
    }

    pub(super) fn gap(
        &mut self,
        host: usize,
        stream: &ByteString,
        after: EntryId,
        until: EntryId,
        lost: Lost,
    ) {
        let counting = self.counting;
        self.gaps += 1;
        let Some(reader) = self.hosts[host].readers.get_mut(stream) else { return };
        let Some(history) = self.histories.get(stream) else { return };
        let mut real = 0;
        for id in history.between(after, until) {
            reader.owed.remove(&id);
            if !reader.came.contains(&id) && reader.reported.insert(id) {
                reader.missing.remove(&id);
                real += 1;
            }
        }
        match lost {
            Lost::Exactly(said) => {
                // Entries that were trimmed by hand between two reads are noticed late, and may be
                // part of the next gap then.
                let late: Vec<EntryId> = reader.missing.range(..=after).map(|(id, _)| *id).collect();
                let end = u64::from(!reader.came.contains(&until) && !reader.reported.contains(&until));
                let with_late = real + late.len() as u64;
                if (said == with_late || said == with_late + end) && self.trimmed.contains(stream) {
                    if said > with_late {
                        reader.reported.insert(until);
                        reader.missing.remove(&until);
                    }
                    reader.missing.retain(|id, _| *id > after);
                    reader.reported.extend(&late);
                    real = said;
                }
                // If nothing is left behind the gap, its end is the last entry that was lost.
                if said == real + 1 && !reader.came.contains(&until) && reader.reported.insert(until) {
                    reader.missing.remove(&until);
                    real += 1;
                }
                // Entries that were trimmed by hand, and entries that the server has lost, can
                // cancel each other out. If the trimming left nothing there is no first entry
                // either by which to tell the gaps apart. A loss of entries that came behind the
                // reader may look like a gap. It was told all the same.
                reader.told |= reader.mixed && said > 0;
                let confused =
                    self.trimmed.contains(stream) && (history.losses() > 0 || self.emptied.contains(stream));
                if said != real && !reader.mixed && !confused {
                    let details =
                        format!("host {host}, {stream} between {after} and {until}: {said}, really {real}");
                    self.fail("a gap of the wrong size", details);
                }
            }
            Lost::Unknown => {
                reader.uncounted = true;
                if counting && !reader.mixed {
                    self.fail("a gap of unknown size", format!("host {host}, {stream}: really {real}"));
                }
            }
        }
    }

    pub(super) fn rewound(
        &mut self,
        host: usize,
        stream: &ByteString,
        cursor: EntryId,
        last: EntryId,
        lost: Lost,
    ) {
        let Some(reader) = self.hosts[host].readers.get_mut(stream) else { return };
        reader.rewinds += 1;
        reader.searching = false;
        reader.uncounted |= lost == Lost::Unknown;
        if reader.unread == 0 && reader.behind == 0 && !reader.mixed {
            let details = format!("host {host}, {stream}: from {cursor} to {last}");
            return self.fail("a rewind that was none", details);
        }
        if last < cursor {
            // If it goes on from there, it has taken what was held back.
            if core::mem::take(&mut reader.doubtful) && last < reader.sure {
                reader.forget_held(reader.sure);
            }
            reader.cursor = reader.cursor.map(|cursor| cursor.min(last));
        }
        if lost == Lost::Unknown {
            // Nothing that this reader remembers is there, or nobody can tell.
            reader.owed.retain(|id| *id > last);
        }
    }

    /// The server has lost the end of a stream.
    pub(super) fn tail_lost(&mut self, stream: &ByteString, entries: Option<u64>) {
        let history = self.histories.entry(stream.clone()).or_default();
        let gone = match entries {
            Some(entries) => history.lose_tail(entries),
            None => history.lose_all(),
        };
        for host in &mut self.hosts {
            let Some(reader) = host.readers.get_mut(stream) else { continue };
            let read = reader.came.iter().filter(|id| gone.contains(*id)).count() as u64;
            reader.owed.retain(|id| !gone.contains(id));
            reader.lost.extend(reader.came.intersection(&gone).copied());
            reader.came.retain(|id| !gone.contains(id));
            // An entry that was not reported as missing before it was lost altogether is nobody's
            // loss.
            let unreported = reader.missing.keys().filter(|id| gone.contains(*id)).count() as u64;
            reader.missing.retain(|id, _| !gone.contains(id));
            reader.missed -= unreported;
            reader.unread += read;
            let cursor = reader.cursor.unwrap_or_default();
            reader.passed += gone.iter().filter(|id| **id <= cursor).count() as u64;
            reader.mixed = true;
            if reader.cursor.is_some_and(|cursor| gone.first().is_some_and(|first| *first <= cursor)) {
                reader.unread += u64::from(read == 0);
            }
        }
    }

    /// An entry was added under an id that some readers have passed already.
    pub(super) fn unreachable_for_some(&mut self, stream: &ByteString, id: EntryId, written: &Written) {
        let history = self.histories.get(stream);
        let has_twin = || history.is_some_and(|history| history.has_lost(id, &written.fields));
        for host in &mut self.hosts {
            if let Some(reader) = host.readers.get_mut(stream)
                && reader.cursor.is_some_and(|cursor| cursor >= id)
            {
                reader.behind += 1;
                reader.twins |= has_twin();
                if id > reader.start {
                    reader.owed.insert(id);
                }
                reader.doubled |= reader.lost.contains(&id);
            }
        }
    }

    /// Readers that have not come to the end of their streams, as these were a moment ago. `first`:
    /// the first entry that each stream still has.
    pub(crate) fn behind_the_end(&self, first: &BTreeMap<ByteString, EntryId>) -> Option<String> {
        let readers = self.hosts.iter().enumerate().filter(|(_, host)| host.alive);
        let mut readers = readers
            .flat_map(|(host, view)| view.readers.iter().map(move |(stream, reader)| (host, stream, reader)));
        readers.find_map(|(host, stream, reader)| {
            let (end, at) = self.histories.get(stream)?.last_before(self.now)?;
            let cursor = reader.cursor.unwrap_or_default();
            // A trimmed entry can't be read; one that got an id a second time lies behind the
            // reader.
            let there = first.get(stream).is_some_and(|first| *first <= end);
            (there && cursor < end && reader.behind == 0)
                .then(|| format!("host {host}, {stream}: {cursor} of {end}, added at {at}"))
        })
    }

    /// Everything has come to rest.
    pub(crate) fn check_reading(&mut self, first: &BTreeMap<ByteString, EntryId>) {
        if let Some(behind) = self.behind_the_end(first) {
            self.fail("not read to the end", behind);
        }
        for host in 0..self.hosts.len() {
            if !self.hosts[host].alive {
                continue;
            }
            let mut found = Vec::new();
            for (stream, reader) in &self.hosts[host].readers {
                let left = first.get(stream).copied();
                let owed = reader.owed.iter().find(|id| left.is_some_and(|first| first <= **id));
                if let Some(owed) = owed.filter(|_| !reader.twins) {
                    let details = format!("host {host}, {stream}: {owed} of {}", reader.owed.len());
                    found.push(("entries of another master never came", details));
                }
                // The server is asked what it counts every so often.
                let patience = self.hosts[host].config.block_time * 2 + Duration::from_secs(2);
                let mut old = reader.missing.iter().filter(|(_, at)| self.now.since(**at) > patience);
                if let Some((id, _)) = old.next()
                    && !reader.mixed
                    && !reader.uncounted
                    && self.counting
                {
                    let details = format!("host {host}, {stream}: {id} of {}", reader.missing.len());
                    found.push(("entries missed in silence", details));
                }
                // Without counts, what is trimmed by hand between two reads leaves no trace. A reader
                // that still waits for the server's answer has not been silent yet.
                if !self.counting
                    && reader.checking.is_none()
                    && !self.trimmed.contains(stream)
                    && reader.missed > 0
                    && !reader.uncounted
                    && reader.rewinds == 0
                {
                    found.push(("entries missed in silence", format!("host {host}, {stream}")));
                }
                // There are as many of these as were lost. Nobody can tell them apart: not by their
                // number, and they lie behind the reader.
                let as_many = [reader.passed, reader.lost.len() as u64].contains(&reader.behind);
                let cancelled = reader.doubled || reader.told || as_many || reader.overgrown || reader.twins;
                if self.counting && reader.behind > 0 && reader.rewinds == 0 && !cancelled {
                    let details = format!("host {host}, {stream}: {} entries", reader.behind);
                    found.push(("a rewind in silence", details));
                }
            }
            for (rule, details) in found {
                self.fail(rule, details);
            }
        }
    }
}

/// The id just before this one.
fn before(EntryId { ms, seq }: EntryId) -> EntryId {
    match seq.checked_sub(1) {
        Some(seq) => EntryId { ms, seq },
        None => ms.checked_sub(1).map_or(EntryId::ZERO, |ms| EntryId { ms, seq: u64::MAX }),
    }
}
