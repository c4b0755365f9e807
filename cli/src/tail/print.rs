//! The output of what the followers find.

use std::io::{self, BufWriter, Write};

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::filter::Filter;
use super::record::{Listener, Record};
use super::text::clean;
use super::{Depth, Item, human, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Human,
    Json,
}

/// The reason why the printing ended.
#[derive(Debug)]
pub(super) enum End {
    /// All followers are at their end, or enough was shown, or a signal came.
    Over,
    /// A follower can't go on.
    Failed(String),
    /// The output can't be written to.
    Output(io::Error),
}

pub(super) struct Printer {
    pub(super) filter: Filter,
    pub(super) format: Format,
    pub(super) depth: Depth,
    /// The number of messages that are still to be shown.
    pub(super) left: Option<u64>,
    pub(super) listener: Listener,
    /// The number of followers that have not started yet.
    pub(super) starting: usize,
    /// The names of the streams and channels that are followed.
    pub(super) following: Vec<String>,
}

/// The size of the output's buffer, in bytes.
const BUFFER: usize = 64 << 10;

impl Printer {
    /// Prints until the end.
    pub(super) fn run(mut self, mut items: Receiver<Item>, out: impl Write, mut notes: impl Write) -> End {
        let mut out = BufWriter::with_capacity(BUFFER, out);
        loop {
            let item = match items.try_recv() {
                Ok(item) => item,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    if let Err(error) = out.flush() {
                        return End::Output(error);
                    }
                    match items.blocking_recv() {
                        Some(item) => item,
                        None => break,
                    }
                }
            };
            match self.print(item, &mut out, &mut notes) {
                Ok(None) => {}
                Ok(Some(end)) => match out.flush() {
                    Ok(()) => return end,
                    Err(error) => return End::Output(error),
                },
                Err(error) => return End::Output(error),
            }
        }
        out.flush().map_or_else(End::Output, |()| End::Over)
    }

    fn print(&mut self, item: Item, out: &mut impl Write, notes: &mut impl Write) -> io::Result<Option<End>> {
        match item {
            Item::Entries { stream, entries } => {
                for entry in &entries {
                    if self.filter.may_select(entry) && self.show(&Record::of_entry(&stream, entry), out)? {
                        return Ok(Some(End::Over));
                    }
                }
            }
            Item::Pushes(pushes, time) => {
                for push in pushes {
                    let record = self.listener.hear(push, time);
                    if self.show(&record, out)? {
                        return Ok(Some(End::Over));
                    }
                }
            }
            Item::Gap { stream, gap } => {
                if self.format == Format::Json {
                    writeln!(out, "{}", json::gap(&stream, gap))?;
                }
                note(out, notes, &human::gap(&stream, gap))?;
            }
            Item::Notice(text) => note(out, notes, &text)?,
            Item::Ready(what) => {
                self.following.push(what);
                self.starting -= 1;
                if self.starting == 0 {
                    self.following.sort_unstable();
                    note(out, notes, &format!("following {}", self.following.join(", ")))?;
                }
            }
            Item::Failed(reason) => return Ok(Some(End::Failed(reason))),
            Item::Interrupted => return Ok(Some(End::Over)),
        }
        Ok(None)
    }

    /// Shows the message if it is selected. Returns `true` if it is the last one.
    fn show(&mut self, record: &Record, out: &mut impl Write) -> io::Result<bool> {
        if !self.filter.selects(record) {
            return Ok(false);
        }
        let line = match self.format {
            Format::Human => human::record(record, self.depth),
            Format::Json => json::record(record, self.depth),
        };
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        let Some(left) = &mut self.left else { return Ok(false) };
        *left -= 1;
        Ok(*left == 0)
    }
}

/// Says something beside the messages, behind those that came before.
fn note(out: &mut impl Write, notes: &mut impl Write, text: &str) -> io::Result<()> {
    out.flush()?;
    // There is no other place to say it.
    let _ = writeln!(notes, "{}", clean(text));
    Ok(())
}
