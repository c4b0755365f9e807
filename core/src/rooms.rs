//! The rooms of a namespace, and the sockets of this node that are in them.
//!
//! There are two maps, as in Socket.IO's adapter: from rooms to sockets, and from sockets to rooms.
//! Each refers to the other by small numbers. A membership therefore takes sixteen bytes, and a
//! socket leaves a room without a search.

use core::hash::BuildHasher as _;

use bytestring::ByteString;
use hashbrown::{HashSet, HashTable};
use smallvec::SmallVec;

use crate::hash::{Keyed, Numbered};
use crate::packet::BroadcastOptions;

/// A change of rooms or memberships. The names are those of the events of Socket.IO's adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomChange {
    /// The room has got its first socket. It precedes the room's `Join`.
    Create {
        /// The room.
        room: ByteString,
    },
    /// A socket has joined the room.
    Join {
        /// The room.
        room: ByteString,
        /// The socket.
        socket: ByteString,
    },
    /// A socket has left the room.
    Leave {
        /// The room.
        room: ByteString,
        /// The socket.
        socket: ByteString,
    },
    /// The room has lost its last socket. It follows the room's `Leave`.
    Delete {
        /// The room.
        room: ByteString,
    },
}

impl RoomChange {
    /// Returns the room and `true` if it has got its first socket, and the room and `false` if it has
    /// lost its last one. That is what [`Engine::set_rooms_occupied`] wants to know.
    ///
    /// [`Engine::set_rooms_occupied`]: crate::Engine::set_rooms_occupied
    ///
    /// ```
    /// use sio_streams_core::{RoomChange, Rooms};
    ///
    /// let mut rooms = Rooms::new([0; 16]);
    /// rooms.add("socket".into());
    /// let changes = rooms.join("socket", ["room".into()]);
    /// let told: Vec<_> = changes.iter().filter_map(RoomChange::occupancy).collect();
    /// assert_eq!(told, [(&"room".into(), true)]);
    /// ```
    pub fn occupancy(&self) -> Option<(&ByteString, bool)> {
        match self {
            RoomChange::Create { room } => Some((room, true)),
            RoomChange::Delete { room } => Some((room, false)),
            RoomChange::Join { .. } | RoomChange::Leave { .. } => None,
        }
    }
}

/// One side of a membership: the number of the other side, and the position of the membership in
/// the other side's list.
#[derive(Clone, Copy, Debug)]
struct Tie {
    to: u32,
    at: u32,
}

#[derive(Debug)]
struct Place {
    name: ByteString,
    ties: SmallVec<[Tie; 2]>,
    /// The position of this number in `Names::live`.
    live: u32,
}

/// The numbered names of rooms, or of sockets.
#[derive(Debug)]
struct Names {
    hash: Keyed,
    table: HashTable<u32>,
    places: Vec<Option<Place>>,
    free: Vec<u32>,
    /// The numbers in use, in no order. There may have been many more.
    live: Vec<u32>,
}

impl Names {
    fn new(hash: Keyed) -> Self {
        Names { hash, table: HashTable::new(), places: Vec::new(), free: Vec::new(), live: Vec::new() }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hash.hash_one(name);
        self.table.find(hash, |&index| self.place(index).is_some_and(|place| place.name == name)).copied()
    }

    fn place(&self, index: u32) -> Option<&Place> {
        self.places.get(index as usize)?.as_ref()
    }

    fn ties(&self, index: u32) -> &[Tie] {
        self.place(index).map_or(&[], |place| &place.ties)
    }

    fn name(&self, index: u32) -> ByteString {
        self.place(index).map(|place| place.name.clone()).unwrap_or_default()
    }

