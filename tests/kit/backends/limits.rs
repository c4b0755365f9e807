//! Servers with limits on output, input, time and rights.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::common::*;
use super::member::Member;
use crate::Backend;
use sio_streams_core::{BroadcastOptions, CommandError, Config, Dialect, Lane, LinkState, Lost, Packet};
use sio_streams_driver::{Emitter, Error, Event, Events, Node, Options};
use sio_streams_testkit::{Chaos, Direction, Habit, Proxy, RedisServer};

fn packet(number: u64, size: usize) -> Packet {
    Packet::event("n", &(number, "x".repeat(size))).unwrap()
}

fn classic() -> Config {
    Config { dialect: Dialect::Classic, ..Config::default() }
}

/// The options of a node on streams.
fn streams() -> Options {
    options(Config::default())
}

/// The maximum of losses of the reader's link in these tests. A reader that asks for the same again
/// and again loses it without an end.
const MOST_LOSSES: usize = 40;

/// Takes events up to the last broadcast. Returns the numbers of the broadcasts, the number of
/// times that the reader's link was lost, and the gaps.
async fn heard(events: &mut Events, last: u64) -> (Vec<u64>, usize, Vec<Lost>) {
    let (mut numbers, mut losses, mut gaps) = (Vec::new(), 0, Vec::new());
    while numbers.last() != Some(&last) {
        match within(events.next()).await.unwrap() {
            Event::Broadcast(broadcast) => {
                let (_, number, _): (String, u64, String) = broadcast.packet.data().decode().unwrap();
                numbers.push(number);
            }
            Event::Link { lane: Lane::Reader(_), link: LinkState::Down { .. } } => {
                losses += 1;
                assert!(losses <= MOST_LOSSES, "after {numbers:?}");
            }
            Event::Gap { lost, .. } => gaps.push(lost),
            Event::Rewound { .. } => panic!("nothing was lost"),
            _ => {}
        }
    }
    (numbers, losses, gaps)
}

