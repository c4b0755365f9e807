//! The engine's commands over a connection whose server is a script.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::time::Duration;

use sio_streams_resp::sio_streams_core::{Command, Entry, EntryId, Fields, Lane, StreamInfo};
use sio_streams_resp::{
    Bytes, CommandError, Connection, ConnectionError, Incoming, Login, Protocol, ReadLimits, Reader, Reply,
    RespError, Value,
};

fn resp(words: &str) -> Vec<u8> {
    words.replace(' ', "\r\n").into_bytes()
}

/// Returns what the connection writes, a command a line.
fn written(connection: &mut Connection<u8>) -> Vec<String> {
    let mut reader = Reader::default();
    reader.feed(connection.output());
    connection.written(connection.output().len());
    let commands = core::iter::from_fn(|| reader.read().unwrap());
    let words = |value: Value| value.list().unwrap().into_iter().map(|word| word.text().unwrap().to_string());
    commands.map(|command| words(command.value).collect::<Vec<_>>().join(" ")).collect()
}

fn came(connection: &mut Connection<u8>, from_server: &str) -> Vec<Incoming<u8>> {
    let mut came = Vec::new();
    for byte in resp(from_server) {
        connection.feed(&[byte]);
        came.extend(core::iter::from_fn(|| connection.poll().unwrap()));
    }
    came
}

/// A connection over which nothing has been sent, and that needs no login.
fn open() -> Connection<u8> {
    let mut connection = Connection::new(&Login::default(), Protocol::Resp2, ReadLimits::default());
    assert_eq!(connection.poll(), Ok(Some(Incoming::Ready)));
    connection
}

fn add(value: &'static str) -> Command {
    let fields = Fields::from_iter([("uid", value)]);
    Command::XAdd { stream: "s".into(), max_len: 10, fields: fields.into() }
}

fn read() -> Command {
    Command::XRead { stream: "s".into(), after: EntryId::ZERO, count: 9, block: Duration::from_secs(5) }
}

fn info() -> Command {
    Command::XInfoStream { stream: "s".into() }
}

