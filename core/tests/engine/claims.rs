//! Names and numbers that others write: what they can do, and what not.

use sio_streams_core::wire::entry::{self, SEQUENCE_FIELD};
use sio_streams_core::{
    Body, BroadcastOptions, Config, Dialect, Event, Fields, LocalDelivery, Message, NodeId, wire::WireError,
};

use crate::cluster::{Cluster, config, packet};

const STREAMS: [Dialect; 3] = [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge];

fn fields(uid: Option<&str>, text: &str, number: Option<u64>) -> Fields {
    let body = Body::Broadcast { packet: packet(text), opts: BroadcastOptions::all(), request_id: None };
    let message = Message { uid: NodeId::new(uid.unwrap_or_default().to_owned()), nsp: "/".into(), body };
    let all = entry::encode(&message).unwrap();
    let kept = all.iter().filter(|(name, _)| *name != "uid" || uid.is_some());
    let mut fields: Fields = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(number) = number {
        fields.push(SEQUENCE_FIELD, number.to_string());
    }
    fields
}

fn add(cluster: &mut Cluster, fields: Fields) {
    let wall = 1_700_000_000_000 + cluster.millis;
    cluster.store.add_entry(wall, "socket.io", fields).unwrap();
    cluster.settle();
}

/// The number of the last entry of a node.
fn last_number(cluster: &Cluster, uid: &str) -> u64 {
    let entries: Vec<_> = cluster.store.entries("socket.io").collect();
    let own = entries.iter().rev().find(|entry| entry.fields.get("uid").is_some_and(|found| found == uid));
    let number = own.unwrap().fields.get(SEQUENCE_FIELD).unwrap();
    std::str::from_utf8(number).unwrap().parse().unwrap()
}

#[test]
fn numbers_of_writers_that_share_a_name_mean_nothing() {
    for dialect in STREAMS {
        let mut cluster = Cluster::ready(&[dialect]);
        for uid in [Some("emitter"), Some(""), None] {
            add(&mut cluster, fields(uid, "first", Some(17)));
            add(&mut cluster, fields(uid, "second", Some(17)));
            add(&mut cluster, fields(uid, "third", Some(3)));
            assert_eq!(cluster.heard(0), ["first", "second", "third"], "{dialect:?}, {uid:?}");
        }
        assert!(cluster.take(0, |event| matches!(event, Event::Repeated { .. })).is_none());
    }
}

/// A field of that name that is somebody else's has nothing to do with this.
#[test]
fn a_field_called_seq_means_nothing() {
    let mut cluster = Cluster::ready(&[Dialect::Streams02]);
    for _ in 0..2 {
        let mut fields = fields(Some("node"), "a", None);
        fields.push("seq", "17");
        add(&mut cluster, fields);
    }
    assert_eq!(cluster.heard(0), ["a", "a"]);
}

#[test]
fn a_forged_entry_harms_nothing_but_itself() {
    for dialect in STREAMS {
        for local_delivery in [LocalDelivery::WhenPublished, LocalDelivery::StreamOrder] {
            let mut numbers = vec![u64::MAX, u64::MAX - 1, 0, 1, 1_700_000_000_000 << 30];
            numbers.extend([20, 60].map(|ms| (1_700_000_000_000 + ms) << 20));
            for forged in numbers {
                let config = Config { local_delivery, ..config(dialect) };
                let mut cluster = Cluster::with_configs([config.clone(), config.clone(), config]);
                for index in 0..3 {
                    cluster.open(index, "/");
                }
                let uid = cluster.uid(0).to_string();
                // Before it has said anything, and after.
                add(&mut cluster, fields(Some(&uid), "forged", Some(forged)));
                let mut said: Vec<String> = (0..50).map(|number| number.to_string()).collect();
                for text in &said[..25] {
                    cluster.broadcast(0, text);
                }
                add(&mut cluster, fields(Some(&uid), "forged", Some(forged)));
                for text in &said[25..] {
                    cluster.broadcast(0, text);
                }
                for index in [1, 2] {
                    let mut heard = cluster.heard(index);
                    heard.retain(|text| text != "forged");
                    assert_eq!(heard, said, "{dialect:?}, {forged}");
                }
                if local_delivery == LocalDelivery::StreamOrder {
                    let mut heard = cluster.heard(0);
                    heard.retain(|text| text != "forged");
                    assert_eq!(heard, said, "{dialect:?}, {forged}");
                }
                // It goes on to live, and its entries are known when they come again.
                cluster.pass(30_000);
                let gone = |event: &Event| matches!(event, Event::NodeDown { .. });
                assert!((0..3).all(|index| cluster.take(index, gone).is_none()), "{dialect:?}, {forged}");
                let number = last_number(&cluster, &uid);
                add(&mut cluster, fields(Some(&uid), "again", Some(number)));
                assert_eq!(cluster.heard(1), [""; 0], "{dialect:?}, {forged}");
                said.clear();
            }
        }
    }
}

/// A forged number just ahead is taken for the node's own. The node sees it, and what it says next is above.
#[test]
fn a_node_whose_next_number_was_forged_goes_on_above_it() {
    for dialect in STREAMS {
        let mut cluster = Cluster::ready(&[dialect; 2]);
        let uid = cluster.uid(0).to_string();
        cluster.broadcast(0, "before");
        let number = last_number(&cluster, &uid);
        add(&mut cluster, fields(Some(&uid), "forged", Some(number + 1_000)));
        for text in ["a", "b", "c"] {
            cluster.broadcast(0, text);
        }
        assert_eq!(cluster.heard(1), ["before", "forged", "a", "b", "c"], "{dialect:?}");
        let taken = cluster.take(0, |event| matches!(event, Event::NameTaken { .. }));
        assert!(taken.is_some(), "{dialect:?}: it is told");
    }
}

#[test]
fn names_longer_than_any_nodes_are_refused() {
    for dialect in STREAMS {
        let mut cluster = Cluster::ready(&[dialect]);
        for number in 0..300 {
            let uid = format!("{number}{}", "x".repeat(200_000));
            add(&mut cluster, fields(Some(&uid), "a", Some(1)));
            let skipped = cluster.take(0, |event| matches!(event, Event::Skipped { .. }));
            let Some(Event::Skipped { reason: WireError::NameTooLong { size, .. }, .. }) = skipped else {
                panic!("{skipped:?}");
            };
            assert_eq!(size, uid.len());
            if number > 30 {
                break;
            }
        }
        assert_eq!(cluster.heard(0), [""; 0]);
        assert_eq!(cluster.count(0), 1);
        assert!(format!("{:?}", cluster.nodes[0].engine).len() < 100_000);
        // One that is as long as allowed is heard.
        let uid = "x".repeat(256);
        add(&mut cluster, fields(Some(&uid), "b", None));
        assert_eq!(cluster.heard(0), ["b"]);
    }
}
