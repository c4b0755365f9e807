//! The server's answer about a stream: where it ends, and how many entries it counts.

use bytestring::ByteString;

use super::Inbox;
use super::gaps::{Finding, GapDetector};
use crate::command::StreamInfo;
use crate::engine::context::Context;
use crate::event::Lost;
use crate::id::EntryId;

/// The result of the server's answer about a stream.
#[derive(Debug)]
pub(in crate::engine) struct Told {
    /// `true` if the stream's end was not known before.
    pub(in crate::engine) located: bool,
    /// `true` if the server has lost entries.
    pub(in crate::engine) rewound: bool,
    /// The last entry that has come.
    pub(in crate::engine) cursor: EntryId,
    /// The last entry up to which this node's view of the stream holds.
    pub(in crate::engine) end: EntryId,
    pub(in crate::engine) findings: Vec<Finding>,
    /// The ends of gaps that are certain, but whose sizes are not known yet.
    pub(in crate::engine) holes: Vec<EntryId>,
}

impl Inbox {
    /// Handles the server's answer about the stream's end and its count. `is_located` is `true` if
    /// the server was asked for the first time, or after a break. Returns `None` if it has to be
    /// found out first whether the stream is the one that was read. Then the answer is handled
    /// again when that is known.
    pub(in crate::engine) fn told(
        &mut self,
        cx: &mut Context,
        stream: &ByteString,
        info: &StreamInfo,
        is_located: bool,
    ) -> Option<Told> {
        let reader = self.readers.get_mut(stream)?;
        if reader.search.is_none() {
            if reader.takes_what_is_ahead_of(info) {
                self.unread.push_back(stream.clone());
            }
            reader.doubts(info, is_located);
        }
        if self.search_on(cx, stream).is_none() && self.is_searching(stream) {
            return None;
        }
        let reader = self.readers.get_mut(stream)?;
        reader.checked = cx.now;
        reader.suspect = false;
        reader.next = None;
        reader.is_absent = false;
        let broken = core::mem::take(&mut reader.broken);
        let fork = reader.settle();
        let last = fork.as_ref().map_or(info.last_generated_id, |(_, base)| *base);
        let located = reader.cursor_if_located().is_none();
        if core::mem::take(&mut reader.seeking) {
            reader.cursor = None;
        }
        let mut told = Told {
            located,
            rewound: last < reader.known,
            cursor: last,
            end: last,
            findings: Vec::new(),
            holes: Vec::new(),
        };
        if let Some((finding, _)) = fork {
            told.rewound = true;
            told.findings.push(finding);
            reader.is_answered();
            return Some(told);
        }
        match reader.cursor {
            Some(_) if mutant!(DollarAgain) && reader.looked == 0 => reader.cursor = Some(last),
            None => {
                reader.cursor = Some(last);
                reader.looked_at = Some(last);
                reader.gaps = GapDetector::open(info);
                reader.trail.begin(last);
                reader.ended = true;
            }
            Some(cursor) => {
                let held = core::mem::take(&mut reader.held);
                let (resumes, hole) = (held.first().map(|entry| entry.id), reader.gaps.hole());
                let mut findings = Vec::from_iter(reader.gaps.check(cursor, &held, info));
                if !held.is_empty() {
                    self.unread.push_back(stream.clone());
                }
                if cursor > last {
                    reader.cursor = if mutant!(RewindIgnored) { Some(cursor) } else { Some(last) };
                    reader.trail.cut_behind(last);
                } else {
                    let any = !held.is_empty();
                    findings.extend(reader.accept(held));
                    let end = reader.cursor.unwrap_or(cursor);
                    findings.extend(reader.gaps.behind(end, info).filter(|_| any));
                }
                // A comparison with `known` misses a loss if others have written enough entries
                // since. But it may show a loss that the numbers don't show.
                let is_told = findings.iter().any(|finding| matches!(finding, Finding::Rewound { .. }));
                if told.rewound && !is_told {
                    findings.push(Finding::Rewound { cursor: reader.known, last, lost: Lost::Unknown });
                }
                told.rewound |= is_told;
                let cursor = reader.cursor.unwrap_or(last);
                reader.ended = cursor >= last;
                if cursor < last {
                    // If the cursor's entry is gone, the stream's first entry is the next one.
                    reader.next = info.first_entry_id.map(|first| first.max(cursor));
                } else if broken
                    && reader.trail.ends_at(cursor)
                    && info.first_entry_id.is_some_and(|first| first <= cursor)
                {
                    // Another server may have given this id to another entry.
                    reader.next = Some(cursor);
                }
                let hole = reader.gaps.hole().filter(|until| hole != Some(*until));
                // A gap whose size is not known can't be reported yet, but it is a gap all the
                // same.
                told.holes = hole.into_iter().flat_map(|until| resumes.into_iter().chain([until])).collect();
                told.findings = findings;
            }
        }
        told.cursor = reader.cursor.unwrap_or(last);
        reader.is_answered();
        Some(told)
    }
}
