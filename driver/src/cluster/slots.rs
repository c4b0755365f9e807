//! The map of a cluster's slots.

use std::collections::BTreeSet;

use crate::wire::{Address, Value};

/// The number of slots of a cluster.
const SLOTS: u16 = 16_384;

/// Returns the slot of a key or a channel. If the name contains a part in braces, only that part
/// counts.
///
/// ```
/// use sio_streams_driver::cluster::slot_of;
///
/// assert_eq!(slot_of("foo"), 12_182);
/// assert_eq!(slot_of("a stream's {foo}"), slot_of("foo"));
/// ```
pub fn slot_of(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(name);
    crc16(hashed.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The checksums of the single bytes.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// A cluster's map of slots, as a server tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    ranges: Vec<(u16, u16, Address)>,
    masters: BTreeSet<Address>,
    replicas: BTreeSet<Address>,
}

impl Slots {
    /// Reads the reply to `CLUSTER SLOTS`: `[[first, last, [host, port, id, metadata], …replicas],
    /// …]`. A server that does not know its own host leaves it out. Then it is the server that was
    /// asked. A range whose master has no usable address is left out.
    pub(super) fn read(value: Value, asked: &Address) -> Option<Self> {
        let mut slots = Slots::default();
        for range in value.list()? {
            let mut parts = range.list()?.into_iter();
            let first = parts.next()?.number()?.try_into().ok()?;
            let last = parts.next()?.number()?.try_into().ok()?;
            if let Some(master) = node(parts.next()?, asked) {
                slots.masters.insert(master.clone());
                slots.ranges.push((first, last, master));
            }
            // A replica that is being replaced may have no address.
            slots.replicas.extend(parts.filter_map(|replica| node(replica, asked)));
        }
        slots.ranges.sort();
        Some(slots)
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        let behind = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, master) = self.ranges.get(behind.checked_sub(1)?)?;
        (slot <= *last).then_some(master)
    }

    /// Returns the servers that have slots.
    pub(super) fn masters(&self) -> &BTreeSet<Address> {
        &self.masters
    }

    pub(super) fn replicas(&self) -> &BTreeSet<Address> {
        &self.replicas
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.masters.iter().chain(&self.replicas)
    }
}

fn node(value: Value, asked: &Address) -> Option<Address> {
    let mut parts = value.list()?.into_iter();
    let host = parts.next()?;
    let port = parts.next()?.number()?.try_into().ok()?;
    let host = match host {
        Value::Nil => String::new(),
        host => host.text()?.to_string(),
    };
    // The metadata behind the id may have the address of a server whose name is unknown, or the
    // name of one whose address is unknown.
    at(host, port, asked).or_else(|| {
        let other = match parts.nth(1)? {
            Value::List(items) => items.into_iter().nth(1)?.text()?,
            Value::Map(pairs) => pairs.into_iter().next()?.1.text()?,
            _ => return None,
        };
        (!other.is_empty()).then(|| at(other.to_string(), port, asked))?
    })
}

/// Returns an address whose host may be missing.
fn at(host: String, port: u16, asked: &Address) -> Option<Address> {
    match (&*host, asked) {
        // The server does not know the host.
        ("?", _) => None,
        _ if port == 0 => None,
        ("", Address::Tcp(host, _)) => Some(Address::Tcp(host.clone(), port)),
        ("", Address::Unix(_)) => None,
        _ => Some(Address::Tcp(host, port)),
    }
}

/// Parses the address in `MOVED` and `ASK`: `<slot> <host>:<port>`.
pub(super) fn redirection(message: &str, asked: &Address) -> Option<Address> {
    let (host, port) = message.split_whitespace().nth(1)?.rsplit_once(':')?;
    at(host.to_owned(), port.parse().ok()?, asked)
}

#[cfg(test)]
mod tests {
    use sio_streams_core::Bytes;

    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.into(), port)
    }

    fn text(text: &'static str) -> Value {
        Value::Bytes(Bytes::from(text))
    }

    #[test]
    fn slots_are_computed_as_redis_does() {
        // These are the results of CLUSTER KEYSLOT of Redis 7.0.
        for (name, slot) in [
            ("", 0),
            ("123456789", 12_739),
            ("socket.io", 9_972),
            ("{}x", 10_595),
            ("a{b}c{d}", 3_300),
            ("a{}{b}", 15_033),
            ("{é", 3_901),
        ] {
            assert_eq!(slot_of(name), slot, "{name}");
        }
    }

    #[test]
    fn the_map_is_read() {
        let node = |host, port| Value::List(vec![host, Value::Int(port), text("id")]);
        let range = |first, last, nodes: Vec<Value>| {
            let mut parts = vec![Value::Int(first), Value::Int(last)];
            parts.extend(nodes);
            Value::List(parts)
        };
        let reply = Value::List(vec![
            range(0, 100, vec![node(text("a"), 1), node(text("b"), 2), node(text("?"), 3)]),
            range(101, 16_383, vec![node(Value::Nil, 4), node(text(""), 5)]),
        ]);
        let slots = Slots::read(reply, &tcp("asked", 9)).unwrap();
        assert_eq!(slots.owner(100), Some(&tcp("a", 1)));
        assert_eq!(slots.owner(101), Some(&tcp("asked", 4)));
        assert_eq!(slots.masters().len(), 2);
        assert_eq!(slots.replicas().iter().collect::<Vec<_>>(), [&tcp("asked", 5), &tcp("b", 2)]);
        assert_eq!(Slots::default().owner(0), None);
        let nameless = |metadata| Value::List(vec![text("?"), Value::Int(6), text("id"), metadata]);
        let metadata = Value::List(vec![text("ip"), text("f")]);
        let reply = Value::List(vec![
            range(200, 300, vec![nameless(Value::List(vec![]))]),
            range(100, 199, vec![nameless(metadata)]),
            range(0, 99, vec![node(text("a"), 1)]),
            range(301, 400, vec![nameless(Value::Map(vec![(text("ip"), text("g"))]))]),
        ]);
        let slots = Slots::read(reply, &tcp("asked", 9)).unwrap();
        let owners = [0, 99, 100, 199, 200, 300, 301, 400, 401].map(|slot| slots.owner(slot).cloned());
        let (a, f, g) = (Some(tcp("a", 1)), Some(tcp("f", 6)), Some(tcp("g", 6)));
        assert_eq!(owners, [a.clone(), a, f.clone(), f, None, None, g.clone(), g, None]);
        assert_eq!(Slots::read(text("ERR"), &tcp("asked", 9)), None);
    }

    #[test]
    fn redirections_are_read() {
        let asked = tcp("asked", 9);
        assert_eq!(redirection("3999 127.0.0.1:6381", &asked), Some(tcp("127.0.0.1", 6381)));
        assert_eq!(redirection("3999 :6381", &asked), Some(tcp("asked", 6381)));
        assert_eq!(redirection("3999 fe80::1:6381", &asked), Some(tcp("fe80::1", 6381)));
        assert_eq!(redirection("3999", &asked), None);
        assert_eq!(redirection("3999 host:port", &asked), None);
    }
}