/// Starts a node with a socket, over a proxy.
async fn listener(proxy: &Chaos) -> (Node, Events) {
    let (node, events) = sio_streams_driver::start(streams(), steady(&proxy.url())).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    within(nsp.add_socket("a")).await.unwrap();
    (node, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_too_large_is_asked_for_in_parts() {
    let redis = RedisServer::start().unwrap();
    let proxy = Chaos::start(redis.addr(), Vec::new()).unwrap();
    let (_node, mut events) = listener(&proxy).await;
    let (writer, _events) = sio_streams_driver::start(streams(), steady(&redis.url())).unwrap();
    let there = within(writer.open("/")).await.unwrap();
    // The reader hears nothing until all messages are in the stream.
    proxy.silence(Direction::Replies);
    for number in 0..101 {
        let size = if number < 100 { 100_000 } else { 1 };
        within(there.broadcast(packet(number, size), BroadcastOptions::all())).await.unwrap();
    }
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 4mb 4mb 0"]);
    proxy.speak();
    let (numbers, losses, gaps) = heard(&mut events, 100).await;
    assert_eq!(numbers, (0..=100).collect::<Vec<u64>>());
    // Two losses by a hundred entries, and one by fifty.
    assert!((2..=MOST_LOSSES).contains(&losses) && gaps.is_empty(), "{losses} {gaps:?}");
}

/// The entry is reported as a gap, and nothing else is. This holds if the server limits replies or
/// if a proxy does, and wherever the entry is in the stream.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_too_large_alone_is_a_gap() {
    tokio::join!(is_a_gap(true, false), is_a_gap(false, true));
}

/// `alone` is `true` if the entry is the first one of the stream, and `false` if it is the second.
async fn is_a_gap(alone: bool, by_proxy: bool) {
    let redis = RedisServer::start().unwrap();
    let proxy = Chaos::start(redis.addr(), Vec::new()).unwrap();
    // Nodes of this dialect write nothing to the stream by themselves. There are dozens of
    // reconnects, and another test is about their pace.
    let options = || {
        let mut options = options(Config { dialect: Dialect::Streams03, ..Config::default() });
        options.timing.backoff_max = Duration::from_millis(50);
        options
    };
    let (writer, _events) = sio_streams_driver::start(options(), steady(&redis.url())).unwrap();
    let there = within(writer.open("/")).await.unwrap();
    let (node, mut events) = sio_streams_driver::start(options(), steady(&proxy.url())).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    within(nsp.add_socket("a")).await.unwrap();
    let say = async |number, size| {
        within(there.broadcast(packet(number, size), BroadcastOptions::all())).await.unwrap();
    };
    let first = if alone { 1 } else { 0 };
    if !alone {
        say(0, 1).await;
        assert_eq!(heard(&mut events, 0).await.0, [0]);
    }
    match by_proxy {
        true => proxy.habits(vec![Habit::LargestReply(1 << 20)]),
        false => drop(redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 1mb 0"])),
    }
    say(first, 3_000_000).await;
    say(first + 1, 1).await;
    let (numbers, losses, gaps) = heard(&mut events, first + 1).await;
    assert_eq!(numbers, [first + 1]);
    assert_eq!(gaps, [Lost::Exactly(1)], "{alone}");
    assert!(losses >= 2);
    // After that, everything works as before, for the node that was there and for a new one.
    say(first + 2, 1).await;
    assert_eq!(heard(&mut events, first + 2).await, (vec![first + 2], 0, vec![]));
    let (new, mut events) = sio_streams_driver::start(options(), steady(&proxy.url())).unwrap();
    let nsp = within(new.open("/")).await.unwrap();
    within(nsp.add_socket("b")).await.unwrap();
    say(first + 3, 1).await;
    assert_eq!(heard(&mut events, first + 3).await.0, [first + 3]);
}

/// The connection opens, but it is lost by the first read, by the first question, or by the second
/// read. Then it is opened no more than once a second. The proxy takes a connection after the
/// client has begun to connect, and before the connection is of use or is lost. So a slow machine
/// does not bring two of these times closer together.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_connects_again_and_again() {
    for habit in [Habit::CloseAt("XREAD"), Habit::CloseAt("XINFO"), Habit::CloseAtSecond("XREAD")] {
        let redis = RedisServer::start().unwrap();
        let proxy = Chaos::start(redis.addr(), Vec::new()).unwrap();
        // However long it takes, all messages stay in the stream.
        let config = || Config { max_len: u32::MAX.into(), ..Config::default() };
        let mut listener = Member::start(config(), steady(&proxy.url())).await;
        let sender = Member::start(config(), steady(&redis.url())).await;
        sender.send(0).await;
        listener.hears([0]).await;
        // There is always something to read, so each connection gets to its second read.
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let sending = sender.sends((1..).take_while(move |_| !is_over.load(Ordering::Relaxed)));
        proxy.habits(vec![habit.clone()]);
        // From here on, only the reader connects.
        let before = proxy.accepted();
        until(|| proxy.accepted() >= before + 4).await;
        let accepted = &proxy.accepted_at()[before..];
        for pair in accepted.windows(2) {
            let pause = pair[1] - pair[0];
            assert!(pause >= Duration::from_secs(1), "{habit:?}: {pause:?} of {accepted:?}");
        }
        over.store(true, Ordering::Relaxed);
        proxy.habits(Vec::new());
        let count = within(sending).await.unwrap();
        listener.hears(1..=count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_holds_up_nobody_for_long() {
    let redis = RedisServer::start().unwrap();
    redis.command(&["CONFIG", "SET", "client-query-buffer-limit", "1mb"]);
    let (node, _events) = sio_streams_driver::start(streams(), steady(&redis.url())).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    let large = nsp.broadcast(packet(0, 3_000_000), BroadcastOptions::all());
    let small: Vec<_> =
        (1..=5).map(|number| nsp.broadcast(packet(number, 1), BroadcastOptions::all())).collect();
    let fate = within(large).await;
    let Err(Error::Command(CommandError::Lost(why))) = &fate else { panic!("{fate:?}") };
    assert!(why.contains("bytes"), "{why}");
    for fate in small {
        within(fate).await.unwrap();
    }
    assert_eq!(redis.command(&["XLEN", STREAM]).as_int(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_is_told_once_and_is_not_ready() {
    let rights = "~socket.io &socket.io* -@all +xadd +xrange +xinfo|stream +publish +subscribe +unsubscribe \
                  +pubsub|numsub +pubsub|channels +ping";
    let redis = RedisServer::builder().user("blind", "pw", rights).start().unwrap();
    let within_short = Options { open_within: Duration::from_secs(2), ..streams() };
    let url = redis.url_as("blind", "pw");
    let (node, mut events) = sio_streams_driver::start(within_short, Backend::new(&url).unwrap()).unwrap();
    let refused = within(node.open("/")).await;
    let Err(Error::NotOpened { why, .. }) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("NOPERM"), "{why}");
    let mut told = 0;
    while let Some(event) = events.try_next() {
        told += u32::from(matches!(event, Event::Refused { lane: Lane::Reader(_), .. }));
    }
    assert_eq!(told, 1);
    redis.command(&["ACL", "SETUSER", "blind", "+xread"]);
    within(async { while node.open("/").await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_password_is_that_user() {
    let redis = RedisServer::start().unwrap();
    redis.command(&["ACL", "SETUSER", "guest", "on", "nopass", "~*", "&*", "+@all"]);
    for lane in [Lane::Writer, Lane::Subscriber] {
        let url = redis.url().replace("redis://", "redis://guest@");
        let _connection = open(&url, lane).await;
        let clients = redis.command(&["CLIENT", "LIST"]);
        assert!(clients.as_str().unwrap().contains("user=guest"), "{clients:?}");
    }
    redis.command(&["ACL", "SETUSER", "guest", "resetpass", ">secret"]);
    let url = redis.url().replace("redis://", "redis://guest@");
    let words = refusal(&Backend::new(&url).unwrap(), Lane::Writer).await;
    assert!(words.contains("WRONGPASS") || words.contains("invalid username-password"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_messages_arrives_whole() {
    const COUNT: u64 = 30_000;
    let redis = RedisServer::start().unwrap();
    let mut listener = Member::start(classic(), steady(&redis.url())).await;
    let sender = Member::start(classic(), steady(&redis.url())).await;
    sender.sees(2).await;
    // It hears itself, too, and would be refused if its application fell behind. It has nobody to
    // hear for.
    let socket = format!("socket of {}", sender.node.uid());
    within(sender.namespace.remove_socket(socket)).await.unwrap();
    let namespace = sender.namespace.clone();
    let sending = tokio::spawn(async move {
        let mut fates = std::collections::VecDeque::new();
        for number in 0..COUNT {
            let packet = Packet::event("n", &(number,)).unwrap();
            fates.push_back(namespace.broadcast(packet, BroadcastOptions::all()));
            if fates.len() == 5_000 {
                within(fates.pop_front().unwrap()).await.unwrap();
            }
        }
        for fate in fates {
            within(fate).await.unwrap();
        }
    });
    listener.hears(0..COUNT).await;
    sending.await.unwrap();
    assert_eq!(listener.losses(&Lane::Subscriber), Vec::<String>::new());
}

/// Redis keeps what is not taken, up to its own limit, and nobody connects again and again.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_sleeps_is_waited_for() {
    let redis = RedisServer::start().unwrap();
    is_waited_for(&redis, steady(&redis.url())).await;
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_an_application_that_sleeps_is_waited_for() {
    let redis = RedisServer::builder().tls().start().unwrap();
    for protocol in ["resp3", "resp2"] {
        let url = format!("{}/?protocol={protocol}", redis.tls_url().unwrap());
        let ca = std::fs::read(&redis.tls_files().unwrap().ca).unwrap();
        let backend = Backend::builder(&url).ca_certificate(ca).heartbeat(Duration::from_secs(5), BOUND);
        is_waited_for(&redis, backend.build().unwrap()).await;
    }
}

async fn is_waited_for(redis: &RedisServer, backend: Backend) {
    const COUNT: u64 = 5_000;
    let small =
        Options { event_buffer: 8, push_buffer: 64, push_buffer_bytes: 1 << 16, ..options(classic()) };
    let (node, mut events) = sio_streams_driver::start(small, backend).unwrap();
    let nsp = within(node.open("/")).await.unwrap();
    within(nsp.add_socket("a")).await.unwrap();
    let sender = Member::start(classic(), steady(&redis.url())).await;
    sender.sees(2).await;
    // Each message has its own time limit: on a busy machine all of them together take minutes.
    for number in 0..COUNT {
        sender.send(number).await;
    }
    let mut expected = 0;
    while expected < COUNT {
        match within(events.next()).await.unwrap() {
            Event::Broadcast(broadcast) => {
                let (_, number): (String, u64) = broadcast.packet.data().decode().unwrap();
                assert_eq!(number, expected);
                expected += 1;
            }
            Event::Link { link, .. } => panic!("{link}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emitter_looks_before_it_sends() {
    let redis = RedisServer::start().unwrap();
    let link = Proxy::start(redis.addr()).unwrap();
    let emitter = Emitter::new(Config::default(), Backend::new(&link.url()).unwrap()).unwrap();
    for number in 0..5 {
        within(emitter.broadcast("/", packet(number, 1), BroadcastOptions::all())).await.unwrap();
        link.drop_connections();
        // The next broadcast waits for the second look at least, and until the server knows of the
        // loss. What is noticed at one end is noticed at the other.
        let mut looks = 0;
        until(|| {
            looks += 1;
            let clients = redis.command(&["CLIENT", "LIST"]);
            looks > 1 && !clients.as_str().unwrap().contains("sio-streams:")
        })
        .await;
    }
    assert_eq!(redis.command(&["XLEN", STREAM]).as_int(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emitter_leaves_a_server_that_is_read_only() {
    let redis = RedisServer::start().unwrap();
    let master = RedisServer::start().unwrap();
    let link = Proxy::start(redis.addr()).unwrap();
    let emitter = Emitter::new(Config::default(), Backend::new(&link.url()).unwrap()).unwrap();
    within(emitter.broadcast("/", packet(0, 1), BroadcastOptions::all())).await.unwrap();
    redis.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    // The name leads to another server; the old connection stays.
    link.retarget(master.addr());
    within(emitter.broadcast("/", packet(1, 1), BroadcastOptions::all())).await.unwrap();
    assert_eq!(master.command(&["XLEN", STREAM]).as_int(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_hello_is_answered_by_resp2_is_tried() {
    let redis = RedisServer::start().unwrap();
    let refuse = |words: &str| Habit::Refuse("HELLO", words.to_owned());
    for habit in [
        Habit::CloseAt("HELLO"),
        refuse("unsupported command"),
        refuse("NOTALLOWED in this tier"),
        refuse("WRONGPASS what is HELLO"),
    ] {
        let proxy = Chaos::start(redis.addr(), vec![habit.clone()]).unwrap();
        let (mut listener, mut messages) = subscriber(&proxy.url()).await;
        run(&mut listener, subscribe(&["a"], false)).await.unwrap();
        let mut writer = open(&proxy.url(), Lane::Writer).await;
        run(&mut writer, publish("a", "x", false)).await.unwrap();
        assert_eq!(within(messages.recv()).await.unwrap().1, "x", "{habit:?}");
        // If that fails too, both are told.
        proxy.habits(vec![habit.clone(), Habit::Refuse("CLIENT", "NOAUTH nobody gets in".into())]);
        let words = refusal(&Backend::new(&proxy.url()).unwrap(), Lane::Subscriber).await;
        assert!(
            words.contains("nobody gets in") && words.contains("RESP3 was refused"),
            "{habit:?}: {words}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_let_reads_wait_is_not_asked_all_the_time() {
    let redis = RedisServer::start().unwrap();
    let proxy = Chaos::start(redis.addr(), vec![Habit::StripBlock]).unwrap();
    let mut member = Member::start(Config::default(), steady(&proxy.url())).await;
    member.send(0).await;
    member.hears([0]).await;
    // The pauses grow, so this number of reads takes at least a second and a half. A slow machine
    // takes longer.
    let (began, before) = (Instant::now(), redis.calls("xread"));
    until(|| redis.calls("xread") >= before + 13).await;
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    member.send(1).await;
    member.hears([1]).await;
}

/// A service has put another server behind a name: the old one always names that.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_sent_elsewhere_connects_anew() {
    let redis = RedisServer::start().unwrap();
    let proxy = Chaos::start(redis.addr(), Vec::new()).unwrap();
    let mut member = Member::start(Config::default(), steady(&proxy.url())).await;
    member.send(0).await;
    let before = proxy.accepted();
    let moved = |command| Habit::Refuse(command, format!("MOVED 9972 {}", proxy.addr()));
    proxy.habits(vec![moved("XADD"), moved("PUBLISH")]);
    let sending = member.sends(1..2);
    until(|| proxy.accepted() > before).await;
    proxy.habits(Vec::new());
    within(sending).await.unwrap();
    member.hears([0, 1]).await;
}
