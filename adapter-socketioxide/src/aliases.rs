//! The ids of sockets. Ids on Node.js have 20 characters, and socketioxide has room for 16.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use lru::LruCache;
use sio_streams_driver::sio_streams_core::ByteString;
use siphasher::sip128::SipHasher13;
use socketioxide_core::Sid;

/// The number of ids that are remembered. They take about 6 MB.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// The sockets of other servers that have been told to the application, and their true ids. The
/// least recently used are forgotten.
#[derive(Debug)]
pub(crate) struct Aliases(Mutex<LruCache<Sid, ByteString>>);

impl Default for Aliases {
    fn default() -> Self {
        Aliases(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Aliases {
    /// Returns the alias of a socket's id, and remembers the id.
    pub(crate) fn remember(&self, id: &ByteString) -> Sid {
        let sid = alias(id);
        self.lock().put(sid, id.clone());
        sid
    }

    /// Returns the true id, unless it has been forgotten.
    pub(crate) fn true_id(&self, sid: Sid) -> Option<ByteString> {
        self.lock().get(&sid).cloned()
    }

    /// Returns the name of a room, in which an alias stands for the true id.
    pub(crate) fn true_name(&self, room: &str) -> ByteString {
        Sid::from_str(room).ok().and_then(|sid| self.true_id(sid)).unwrap_or_else(|| room.into())
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Sid, ByteString>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the id by which socketioxide knows a socket: its own if it has the form, and otherwise one
/// that follows from it. It is the same in every process.
pub(crate) fn alias(id: &str) -> Sid {
    Sid::from_str(id).unwrap_or_else(|_| {
        let hash = SipHasher13::new().hash(id.as_bytes()).as_bytes();
        // Twelve bytes are sixteen characters, all of which an id may have.
        Sid::from_str(&BASE64_URL_SAFE_NO_PAD.encode(&hash[..12])).unwrap_or(Sid::ZERO)
    })
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
        // It is the same in every release, too.
        assert_eq!(alias(node).as_str(), "E-juqfXYuFOgwMJ0");
    }

    #[test]
    fn the_last_ids_are_known_and_the_first_are_forgotten() {
        let aliases = Aliases::default();
        let often = aliases.remember(&"often".into());
        let count = REMEMBERED.get() * 2;
        let ids: Vec<ByteString> = (0..count).map(|n| format!("a socket's id {n:06}").into()).collect();
        let sids: Vec<Sid> = ids
            .iter()
            .map(|id| {
                // An id that is used, or told again, stays known.
                assert_eq!(aliases.remember(&"often".into()), often);
                aliases.remember(id)
            })
            .collect();
        let first = count - REMEMBERED.get() + 1;
        for (sid, id) in sids.iter().zip(&ids).skip(first) {
            assert_eq!(aliases.true_id(*sid).as_ref(), Some(id));
            assert_eq!(aliases.true_name(sid.as_str()), *id);
        }
        assert!(sids[..first].iter().all(|sid| aliases.true_id(*sid).is_none()));
        assert_eq!(aliases.true_name("a room"), "a room");
        assert_eq!(aliases.true_id(often).unwrap(), "often");
    }
}
