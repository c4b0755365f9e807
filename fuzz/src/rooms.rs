//! Rooms, compared with a simple model.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use arbitrary::Arbitrary;
use sio_streams_core::{BroadcastOptions, ByteString, RoomChange, Rooms};

/// Few names, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Name(u8);

impl Name {
    fn text(self) -> ByteString {
        format!("n{}", self.0 % 24).into()
    }
}

/// A step: a change of the rooms, or a question.
#[derive(Arbitrary, Debug)]
pub enum Step {
    /// A socket comes.
    Add(Name),
    /// A socket goes.
    Remove(Name),
    /// It joins these rooms.
    Join(Name, Vec<Name>),
    /// It leaves these rooms.
    Leave(Name, Vec<Name>),
    /// Asks for the sockets that these rooms address, without those rooms.
    Match(Vec<Name>, Vec<Name>),
}

/// Each socket with its rooms.
type Model = BTreeMap<ByteString, BTreeSet<ByteString>>;

/// Does the steps to both, and compares.
///
/// # Panics
///
/// If they differ.
pub fn against_model(seed: [u8; 16], steps: &[Step]) {
    let (mut rooms, mut model) = (Rooms::new(seed), Model::new());
    for step in steps {
        let before = model.clone();
        let changes = match step {
            Step::Add(socket) => {
                if let Entry::Vacant(place) = model.entry(socket.text()) {
                    place.insert(BTreeSet::from([socket.text()]));
                }
                rooms.add(socket.text())
            }
            Step::Remove(socket) => {
                model.remove(&socket.text());
                rooms.remove(&socket.text())
            }
            Step::Join(socket, into) => {
                if let Some(of) = model.get_mut(&socket.text()) {
                    of.extend(into.iter().map(|room| room.text()));
                }
                rooms.join(&socket.text(), into.iter().map(|room| room.text()))
            }
            Step::Leave(socket, from) => {
                let from: Vec<ByteString> = from.iter().map(|room| room.text()).collect();
                if let Some(of) = model.get_mut(&socket.text()) {
                    of.retain(|room| !from.contains(room));
                }
                rooms.leave(&socket.text(), from.iter().cloned())
            }
            Step::Match(to, except) => {
                compare_matching(&rooms, &model, to, except);
                Vec::new()
            }
        };
        compare_changes(&before, &model, &changes);
        compare(&rooms, &model);
    }
}

fn members<'a>(model: &'a Model, room: &ByteString) -> impl Iterator<Item = &'a ByteString> {
    model.iter().filter(move |(_, of)| of.contains(room)).map(|(socket, _)| socket)
}

fn all_rooms(model: &Model) -> BTreeSet<&ByteString> {
    model.values().flatten().collect()
}

fn compare(rooms: &Rooms, model: &Model) {
    assert_eq!(rooms.socket_count(), model.len());
    assert_eq!(rooms.room_count(), all_rooms(model).len());
    for (socket, of) in model {
        assert!(rooms.contains(socket));
        let listed = rooms.of(socket).unwrap_or_default();
        assert_eq!(listed.len(), of.len(), "each room once");
        assert_eq!(&listed.into_iter().collect::<BTreeSet<_>>(), of);
    }
}

fn compare_matching(rooms: &Rooms, model: &Model, to: &[Name], except: &[Name]) {
    let texts = |names: &[Name]| names.iter().map(|name| name.text()).collect::<Vec<_>>();
    let opts = BroadcastOptions { rooms: texts(to), except: texts(except), ..BroadcastOptions::all() };
    let addressed = |of: &BTreeSet<ByteString>| {
        (opts.rooms.is_empty() || opts.rooms.iter().any(|room| of.contains(room)))
            && !opts.except.iter().any(|room| of.contains(room))
    };
    let expected: BTreeSet<_> =
        model.iter().filter(|(_, of)| addressed(of)).map(|(socket, _)| socket.clone()).collect();
    let found = rooms.matching(&opts);
    assert_eq!(found.len(), rooms.count_matching(&opts));
    assert_eq!(found.len(), expected.len(), "each socket once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// The changes are the difference, each once; a room is made before it is joined and goes after it
/// is left.
fn compare_changes(before: &Model, after: &Model, changes: &[RoomChange]) {
    let mut model = before.clone();
    let mut there: BTreeSet<ByteString> = all_rooms(before).into_iter().cloned().collect();
    for change in changes {
        match change {
            RoomChange::Create { room } => assert!(there.insert(room.clone()), "{room} was there"),
            RoomChange::Delete { room } => {
                assert!(there.remove(room), "{room} was not there");
                assert_eq!(members(&model, room).count(), 0);
            }
            RoomChange::Join { room, socket } => {
                assert!(there.contains(room));
                assert!(model.entry(socket.clone()).or_default().insert(room.clone()));
            }
            RoomChange::Leave { room, socket } => {
                assert!(model.get_mut(socket).is_some_and(|of| of.remove(room)));
            }
        }
    }
    model.retain(|_, of| !of.is_empty());
    let without_rooms = |model: &Model| model.clone().into_iter().filter(|(_, of)| !of.is_empty()).collect();
    let after: Model = without_rooms(after);
    assert_eq!(model, after);
    assert_eq!(there, all_rooms(&after).into_iter().cloned().collect());
}
