//! The checks of official test suites on a cluster of three servers, with one and with two of the
//! three ours, in either generation.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Kind, NAMESPACES, Shared, Variant, run};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::Config;
use sio_streams_interop::{
    Acks, Generation, Member, OurServer, Peer, RedisClient, Result, Select, ServerSideReply, all_responses,
    bin, partial_acks, partial_responses,
};
use sio_streams_testkit::RedisServer;
use tokio::runtime::Runtime;

const V02: Kind = Kind {
    name: "0.2.3",
    generation: Generation::V02,
    client: RedisClient::Redis4,
    variant: Variant::Default,
};
const V03: Kind = Kind {
    name: "0.3.1",
    generation: Generation::V03,
    client: RedisClient::Redis5,
    variant: Variant::Default,
};

struct Cluster {
    servers: [Member; 3],
    _redis: RedisServer,
}

impl Cluster {
    async fn start(kind: Kind, ours: usize) -> Result<Self> {
        let redis = RedisServer::start()?;
        let url = redis.url();
        // A server that never answers is waited for in vain, by ours no longer than by Node's.
        let config = Config { request_timeout: Duration::from_secs(5), ..kind.ours() };
        let mut servers = Vec::new();
        for index in 0..3 {
            servers.push(if index < ours {
                Member::from(OurServer::start(config.clone(), &url, &NAMESPACES).await?)
            } else {
                Member::from(Peer::start(kind.peer(&url)).await?)
            });
        }
        // The asking server is a Node server where only one is ours, and ours where two are.
        servers.rotate_left(ours % 2);
        for server in &servers {
            for nsp in NAMESPACES {
                server.wait_server_count(nsp, 3).await?;
            }
        }
        Ok(Cluster { servers: servers.try_into().expect("three"), _redis: redis })
    }

    /// A client on each server, in `nsp`.
    async fn clients(&self, nsp: &'static str, word: String) -> Result<Three<'_>> {
        let mut sids = Vec::new();
        for server in &self.servers {
            let sid = server.connect(nsp).await?;
            server.server_join(nsp, &sid, &[&word]).await?;
            sids.push(sid);
        }
        Ok(Three { servers: &self.servers, sids: sids.try_into().expect("three"), nsp, word })
    }
}

/// Three servers with a client each; all three clients are in a room of their own test's name, so
/// that tests don't hear each other.
struct Three<'a> {
    servers: &'a [Member; 3],
    sids: [String; 3],
    nsp: &'static str,
    word: String,
}

impl Three<'_> {
    fn everyone(&self) -> Select {
        Select::room(self.nsp, &self.word)
    }

    async fn heard(&self, index: usize, count: usize) -> Result<Vec<Value>> {
        let received = self.servers[index].wait_client_event(&self.sids[index], &self.word, count).await?;
        Ok(received
            .into_iter()
            .map(|received| received.args.into_iter().next().unwrap_or_default())
            .collect())
    }

    /// Each client hears just this. A last packet for everyone shows that nothing else is on its
    /// way.
    async fn hear(&self, expected: [&[&str]; 3]) -> Result<()> {
        self.servers[0].emit(&self.everyone(), &self.word, &[json!("the end")]).await?;
        for (index, texts) in expected.into_iter().enumerate() {
            let mut texts: Vec<Value> = texts.iter().map(|&text| text.into()).collect();
            texts.push(json!("the end"));
            assert_eq!(self.heard(index, texts.len()).await?, texts, "client {index}");
        }
        Ok(())
    }

    async fn emit(&self, to: &Select, text: &str) -> Result<()> {
        self.servers[0].emit(to, &self.word, &[json!(text)]).await
    }

    async fn join(&self, index: usize, room: &str) -> Result<()> {
        self.servers[index].server_join(self.nsp, &self.sids[index], &[room]).await
    }

    fn room(&self, name: &str) -> String {
        format!("{} {name}", self.word)
    }
}