#[test]
fn every_command_has_its_reply() {
    let entry = |field: &'static str| {
        let fields = Fields::from_iter([(field, "b")]);
        Reply::Entries(vec![Entry { id: EntryId { ms: 1, seq: 2 }, fields }])
    };
    let stream =
        StreamInfo { length: 1, last_generated_id: EntryId { ms: 1, seq: 2 }, ..StreamInfo::default() };
    let id = EntryId { ms: 5, seq: 6 };
    let key = || "k".into();
    let cases = [
        (add("x"), "XADD s MAXLEN ~ 10 * uid x", "$3 5-6 ", Reply::Added(id)),
        (read(), "XREAD BLOCK 5000 COUNT 9 STREAMS s 0-0", "*-1 ", Reply::Entries(vec![])),
        (read(), "XREAD BLOCK 5000 COUNT 9 STREAMS s 0-0", "_ ", Reply::Entries(vec![])),
        (
            read(),
            "XREAD BLOCK 5000 COUNT 9 STREAMS s 0-0",
            "*1 *2 $1 s *1 *2 $3 1-2 *2 $3 nsp $1 b ",
            entry("nsp"),
        ),
        (
            read(),
            "XREAD BLOCK 5000 COUNT 9 STREAMS s 0-0",
            // The general form.
            "%1 +s *1 *2 +1-2 *2 +nsp +b ",
            entry("nsp"),
        ),
        (
            Command::XRange { stream: "s".into(), after: id, count: 3 },
            "XRANGE s (5-6 + COUNT 3",
            "*1 *2 $3 1-2 *2 $1 a $1 b ",
            entry("a"),
        ),
        (
            Command::XRevRange { stream: "s".into(), before: id, count: 3 },
            "XREVRANGE s (5-6 - COUNT 3",
            "*0 ",
            Reply::Entries(vec![]),
        ),
        (
            Command::Set { key: key(), value: "v".into(), px: Duration::from_secs(1) },
            "SET k v PX 1000",
            "+OK ",
            Reply::Done,
        ),
        (
            Command::GetRange { key: key(), end: 9 },
            "GETRANGE k 0 9",
            "$1 v ",
            Reply::Value(Some(Bytes::from("v"))),
        ),
        (Command::GetRange { key: key(), end: 9 }, "GETRANGE k 0 9", "$0  ", Reply::Value(None)),
        (Command::GetDel { key: key() }, "GETDEL k", "$-1 ", Reply::Value(None)),
        (
            info(),
            "XINFO STREAM s FULL COUNT 1",
            "%2 +length :1 +last-generated-id +1-2 ",
            Reply::Stream(Some(stream)),
        ),
        (info(), "XINFO STREAM s FULL COUNT 1", "-ERR\u{a0}no ", Reply::Done),
        (
            Command::Publish { channel: "c".into(), payload: "x".into(), sharded: true },
            "SPUBLISH c x",
            ":3 ",
            Reply::Done,
        ),
        (
            Command::PubSubNumSub { channels: vec!["c".into(), "d".into()], sharded: false },
            "PUBSUB NUMSUB c d",
            "*4 $1 c :1 $1 d :2 ",
            Reply::Counts(vec![1, 2]),
        ),
        (
            Command::PubSubChannels { pattern: "c*".into(), sharded: true },
            "PUBSUB SHARDCHANNELS c*",
            "*1 $2 cd ",
            Reply::Channels(vec!["cd".into()]),
        ),
        (
            Command::Subscribe { channels: vec!["c".into(), "d".into()], sharded: false },
            "SUBSCRIBE c d",
            "*3 +subscribe +c :1 *3 +subscribe +d :2 ",
            Reply::Done,
        ),
        (
            Command::Unsubscribe { channels: vec!["c".into()], sharded: true },
            "SUNSUBSCRIBE c",
            ">3 +sunsubscribe +c :1 ",
            Reply::Done,
        ),
        (
            Command::PSubscribe { patterns: vec!["c*".into()] },
            "PSUBSCRIBE c*",
            ">3 +psubscribe +c* :1 ",
            Reply::Done,
        ),
        (
            Command::PUnsubscribe { patterns: vec!["c*".into()] },
            "PUNSUBSCRIBE c*",
            "*3 +punsubscribe +c* :1 ",
            Reply::Done,
        ),
    ];
    for (command, request, answer, reply) in cases {
        let mut connection = open();
        connection.send(1, command);
        assert_eq!(written(&mut connection), [request]);
        assert!(connection.is_waiting());
        if request.starts_with("XINFO") && answer.starts_with('-') {
            // The stream is asked about in a form that every server knows.
            assert_eq!(came(&mut connection, "-ERR "), []);
            assert_eq!(written(&mut connection), ["XINFO STREAM s"]);
            let missing = "-ERR no such key\r\n";
            connection.feed(missing.as_bytes());
            assert_eq!(connection.poll().unwrap(), Some(Incoming::Reply(1, Ok(Reply::Stream(None)))));
            continue;
        }
        assert_eq!(came(&mut connection, answer), [Incoming::Reply(1, Ok(reply))], "{request}");
        assert!(!connection.is_waiting());
    }
    for nothing in
        [Command::Release { lane: Lane::Subscriber }, Command::Subscribe { channels: vec![], sharded: false }]
    {
        let mut connection = open();
        connection.send(1, nothing);
        assert_eq!(came(&mut connection, "_"), [Incoming::Reply(1, Ok(Reply::Done))]);
        assert_eq!(connection.output(), b"");
    }
}

#[test]
fn messages_come_between_replies() {
    let mut connection = open();
    connection.send(1, Command::Subscribe { channels: vec!["c".into()], sharded: false });
    connection.ping();
    connection.send(2, Command::PSubscribe { patterns: vec!["d*".into()] });
    let message = |channel: &str| Incoming::Message { channel: channel.into(), payload: "x".into() };
    let answers = "*3 +subscribe +c :1 *3 +message +c $1 x *2 +pong $0  *3 +psubscribe +d* :2 \
                   *4 +pmessage +d* +de $1 x *3 +message $1 \u{e9} +x ";
    let answers = answers.replace("\u{e9}", "\x7f");
    let expected = [
        Incoming::Reply(1, Ok(Reply::Done)),
        message("c"),
        Incoming::Reply(2, Ok(Reply::Done)),
        message("de"),
        message("\x7f"),
    ];
    assert_eq!(came(&mut connection, &answers), expected);
    assert_eq!(connection.replies(), 3);
}

