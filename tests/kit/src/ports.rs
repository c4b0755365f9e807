//! Ports for servers that may die and come back.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those from which systems take the ports of outgoing connections: else somebody's could sit
/// on the port of a server that is about to come back, and a client that knocks there could even
/// reach itself.
const FIRST: u16 = 10_500;

/// Ten thousand above, where a cluster's servers talk to each other, are still none of those.
const COUNT: u16 = 10_000;

/// Listens on a port that this process has given to nobody yet, dead or alive.
pub(crate) fn listen() -> io::Result<TcpListener> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Other processes that do the same begin elsewhere.
    let begin = process::id().wrapping_mul(2_654_435_761) >> 16;
    for _ in 0..COUNT {
        let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        let place = (begin + given) % u32::from(COUNT);
        let port = FIRST + u16::try_from(place).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Err(e) if e.kind() == ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, format!("all of {COUNT} ports from {FIRST} on are taken")))
}

/// Such a port, for a server that will listen on it.
pub(crate) fn free() -> io::Result<u16> {
    Ok(listen()?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_given_twice() {
        let given: BTreeSet<u16> = (0..200).map(|_| super::free().unwrap()).collect();
        assert_eq!(given.len(), 200);
        assert!(given.iter().all(|port| (10_500..20_500).contains(port)));
    }
}