async fn broadcast_to_all(three: Three<'_>) -> Result<()> {
    three.emit(&Select::all(three.nsp), "everyone").await?;
    three.hear([&["everyone"]; 3]).await
}

async fn broadcast_to_a_namespace(three: Three<'_>) -> Result<()> {
    let elsewhere = three.servers[1].connect("/").await?;
    three.emit(&Select::all(three.nsp), "here").await?;
    three.hear([&["here"]; 3]).await?;
    let strays = three.servers[1].client_received(&elsewhere).await?;
    assert!(strays.iter().all(|received| received.event != three.word), "{strays:?}");
    Ok(())
}

async fn broadcast_to_a_room(three: Three<'_>) -> Result<()> {
    let room = three.room("room");
    three.join(1, &room).await?;
    three.emit(&Select::room(three.nsp, &room), "inside").await?;
    three.hear([&[], &["inside"], &[]]).await
}

async fn broadcast_to_several_rooms(three: Three<'_>) -> Result<()> {
    let rooms = [three.room("one"), three.room("two")];
    three.join(1, &rooms[0]).await?;
    three.join(1, &rooms[1]).await?;
    three.join(2, &rooms[1]).await?;
    three.emit(&Select::room(three.nsp, &rooms[0]).to(&rooms[1]), "once").await?;
    three.hear([&[], &["once"], &["once"]]).await
}

async fn broadcast_except_a_room(three: Three<'_>) -> Result<()> {
    let room = three.room("room");
    three.join(1, &room).await?;
    three.emit(&three.everyone().except(&room), "outside").await?;
    three.hear([&["outside"], &[], &["outside"]]).await
}

async fn broadcast_locally(three: Three<'_>) -> Result<()> {
    three.emit(&three.everyone().local(), "near").await?;
    three.hear([&["near"], &[], &[]]).await
}

async fn broadcast_in_order(three: Three<'_>) -> Result<()> {
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        three.emit(&three.everyone(), text).await?;
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    three.hear([&texts; 3]).await
}

async fn answer(three: &Three<'_>, replies: [Option<Value>; 3]) -> Result<()> {
    for (index, reply) in replies.into_iter().enumerate() {
        three.servers[index].client_ack(&three.sids[index], &three.word, reply).await?;
    }
    Ok(())
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(ToString::to_string);
    values
}

async fn acks_of_several(three: Three<'_>) -> Result<()> {
    answer(&three, [Some(json!(1)), Some(json!(2)), Some(json!(3))]).await?;
    let to = three.everyone().timeout(20_000);
    let acks = three.servers[0].emit_with_ack(&to, &three.word, &[json!("question")]).await?;
    let Acks::Complete { acks } = acks else { panic!("{acks:?}") };
    assert_eq!(sorted(acks), [json!(1), json!(2), json!(3)]);
    Ok(())
}

async fn acks_binary(three: Three<'_>) -> Result<()> {
    let value = |byte: u8| Some(bin([byte, 0xff]));
    answer(&three, [value(1), value(2), value(3)]).await?;
    let to = three.everyone().timeout(20_000);
    let acks = three.servers[0].emit_with_ack(&to, &three.word, &[bin(b"question")]).await?;
    let Acks::Complete { acks } = acks else { panic!("{acks:?}") };
    assert_eq!(sorted(acks), sorted((1..4).filter_map(value).collect()));
    Ok(())
}

async fn acks_of_nobody(three: Three<'_>) -> Result<()> {
    let to = Select::room(three.nsp, &three.room("empty")).timeout(20_000);
    let acks = three.servers[0].emit_with_ack(&to, &three.word, &[]).await?;
    assert_eq!(acks, Acks::Complete { acks: vec![] });
    Ok(())
}

async fn acks_time_out(three: Three<'_>) -> Result<()> {
    answer(&three, [Some(json!(1)), None, Some(json!(3))]).await?;
    partial_acks(&[json!(1), json!(3)], &[1_500, 6_000, 25_000], async |timeout| {
        three.servers[0].emit_with_ack(&three.everyone().timeout(timeout), &three.word, &[]).await
    })
    .await
}

