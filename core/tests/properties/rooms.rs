//! A comparison of rooms with a plain model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use sio_streams_core::{BroadcastOptions, ByteString, Flags, RoomChange, Rooms};

use crate::config;
use crate::values::*;

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Join(u8, Vec<u8>),
    Leave(u8, Vec<u8>),
}

/// Generates a step. There are sockets s0 to s7 and rooms r0 to r5, and the sockets' own rooms are
/// rooms too.
fn step() -> impl Strategy<Value = Step> {
    let (socket, rooms) = (0..8_u8, || vec(0..14_u8, 0..5));
    prop_oneof![
        3 => socket.clone().prop_map(Step::Add),
        1 => socket.clone().prop_map(Step::Remove),
        4 => (socket.clone(), rooms()).prop_map(|(socket, rooms)| Step::Join(socket, rooms)),
        3 => (socket, rooms()).prop_map(|(socket, rooms)| Step::Leave(socket, rooms)),
    ]
}

type Model = BTreeMap<String, BTreeSet<String>>;

fn members(model: &Model) -> Model {
    let mut rooms = Model::new();
    for (socket, of) in model {
        for room in of {
            rooms.entry(room.clone()).or_default().insert(socket.clone());
        }
    }
    rooms
}

/// Checks the changes from `rooms` to the new memberships: none is reported twice, and each room is
/// created before its first join and deleted after its last leave.
fn replay(rooms: &mut Model, changes: &[RoomChange]) {
    for change in changes {
        match change {
            RoomChange::Create { room } => {
                assert!(rooms.insert(room.to_string(), BTreeSet::new()).is_none(), "{room} is there already");
            }
            RoomChange::Join { room, socket } => {
                assert!(
                    rooms.get_mut(&**room).unwrap().insert(socket.to_string()),
                    "{socket} is in {room} already"
                );
            }
            RoomChange::Leave { room, socket } => {
                assert!(rooms.get_mut(&**room).unwrap().remove(&**socket), "{socket} is not in {room}");
            }
            RoomChange::Delete { room } => assert_eq!(rooms.remove(&**room), Some(BTreeSet::new()), "{room}"),
        }
    }
    assert!(rooms.values().all(|sockets| !sockets.is_empty()), "an empty room was not deleted: {rooms:?}");
}

fn sorted(names: Vec<ByteString>) -> Vec<String> {
    let count = names.len();
    let set: BTreeSet<String> = names.iter().map(ByteString::to_string).collect();
    assert_eq!(set.len(), count, "each once");
    set.into_iter().collect()
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn rooms_are_as_a_plain_model_has_them(
        seed in any::<[u8; 16]>(),
        steps in vec(step(), 0..60),
        to in vec(0..15_u8, 0..4),
        except in vec(0..15_u8, 0..3),
    ) {
        let mut rooms = Rooms::new(seed);
        let mut model = Model::new();
        let mut replayed = Model::new();
        let opts = BroadcastOptions {
            rooms: to.iter().map(|room| room_name(*room).into()).collect(),
            except: except.iter().map(|room| room_name(*room).into()).collect(),
            flags: Flags::default(),
        };
        for step in steps {
            let changes = match step {
                Step::Add(socket) => {
                    let socket = format!("s{socket}");
                    model.entry(socket.clone()).or_insert_with(|| [socket.clone()].into());
                    rooms.add(socket.into())
                }
                Step::Remove(socket) => {
                    let socket = format!("s{socket}");
                    model.remove(&socket);
                    rooms.remove(&socket)
                }
                Step::Join(socket, names) => {
                    let (socket, names): (_, Vec<_>) = (format!("s{socket}"), names.into_iter().map(room_name).collect());
                    if let Some(of) = model.get_mut(&socket) {
                        of.extend(names.iter().cloned());
                    }
                    rooms.join(&socket, names.into_iter().map(ByteString::from))
                }
                Step::Leave(socket, names) => {
                    let (socket, names): (_, Vec<_>) = (format!("s{socket}"), names.into_iter().map(room_name).collect());
                    if let Some(of) = model.get_mut(&socket) {
                        of.retain(|room| !names.contains(room));
                    }
                    rooms.leave(&socket, names.iter().map(|name| name.as_str().into()))
                }
            };
            replay(&mut replayed, &changes);
            let by_room = members(&model);
            prop_assert_eq!(&replayed, &by_room);
            prop_assert_eq!((rooms.socket_count(), rooms.room_count()), (model.len(), by_room.len()));
            for socket in (0..8).map(|socket| format!("s{socket}")) {
                prop_assert_eq!(rooms.contains(&socket), model.contains_key(&socket));
                let of = rooms.of(&socket).map(|of| sorted(of).into_iter().collect());
                prop_assert_eq!(of.as_ref(), model.get(&socket));
            }
            let wanted: Vec<String> = model
                .iter()
                .filter(|(_, of)| opts.rooms.is_empty() || opts.rooms.iter().any(|room| of.contains(&**room)))
                .filter(|(_, of)| !opts.except.iter().any(|room| of.contains(&**room)))
                .map(|(socket, _)| socket.clone())
                .collect();
            prop_assert_eq!(rooms.count_matching(&opts), wanted.len());
            prop_assert_eq!(sorted(rooms.matching(&opts)), wanted);
        }
    }
}