    /// Returns the number of the name, and `true` if the name is new.
    fn intern(&mut self, name: &ByteString) -> (u32, bool) {
        if let Some(index) = self.find(name) {
            return (index, false);
        }
        // The name is copied. A decoded name shares the bytes of its message, and would keep them
        // alive.
        let live = self.live.len() as u32;
        let place = Some(Place { name: ByteString::from(&**name), ties: SmallVec::new(), live });
        let index = match self.free.pop() {
            Some(index) => {
                self.places[index as usize] = place;
                index
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.live.push(index);
        let (hash, places) = (self.hash, &self.places);
        let name_of = |index: u32| places[index as usize].as_ref().map_or("", |place| &place.name);
        self.table.insert_unique(hash.hash_one(&**name), index, |&index| hash.hash_one(name_of(index)));
        (index, true)
    }

    fn remove(&mut self, index: u32) {
        let Some(place) = self.places[index as usize].take() else { return };
        self.free.push(index);
        self.live.swap_remove(place.live as usize);
        if let Some(moved) = self.live.get(place.live as usize)
            && let Some(moved) = &mut self.places[*moved as usize]
        {
            moved.live = place.live;
        }
        if let Ok(entry) = self.table.find_entry(self.hash.hash_one(&*place.name), |&other| other == index) {
            entry.remove();
        }
    }

    fn tie(&mut self, index: u32, to: u32, at: u32) {
        if let Some(place) = &mut self.places[index as usize] {
            place.ties.push(Tie { to, at });
        }
    }

    /// Removes the tie at `at` from the list of `index`. Returns the tie that has moved into its
    /// place.
    fn untie(&mut self, index: u32, at: u32) -> Option<Tie> {
        let ties = &mut self.places[index as usize].as_mut()?.ties;
        ties.swap_remove(at as usize);
        ties.get(at as usize).copied()
    }

    fn moved(&mut self, index: u32, at: u32, now_at: u32) {
        if let Some(place) = &mut self.places[index as usize] {
            place.ties[at as usize].at = now_at;
        }
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

/// The sockets of one namespace on this node, and their rooms.
///
/// Every socket is in the room that bears its own id, from the call of [`add`](Rooms::add) on.
///
/// ```
/// use sio_streams_core::{BroadcastOptions, Rooms};
///
/// let mut rooms = Rooms::new([0; 16]);
/// rooms.add("socket1".into());
/// rooms.add("socket2".into());
/// rooms.join("socket1", ["room".into()]);
///
/// assert_eq!(rooms.matching(&BroadcastOptions::to("room")), ["socket1"]);
/// assert_eq!(rooms.matching(&BroadcastOptions::all().except("room")), ["socket2"]);
/// assert_eq!(rooms.matching(&BroadcastOptions::to("socket2")), ["socket2"]);
/// ```
#[derive(Debug)]
pub struct Rooms {
    rooms: Names,
    sockets: Names,
}

impl Rooms {
    /// Creates an empty set of rooms. `seed` keys the hash tables, so that clients can't slow them
    /// down by choosing room names. Draw it at random, or fix it where runs must repeat.
    pub fn new(seed: [u8; 16]) -> Self {
        let half = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&seed[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        let hash = Keyed(half(0), half(8));
        Rooms { rooms: Names::new(hash), sockets: Names::new(hash) }
    }

    /// Adds a socket. The call has no effect if the socket was added before.
    pub fn add(&mut self, socket: ByteString) -> Vec<RoomChange> {
        let mut changes = Vec::new();
        let (index, new) = self.sockets.intern(&socket);
        if new {
            self.enter(index, &socket, &mut changes);
        }
        changes
    }

    /// Removes a socket. It leaves all its rooms.
    pub fn remove(&mut self, socket: &str) -> Vec<RoomChange> {
        let mut changes = Vec::new();
        if let Some(index) = self.sockets.find(socket) {
            while let Some(tie) = self.sockets.ties(index).last().copied() {
                let at = (self.sockets.ties(index).len() - 1) as u32;
                self.part(index, at, tie, &mut changes);
            }
            self.sockets.remove(index);
        }
        changes
    }

    /// Lets a socket join rooms. The call has no effect for an unknown socket, and for rooms that
    /// the socket is in.
    pub fn join(&mut self, socket: &str, rooms: impl IntoIterator<Item = ByteString>) -> Vec<RoomChange> {
        let mut changes = Vec::new();
        if let Some(index) = self.sockets.find(socket) {
            for room in rooms {
                self.enter(index, &room, &mut changes);
            }
        }
        changes
    }

    /// Lets a socket leave rooms. The call has no effect for rooms that the socket is not in.
    pub fn leave(&mut self, socket: &str, rooms: impl IntoIterator<Item = ByteString>) -> Vec<RoomChange> {
        let mut changes = Vec::new();
        if let Some(index) = self.sockets.find(socket) {
            for room in rooms {
                let room = self.rooms.find(&room);
                if let Some((at, tie)) = room.and_then(|room| self.membership(index, room)) {
                    self.part(index, at, tie, &mut changes);
                }
            }
        }
        changes
    }

    /// Lets the sockets that `opts` address join rooms. An application that
    /// [owns its rooms](crate::RoomOwner), and keeps them here, follows
    /// [`Event::SocketsJoin`](crate::Event::SocketsJoin) by this.
    ///
    /// ```
    /// use sio_streams_core::{BroadcastOptions, Rooms};
    ///
    /// let mut rooms = Rooms::new([0; 16]);
    /// rooms.add("socket1".into());
    /// rooms.add("socket2".into());
    /// rooms.join_matching(&BroadcastOptions::to("socket1"), &["room".into()]);
    /// assert_eq!(rooms.matching(&BroadcastOptions::to("room")), ["socket1"]);
    /// rooms.leave_matching(&BroadcastOptions::all(), &["room".into()]);
    /// assert!(!rooms.has_room("room"));
    /// ```
    pub fn join_matching(&mut self, opts: &BroadcastOptions, rooms: &[ByteString]) -> Vec<RoomChange> {
        self.join_all(&self.matching(opts), rooms)
    }

    /// Lets the sockets that `opts` address leave rooms, as
    /// [`Event::SocketsLeave`](crate::Event::SocketsLeave) demands.
    pub fn leave_matching(&mut self, opts: &BroadcastOptions, rooms: &[ByteString]) -> Vec<RoomChange> {
        self.leave_all(&self.matching(opts), rooms)
    }

    /// Lets each of the sockets join all of the rooms.
    pub(crate) fn join_all(&mut self, sockets: &[ByteString], rooms: &[ByteString]) -> Vec<RoomChange> {
        sockets.iter().flat_map(|socket| self.join(socket, rooms.iter().cloned())).collect()
    }

    /// Lets each of the sockets leave all of the rooms.
    pub(crate) fn leave_all(&mut self, sockets: &[ByteString], rooms: &[ByteString]) -> Vec<RoomChange> {
        sockets.iter().flat_map(|socket| self.leave(socket, rooms.iter().cloned())).collect()
    }

    fn enter(&mut self, socket: u32, room: &ByteString, changes: &mut Vec<RoomChange>) {
        let (index, new) = self.rooms.intern(room);
        if new {
            changes.push(RoomChange::Create { room: room.clone() });
        } else if self.membership(socket, index).is_some() {
            return;
        }
        let (at_room, at_socket) =
            (self.rooms.ties(index).len() as u32, self.sockets.ties(socket).len() as u32);
        self.rooms.tie(index, socket, at_socket);
        self.sockets.tie(socket, index, at_room);
        changes.push(RoomChange::Join { room: room.clone(), socket: self.sockets.name(socket) });
    }

    /// Returns the position of the membership in the socket's list. It searches the shorter of the
    /// two lists.
    fn membership(&self, socket: u32, room: u32) -> Option<(u32, Tie)> {
        let (of_socket, of_room) = (self.sockets.ties(socket), self.rooms.ties(room));
        let at = if of_socket.len() <= of_room.len() {
            of_socket.iter().position(|tie| tie.to == room)?
        } else {
            of_room.iter().find(|tie| tie.to == socket)?.at as usize
        };
        Some((at as u32, of_socket[at]))
    }

    /// Ends the membership at `at` in the socket's list.
    fn part(&mut self, socket: u32, at: u32, tie: Tie, changes: &mut Vec<RoomChange>) {
        let room = tie.to;
        if let Some(moved) = self.sockets.untie(socket, at) {
            self.rooms.moved(moved.to, moved.at, at);
        }
        if let Some(moved) = self.rooms.untie(room, tie.at) {
            self.sockets.moved(moved.to, moved.at, tie.at);
        }
        let name = self.rooms.name(room);
        changes.push(RoomChange::Leave { room: name.clone(), socket: self.sockets.name(socket) });
        if self.rooms.ties(room).is_empty() {
            self.rooms.remove(room);
            changes.push(RoomChange::Delete { room: name });
        }
    }

    /// Returns the number of sockets.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Returns the number of rooms, including the sockets' own.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Iterates over the rooms, including those of single sockets, in no order.
    pub fn names(&self) -> impl Iterator<Item = &ByteString> {
        self.rooms.live.iter().filter_map(|index| self.rooms.place(*index)).map(|place| &place.name)
    }

    /// Returns `true` if any socket is in the room.
    pub fn has_room(&self, room: &str) -> bool {
        self.rooms.find(room).is_some()
    }

    /// Returns `true` if the socket was added.
    pub fn contains(&self, socket: &str) -> bool {
        self.sockets.find(socket).is_some()
    }

    /// Returns the rooms of a socket, including its own, or `None` if the socket is unknown.
    pub fn of(&self, socket: &str) -> Option<Vec<ByteString>> {
        let index = self.sockets.find(socket)?;
        Some(self.sockets.ties(index).iter().map(|tie| self.rooms.name(tie.to)).collect())
    }

    /// Returns the sockets that `opts` address, each once. These are the union of its rooms, or all
    /// sockets if it names no room, without the sockets in any room of `except`.
    pub fn matching(&self, opts: &BroadcastOptions) -> Vec<ByteString> {
        let mut found = Vec::new();
        self.each_matching(opts, |name| found.push(name.clone()));
        found
    }

    /// Returns the number of sockets that `opts` address.
    pub fn count_matching(&self, opts: &BroadcastOptions) -> usize {
        let mut count = 0;
        self.each_matching(opts, |_| count += 1);
        count
    }

    fn each_matching(&self, opts: &BroadcastOptions, mut each: impl FnMut(&ByteString)) {
        let except = if mutant!(ExceptIgnored) { &[][..] } else { &opts.except };
        // One room contains every socket once. Marks are needed only if a socket could come up
        // twice, or is excluded.
        let repeating = opts.rooms.len() > 1;
        let marking = repeating || !except.is_empty();
        let mut seen = Marks::Few(HashSet::with_hasher(Numbered));
        let is_new = |seen: &mut Marks, socket: u32| match marking {
            true if repeating => seen.mark(socket),
            true => !seen.has(socket),
            false => true,
        };
        let find = |rooms: &[ByteString]| {
            let found = rooms.iter().filter_map(|room| self.rooms.find(room));
            found.map(|room| self.rooms.ties(room)).collect::<SmallVec<[&[Tie]; 4]>>()
        };
        let (rooms, except) = (find(&opts.rooms), find(except));
        if marking {
            let of_rooms = rooms.iter().filter(|_| repeating);
            let few = of_rooms.chain(&except).map(|ties| ties.len()).sum();
            seen = Marks::new(few, self.sockets.places.len());
        }
        for tie in except.into_iter().flatten() {
            seen.mark(tie.to);
        }
        if opts.rooms.is_empty() {
            for index in &self.sockets.live {
                match self.sockets.place(*index) {
                    Some(place) if is_new(&mut seen, *index) => each(&place.name),
                    _ => {}
                }
            }
        }
        for tie in rooms.into_iter().flatten() {
            match self.sockets.place(tie.to) {
                Some(place) if is_new(&mut seen, tie.to) || mutant!(UnionCountsTwice) => {
                    each(&place.name);
                }
                _ => {}
            }
        }
    }
}

/// The set of sockets that have come up.
enum Marks {
    /// One bit per socket.
    Many(Vec<u64>),
    /// A hash set, for a few sockets among a large number. Clearing the bits would take longer.
    Few(HashSet<u32, Numbered>),
}

impl Marks {
    /// Clearing this number of words takes less time than one insertion into a hash set.
    const WORDS: usize = 16;

    /// Creates an empty set for at most `few` sockets among `all`.
    fn new(few: usize, all: usize) -> Self {
        let words = all.div_ceil(64);
        match few.saturating_mul(Self::WORDS) < words {
            true => Marks::Few(HashSet::with_capacity_and_hasher(few, Numbered)),
            false => Marks::Many(vec![0; words]),
        }
    }

    fn has(&self, index: u32) -> bool {
        match self {
            Marks::Few(few) => few.contains(&index),
            Marks::Many(bits) => bits[index as usize / 64] & 1 << (index % 64) != 0,
        }
    }

    /// Marks the socket. Returns `true` if it was not marked before.
    fn mark(&mut self, index: u32) -> bool {
        match self {
            Marks::Few(few) => few.insert(index),
            Marks::Many(bits) => {
                let (word, bit) = (&mut bits[index as usize / 64], 1 << (index % 64));
                let new = *word & bit == 0;
                *word |= bit;
                new
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_among_many_are_found_as_among_few() {
        let opts = [
            BroadcastOptions::to("table").except("socket 3"),
            BroadcastOptions::to("table").and("other table").except("socket 3"),
            BroadcastOptions::to("table").and("socket 1").and("socket 9999"),
            BroadcastOptions::to("table").except("nobody"),
            BroadcastOptions::all().except("table"),
        ];
        let matching = |gone: usize, sockets: usize| {
            let mut rooms = Rooms::new([1; 16]);
            (0..gone).for_each(|at| drop(rooms.add(format!("gone {at}").into())));
            for at in 0..sockets {
                rooms.add(format!("socket {at}").into());
            }
            for at in 0..6 {
                rooms.join(&format!("socket {at}"), ["table".into()]);
                rooms.join(&format!("socket {}", 2 * at), ["other table".into()]);
            }
            (0..gone).for_each(|at| drop(rooms.remove(&format!("gone {at}"))));
            opts.each_ref().map(|opts| {
                let mut found = rooms.matching(opts);
                assert_eq!(found.len(), rooms.count_matching(opts));
                found.sort();
                found
            })
        };
        let [but_one, union, with_single, all, others] = matching(0, 20_000);
        assert_eq!(but_one, ["socket 0", "socket 1", "socket 2", "socket 4", "socket 5"]);
        let tables = [0, 1, 10, 2, 4, 5, 6, 8].map(|at| format!("socket {at}"));
        assert_eq!(union, tables);
        assert_eq!(with_single.len(), 7);
        assert_eq!(all.len(), 6);
        assert_eq!(others.len(), 20_000 - 6);
        // One of the two uses bits, and the other a hash set.
        let few = matching(0, 12);
        assert_eq!(few[..2], [but_one.clone(), union.clone()]);
        assert_eq!(few, matching(20_000, 12));
    }
}
