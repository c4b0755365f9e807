//! Faults that strike a link at a given byte.

use std::time::Duration;

/// The direction of bytes through a [`Proxy`](crate::Proxy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From clients to the server.
    Requests,
    /// From the server to clients.
    Replies,
}

/// Something that happens once, when a number of further bytes have gone through in one direction,
/// whichever connection they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The direction whose bytes are counted.
    pub direction: Direction,
    /// The number of bytes that still come through unharmed.
    pub after: u64,
    /// The trouble that happens then.
    pub what: Trouble,
}

/// The trouble that happens to the connection whose byte it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is closed. What came before has arrived, in the middle of a command or a reply perhaps.
    Cut,
    /// The same, and no other takes its place: all connections are closed and new ones too, until
    /// [`restore`](crate::Proxy::restore).
    Sever,
    /// It stays open, but nothing more comes through in this direction, ever.
    Truncate,
    /// The bytes that follow wait for this time, and then come through, even if their sender has
    /// gone meanwhile.
    Stall(Duration),
    /// The same, until [`release`](crate::Proxy::release).
    Hold,
    /// From now on every piece comes later by this much, on all connections, until
    /// [`calm`](crate::Proxy::calm).
    Delay(Duration),
}

/// The faults that have not struck yet.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of these bytes that come through before something happens, and the trouble.
    pub(crate) fn pass(&mut self, direction: Direction, length: usize) -> (usize, Option<Trouble>) {
        let mine = |fault: &(usize, &Fault)| fault.1.direction == direction;
        let next = self.0.iter().enumerate().filter(mine).min_by_key(|(_, fault)| fault.after);
        let struck = next.filter(|(_, fault)| fault.after < length as u64).map(|(at, _)| at);
        let what = struck.map(|at| self.0.swap_remove(at));
        let through = what.map_or(length, |fault| fault.after as usize);
        for fault in self.0.iter_mut().filter(|fault| fault.direction == direction) {
            fault.after -= through as u64;
        }
        (through, what.map(|fault| fault.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_at_their_byte_and_in_their_order() {
        let mut faults = Faults::default();
        let requests = |after, what| Fault { direction: Direction::Requests, after, what };
        faults.add(requests(12, Trouble::Cut));
        faults.add(requests(3, Trouble::Truncate));
        faults.add(Fault { direction: Direction::Replies, after: 0, what: Trouble::Cut });
        assert_eq!(faults.pass(Direction::Requests, 3), (3, None));
        assert_eq!(faults.pass(Direction::Requests, 1), (0, Some(Trouble::Truncate)));
        assert_eq!(faults.pass(Direction::Requests, 20), (9, Some(Trouble::Cut)));
        assert_eq!(faults.pass(Direction::Requests, 20), (20, None));
        assert_eq!(faults.pass(Direction::Replies, 1), (0, Some(Trouble::Cut)));
        assert_eq!(faults.len(), 0);
    }
}