async fn wait_rooms(three: &Three<'_>, room: &str, expected: [bool; 3]) -> Result<()> {
    for (index, expected) in expected.into_iter().enumerate() {
        three.servers[index].wait_room(three.nsp, &three.sids[index], room, expected).await?;
    }
    Ok(())
}

async fn sockets_join_all(three: Three<'_>) -> Result<()> {
    let room = three.room("joined");
    three.servers[0].sockets_join(&three.everyone(), &[&room]).await?;
    wait_rooms(&three, &room, [true; 3]).await
}

async fn sockets_join_matching(three: Three<'_>) -> Result<()> {
    let (room, joined) = (three.room("room"), three.room("joined"));
    three.join(0, &room).await?;
    three.join(2, &room).await?;
    three.servers[0].sockets_join(&Select::room(three.nsp, &room), &[&joined]).await?;
    wait_rooms(&three, &joined, [true, false, true]).await
}

async fn sockets_join_one(three: Three<'_>) -> Result<()> {
    let joined = three.room("joined");
    three.servers[0].sockets_join(&Select::room(three.nsp, &three.sids[1]), &[&joined]).await?;
    wait_rooms(&three, &joined, [false, true, false]).await
}

async fn sockets_leave_all(three: Three<'_>) -> Result<()> {
    let room = three.room("left");
    for index in 0..3 {
        three.join(index, &room).await?;
    }
    three.servers[0].sockets_leave(&three.everyone(), &[&room]).await?;
    wait_rooms(&three, &room, [false; 3]).await
}

async fn sockets_leave_matching(three: Three<'_>) -> Result<()> {
    let (room, left) = (three.room("room"), three.room("left"));
    for index in 0..3 {
        three.join(index, &left).await?;
    }
    three.join(1, &room).await?;
    three.servers[0].sockets_leave(&Select::room(three.nsp, &room), &[&left]).await?;
    wait_rooms(&three, &left, [true, false, true]).await
}

async fn sockets_leave_one(three: Three<'_>) -> Result<()> {
    let left = three.room("left");
    for index in 0..3 {
        three.join(index, &left).await?;
    }
    three.servers[0].sockets_leave(&Select::room(three.nsp, &three.sids[2]), &[&left]).await?;
    wait_rooms(&three, &left, [true, true, false]).await
}

async fn disconnect_all(three: Three<'_>) -> Result<()> {
    three.servers[0].disconnect_sockets(&three.everyone(), true).await?;
    for index in 0..3 {
        three.servers[index].wait_disconnected(&three.sids[index]).await?;
    }
    Ok(())
}

async fn disconnect_matching(three: Three<'_>) -> Result<()> {
    let room = three.room("room");
    three.join(1, &room).await?;
    three.servers[0].disconnect_sockets(&Select::room(three.nsp, &room), false).await?;
    three.servers[1].wait_disconnected(&three.sids[1]).await?;
    three.emit(&three.everyone(), "still here").await?;
    three.heard(0, 1).await?;
    three.heard(2, 1).await.map(drop)
}

async fn disconnect_one(three: Three<'_>) -> Result<()> {
    three.servers[0].disconnect_sockets(&Select::room(three.nsp, &three.sids[2]), true).await?;
    three.servers[2].wait_disconnected(&three.sids[2]).await?;
    three.emit(&three.everyone(), "still here").await?;
    three.heard(0, 1).await?;
    three.heard(1, 1).await.map(drop)
}

async fn fetch_all(three: Three<'_>) -> Result<()> {
    let mut ids: Vec<String> = three.servers[0]
        .fetch_sockets(&three.everyone().timeout(20_000))
        .await?
        .into_iter()
        .map(|socket| socket.id)
        .collect();
    ids.sort();
    let mut expected = three.sids.to_vec();
    expected.sort();
    assert_eq!(ids, expected);
    Ok(())
}

