//! Entries as they stand in a reply, read in one pass: no tree of values is built only to be taken apart.
//!
//! The form is the one that servers write. A reply of any other form, a damaged one too, is not for this reader, but for the general one.

use core::ops::Range;

use sio_streams_core::{Bytes, Entry, EntryId, Fields};

use super::codec::announced;

/// How the entries of a reply are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// As XREAD does: in a list or a map of the one stream that was asked for.
    Stream,
    /// Not at all, as XRANGE and XREVRANGE do.
    None,
}

impl Wrapping {
    /// The one that a command's reply has, if it holds entries.
    pub(super) fn of(command: &[u8]) -> Option<Self> {
        match command {
            b"XREAD" => Some(Wrapping::Stream),
            b"XRANGE" | b"XREVRANGE" => Some(Wrapping::None),
            _ => None,
        }
    }
}

/// The entries of a reply that is there as a whole, if it has the usual form. They are slices of it.
pub(super) fn read(whole: &Bytes, wrapping: Wrapping) -> Option<Vec<Entry>> {
    let mut reader = Reader { bytes: whole, at: 0 };
    if wrapping == Wrapping::Stream {
        match whole.first()? {
            b'%' => reader.exactly(b"%1\r\n")?,
            _ => reader.exactly(b"*1\r\n*2\r\n")?,
        }
        reader.string()?;
    }
    let count = reader.number(b'*')?;
    // None takes less than this: the reply is there, so its length can be believed.
    const LEAST: usize = b"*2\r\n$3\r\n0-1\r\n*0\r\n".len();
    let mut entries = Vec::with_capacity(count.min(whole.len() / LEAST));
    for _ in 0..count {
        entries.push(Entry { id: reader.id()?, fields: Fields::new() });
        // Filled where it is: an entry is large.
        reader.fields(whole, &mut entries.last_mut()?.fields)?;
    }
    (reader.at == whole.len()).then_some(entries)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn exactly(&mut self, expected: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(expected).then(|| self.at += expected.len())
    }

    /// A number behind its mark, and the end of its line.
    fn number(&mut self, expected: u8) -> Option<usize> {
        let (mark, number, end) = announced(self.bytes, self.at)?;
        (mark == expected).then(|| {
            self.at = end;
            number
        })
    }

    /// Where a string is.
    fn string(&mut self) -> Option<Range<usize>> {
        let length = self.number(b'$')?;
        let end = self.at.checked_add(length)?;
        let ends_here = self.bytes.get(end..)?.starts_with(b"\r\n");
        ends_here.then(|| core::mem::replace(&mut self.at, end + 2)..end)
    }

    /// What an entry begins with.
    fn id(&mut self) -> Option<EntryId> {
        self.exactly(b"*2\r\n")?;
        let id = self.string()?;
        str::from_utf8(&self.bytes[id]).ok()?.parse().ok()
    }

    /// The rest of it.
    fn fields(&mut self, whole: &Bytes, fields: &mut Fields) -> Option<()> {
        let count = self.number(b'*')?;
        for _ in 0..count / 2 {
            let name = self.string()?;
            let name = known(&self.bytes[name.clone()]).unwrap_or_else(|| whole.slice(name));
            fields.push(name, whole.slice(self.string()?));
        }
        (count % 2 == 0).then_some(())
    }
}

/// The names that almost all entries have: they need no reference to the reply, which would have to be counted.
pub(super) fn known(name: &[u8]) -> Option<Bytes> {
    Some(Bytes::from_static(match name {
        b"uid" => b"uid",
        b"nsp" => b"nsp",
        b"type" => b"type",
        b"data" => b"data",
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: &str = "*2 *2 $3 1-2 *4 $3 uid $1 a $1 x $0  *2 $15 1700000000000-0 *0 ";

    fn resp(words: &str) -> Bytes {
        words.replace(' ', "\r\n").into()
    }

    fn expected() -> Vec<Entry> {
        let fields = [("uid", "a"), ("x", "")].into_iter().collect();
        let empty = EntryId { ms: 1_700_000_000_000, seq: 0 };
        vec![Entry { id: EntryId { ms: 1, seq: 2 }, fields }, Entry { id: empty, fields: Fields::new() }]
    }

    #[test]
    fn entries_are_read_from_what_servers_write() {
        for (before, wrapping) in
            [("*1 *2 $1 s ", Wrapping::Stream), ("%1 $1 s ", Wrapping::Stream), ("", Wrapping::None)]
        {
            let whole = resp(&format!("{before}{ENTRIES}"));
            assert_eq!(read(&whole, wrapping), Some(expected()), "{whole:?}");
        }
        assert_eq!(read(&resp("*0 "), Wrapping::None), Some(vec![]));
    }

    #[test]
    fn values_are_not_copied() {
        let whole = resp(ENTRIES);
        let entries = read(&whole, Wrapping::None).unwrap();
        let place = entries[0].fields.get("uid").unwrap().as_ptr();
        assert!(whole.as_ptr_range().contains(&place));
    }

    #[test]
    fn whatever_is_damaged_is_left_to_the_other_reader() {
        let whole = resp(&format!("*1 *2 $1 s {ENTRIES}"));
        for end in 0..whole.len() {
            assert_eq!(read(&whole.slice(..end), Wrapping::Stream), None, "cut off at {end}");
        }
        for at in 0..whole.len() {
            for byte in *b"0:*$\r\n-" {
                let mut damaged = whole.to_vec();
                damaged[at] = byte;
                if let Some(entries) = read(&damaged.into(), Wrapping::Stream) {
                    // What is within a string, or a digit of an id, may be anything.
                    assert_eq!(entries.len(), 2, "{at}");
                }
            }
        }
        let more = resp("*1 *2 $1 s *0 :1 ");
        assert_eq!(read(&more, Wrapping::Stream), None);
        for other in ["_ ", "*-1 ", "*0 ", "%0 ", "*2 *2 $1 s *0 *2 $1 t *0 ", "-ERR no "] {
            assert_eq!(read(&resp(other), Wrapping::Stream), None, "{other}");
        }
        for other in
            ["*1 *2 $3 1-2 *-1 ", "*1 *2 $3 1-2 *1 $1 a ", "*99999999999999999999 ", "*1 *2 $1 x *0 "]
        {
            assert_eq!(read(&resp(other), Wrapping::None), None, "{other}");
        }
    }
}
