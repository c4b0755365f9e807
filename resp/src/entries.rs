//! Entries, decoded from a reply in one pass, without a tree of values in between.
//!
//! This accepts the form that servers write. A reply of any other form, including a damaged one, is
//! left to the general decoder.

use core::ops::Range;

use sio_streams_core::{Bytes, Entry, EntryId, Fields};

use crate::line::announced;

/// The wrapping of a reply's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// XREAD wraps them in a list or a map with the one stream that was asked for.
    Stream,
    /// XRANGE and XREVRANGE don't wrap them.
    None,
}

impl Wrapping {
    /// Returns the wrapping of a command's reply, if the reply holds entries.
    pub(crate) fn of(command: &[u8]) -> Option<Self> {
        match command {
            b"XREAD" => Some(Wrapping::Stream),
            b"XRANGE" | b"XREVRANGE" => Some(Wrapping::None),
            _ => None,
        }
    }
}

/// Returns the entries of a complete reply, if it has the usual form. They are slices of it.
pub(crate) fn read(whole: &Bytes, wrapping: Wrapping) -> Option<Vec<Entry>> {
    let mut reader = Reader { bytes: whole, at: 0 };
    if wrapping == Wrapping::Stream {
        match whole.first()? {
            b'%' => reader.exactly(b"%1\r\n")?,
            _ => reader.exactly(b"*1\r\n*2\r\n")?,
        }
        reader.string()?;
    }
    let count = reader.number(b'*')?;
    // No entry is smaller than this. The reply is complete, so its size bounds the announced
    // number.
    const LEAST: usize = b"*2\r\n$3\r\n0-1\r\n*0\r\n".len();
    let mut entries = Vec::with_capacity(count.min(whole.len() / LEAST));
    for _ in 0..count {
        entries.push(Entry { id: reader.id()?, fields: Fields::new() });
        // The fields are filled in place, since an entry is large.
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

    /// Reads a number behind its mark, and the end of its line.
    fn number(&mut self, expected: u8) -> Option<usize> {
        let (mark, number, end) = announced(self.bytes, self.at)?;
        (mark == expected).then(|| {
            self.at = end;
            number
        })
    }

    /// Reads a string. Returns its range.
    fn string(&mut self) -> Option<Range<usize>> {
        let length = self.number(b'$')?;
        let end = self.at.checked_add(length)?;
        let ends_here = self.bytes.get(end..)?.starts_with(b"\r\n");
        ends_here.then(|| core::mem::replace(&mut self.at, end + 2)..end)
    }

    /// Reads the beginning of an entry, up to its id.
    fn id(&mut self) -> Option<EntryId> {
        self.exactly(b"*2\r\n")?;
        let id = self.string()?;
        str::from_utf8(&self.bytes[id]).ok()?.parse().ok()
    }

    /// Reads the rest of an entry.
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

/// Returns a static copy of the most common field names. A slice of the reply would have to be
/// reference-counted.
pub(crate) fn known(name: &[u8]) -> Option<Bytes> {
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
                    // A string, or a digit of an id, may have changed.
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