#[test]
fn a_login_comes_before_the_commands() {
    let login = Login {
        user: Some("ann".into()),
        password: Some("secret".into()),
        database: Some(3),
        name: "app".into(),
    };
    let mut connection = Connection::new(&login, Protocol::Best, ReadLimits::default());
    connection.send(1, Command::GetDel { key: "k".into() });
    connection.ping();
    assert_eq!(written(&mut connection), ["HELLO 3 AUTH ann secret"]);
    assert_eq!(came(&mut connection, "%1 +proto :3 "), []);
    assert_eq!(written(&mut connection), ["SELECT 3"]);
    assert_eq!(came(&mut connection, "+OK "), []);
    assert_eq!(written(&mut connection), ["CLIENT SETNAME app"]);
    // The name is dispensable.
    assert_eq!(came(&mut connection, "-NOPERM "), [Incoming::Ready]);
    assert_eq!(written(&mut connection), ["GETDEL k"]);
    assert_eq!(came(&mut connection, "_ "), [Incoming::Reply(1, Ok(Reply::Value(None)))]);
}

#[test]
fn a_server_without_hello_is_spoken_to_in_resp2() {
    let login = Login { password: Some("secret".into()), ..Login::default() };
    let mut connection = Connection::<u8>::new(&login, Protocol::Best, ReadLimits::default());
    assert_eq!(written(&mut connection), ["HELLO 3 AUTH default secret"]);
    assert_eq!(came(&mut connection, "-ERR "), []);
    assert_eq!(written(&mut connection), ["AUTH secret"]);
    assert_eq!(came(&mut connection, "+OK "), [Incoming::Ready]);
    // With RESP3 alone, it is an error.
    let mut connection = Connection::<u8>::new(&login, Protocol::Resp3, ReadLimits::default());
    connection.feed(b"-NOPROTO sorry\r\n");
    let refusal = CommandError::Server { code: "NOPROTO".into(), message: "sorry".into() };
    assert_eq!(connection.poll(), Err(ConnectionError::Refused(refusal)));
}

#[test]
fn a_missing_password_is_met_in_the_end() {
    let login = Login { name: "app".into(), ..Login::default() };
    let mut connection = Connection::<u8>::new(&login, Protocol::Best, ReadLimits::default());
    connection.feed(b"-NOAUTH HELLO must be called with AUTH\r\n-NOAUTH Authentication required.\r\n");
    let Err(ConnectionError::Refused(CommandError::Server { code, .. })) = connection.poll() else {
        panic!()
    };
    assert_eq!(code, "NOAUTH");
    assert_eq!(written(&mut connection), ["HELLO 3", "CLIENT SETNAME app"]);
}

#[test]
fn the_end_tells_the_fate_of_each_command() {
    let mut connection = open();
    connection.send(1, add("a"));
    connection.send(2, add("b"));
    connection.ping();
    let first = connection.output().len();
    connection.written(first);
    connection.send(3, Command::Subscribe { channels: vec!["c".into()], sharded: false });
    connection.written(1);
    connection.send(4, add("d"));
    assert_eq!(came(&mut connection, "$3 5-6 ").len(), 1);
    connection.send(5, Command::Release { lane: Lane::Writer });
    let mut results = connection.end("gone");
    results.sort_by_key(|(id, _)| *id);
    let lost = || Err(CommandError::Lost("gone".into()));
    let not_sent = || Err(CommandError::NotSent("gone".into()));
    assert_eq!(results, [(2, lost()), (3, lost()), (4, not_sent()), (5, Ok(Reply::Done))]);

    let mut connection = Connection::new(&Login::default(), Protocol::Resp3, ReadLimits::default());
    connection.send(1, add("a"));
    connection.written(connection.output().len());
    assert_eq!(connection.end("gone"), [(1, not_sent())]);
}

#[test]
fn what_can_not_be_read_ends_the_connection_and_no_command_twice() {
    let limits = ReadLimits::default().with_bytes(100);
    let mut connection = Connection::new(&Login::default(), Protocol::Resp2, limits);
    connection.send(1, Command::GetDel { key: "k".into() });
    connection.written(connection.output().len());
    assert_eq!(connection.poll(), Ok(Some(Incoming::Ready)));
    connection.feed(b"$101\r\n");
    for _ in 0..2 {
        let too_long = ConnectionError::Pipeline(RespError::TooLong { limit: 100 }.into());
        assert_eq!(connection.poll(), Err(too_long));
    }
    assert_eq!(connection.end("gone"), [(1, Err(CommandError::Lost("gone".into())))]);
}