async fn fetch_one(three: Three<'_>) -> Result<()> {
    let room = three.room("room");
    three.join(1, &room).await?;
    three.servers[1].set_data(&three.sids[1], json!({ "user": "ü", "avatar": bin(b"png") })).await?;
    let one = Select::room(three.nsp, &three.sids[1]).timeout(20_000);
    let found = three.servers[0].fetch_sockets(&one).await?;
    let [socket] = &found[..] else { panic!("{found:?}") };
    assert_eq!(socket.data, json!({ "user": "ü", "avatar": bin(b"png") }));
    assert!(socket.rooms.contains(&room) && socket.rooms.contains(&socket.id), "{:?}", socket.rooms);
    assert_eq!(socket.handshake["address"], "127.0.0.1");
    Ok(())
}

async fn fetch_locally(three: Three<'_>) -> Result<()> {
    let found = three.servers[0].fetch_sockets(&three.everyone().local()).await?;
    assert_eq!(found.iter().map(|socket| &socket.id).collect::<Vec<_>>(), [&three.sids[0]]);
    Ok(())
}

async fn server_side_emit(three: Three<'_>) -> Result<()> {
    for server in three.servers {
        // A Node server notes only what somebody listens to.
        server.on_server_side(three.nsp, &three.word, ServerSideReply::Silent).await?;
    }
    let args = [json!(1), json!("2"), bin([3])];
    three.servers[0].server_side_emit(three.nsp, &three.word, &args).await?;
    for server in &three.servers[1..] {
        let received = server.wait_server_side(three.nsp, &three.word, 1).await?;
        assert_eq!(received[0].args, args);
    }
    Ok(())
}

async fn server_side_emit_answered(three: Three<'_>) -> Result<()> {
    for (index, value) in [(1, json!("one")), (2, bin([2]))] {
        let reply = ServerSideReply::Answer(value);
        three.servers[index].on_server_side(three.nsp, &three.word, reply).await?;
    }
    let ask = async || three.servers[0].server_side_emit_with_ack(three.nsp, &three.word, &[]).await;
    assert_eq!(sorted(all_responses(ask).await?), sorted(vec![json!("one"), bin([2])]));
    Ok(())
}

async fn server_side_emit_with_a_silent_node(three: Three<'_>) -> Result<()> {
    let reply = ServerSideReply::Answer(json!("one"));
    three.servers[1].on_server_side(three.nsp, &three.word, reply).await?;
    three.servers[2].on_server_side(three.nsp, &three.word, ServerSideReply::Silent).await?;
    let ask = async || three.servers[0].server_side_emit_with_ack(three.nsp, &three.word, &[]).await;
    partial_responses(&[json!("one")], ask).await
}

fn trials(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in [V02, V03] {
        for ours in [1, 2] {
            let shared = Shared::new(runtime, move || Cluster::start(kind, ours));
            macro_rules! trial {
                ($($test:ident)*) => {$({
                    let name = format!("{} with {ours} of 3 ours: {}", kind.name, stringify!($test));
                    trials.push(shared.trial(name, Box::new(|cluster, word| Box::pin(async move {
                        $test(cluster.clients("/chat", word).await?).await
                    }))));
                })*};
            }
            trial!(
                broadcast_to_all broadcast_to_a_namespace broadcast_to_a_room broadcast_to_several_rooms
                broadcast_except_a_room broadcast_locally broadcast_in_order
                acks_of_several acks_binary acks_of_nobody acks_time_out
                sockets_join_all sockets_join_matching sockets_join_one
                sockets_leave_all sockets_leave_matching sockets_leave_one
                disconnect_all disconnect_matching disconnect_one
                fetch_all fetch_one fetch_locally
                server_side_emit server_side_emit_answered server_side_emit_with_a_silent_node
            );
        }
    }
    trials
}

fn main() -> std::process::ExitCode {
    run(trials)
}
