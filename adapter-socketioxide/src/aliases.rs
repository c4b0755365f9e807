//! The ids of sockets. Node's have 20 characters, and socketioxide has room for 16.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::mem;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use sio_streams_driver::sio_streams_core::ByteString;
use siphasher::sip128::{Hasher128, SipHasher13};
use socketioxide_core::Sid;

/// The characters of an id.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The sockets of other servers that have been told to the application, and their true ids.
#[derive(Debug)]
pub(crate) struct Aliases {
    generations: Mutex<Generations>,
    /// The number of ids in one generation.
    limit: usize,
}

/// When the young generation is full, the old one is forgotten.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Sid, ByteString>,
    old: HashMap<Sid, ByteString>,
}

impl Aliases {
    /// Remembers at most `limit` ids, and at least the last half of it.
    pub(crate) fn new(limit: usize) -> Self {
        Aliases { generations: Mutex::default(), limit: limit.div_ceil(2).max(1) }
    }

    /// Returns the alias of a socket's id, and remembers the id.
    pub(crate) fn remember(&self, id: &ByteString) -> Sid {
        let sid = alias(id);
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= self.limit && !generations.young.contains_key(&sid) {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(sid, id.clone());
        sid
    }

    /// Returns the true id, unless it has been forgotten.
    pub(crate) fn true_id(&self, sid: Sid) -> Option<ByteString> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.get(&sid).or_else(|| generations.old.get(&sid)).cloned()
    }

    /// Returns the name of a room, in which an alias stands for the true id.
    pub(crate) fn true_name(&self, room: &str) -> ByteString {
        let id = Sid::from_str(room).ok().and_then(|sid| self.true_id(sid));
        id.unwrap_or_else(|| room.into())
    }
}

/// Returns the id by which socketioxide knows a socket: its own if it has the form, and otherwise one
/// that follows from it. It is the same in every process.
pub(crate) fn alias(id: &str) -> Sid {
    if let Ok(sid) = Sid::from_str(id) {
        return sid;
    }
    let mut hasher = SipHasher13::new();
    hasher.write(id.as_bytes());
    let mut bits = hasher.finish128().as_u128();
    let mut text = String::with_capacity(16);
    for _ in 0..16 {
        text.push(char::from(ALPHABET[(bits % 64) as usize]));
        bits /= 64;
    }
    Sid::from_str(&text).unwrap_or(Sid::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_16_characters_is_kept_and_one_of_20_has_always_the_same_alias() {
        assert_eq!(alias("AA9AAA0AAzAAAAHs").as_str(), "AA9AAA0AAzAAAAHs");
        let node = "XFlBn9wKd4Eyr0QwAAAB";
        assert_eq!(alias(node), alias(node));
        assert_ne!(alias(node), alias("XFlBn9wKd4Eyr0QwAAAC"));
        // In every process, and every release.
        assert_eq!(alias(node).as_str(), "Tgu7pWP24OFoALMd");
    }

    #[test]
    fn the_last_ids_are_known_and_the_first_are_forgotten() {
        let aliases = Aliases::new(10);
        let ids: Vec<ByteString> = (0..100).map(|n| format!("a socket's id {n:03}").into()).collect();
        let sids: Vec<Sid> = ids.iter().map(|id| aliases.remember(id)).collect();
        for (sid, id) in sids.iter().zip(&ids).skip(95) {
            assert_eq!(aliases.true_id(*sid).as_ref(), Some(id));
            assert_eq!(aliases.true_name(sid.as_str()), *id);
        }
        let known = sids.iter().filter(|sid| aliases.true_id(**sid).is_some()).count();
        assert!((5..=10).contains(&known), "{known}");
        assert_eq!(aliases.true_id(sids[0]), None);
        assert_eq!(aliases.true_name("a room"), "a room");
    }

    #[test]
    fn an_id_that_is_told_again_stays_known() {
        let aliases = Aliases::new(4);
        let often = aliases.remember(&"often".into());
        for number in 0..100 {
            aliases.remember(&format!("once {number}").into());
            assert_eq!(aliases.remember(&"often".into()), often);
        }
        assert_eq!(aliases.true_id(often).unwrap(), "often");
    }
}
