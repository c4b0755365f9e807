//! Transactions, on both sides.

use std::thread;
use std::time::Duration;

use bytestring::ByteString;
use fastrand::Rng;
use sio_streams_core::{Command, CommandError, EntryId, Fields, Reply};
use sio_streams_redis_model::{ClientId, Executed, NodeLimits, Replies};
use sio_streams_testkit::{Client, Reply as Resp};

use crate::pair::{Pair, arguments, entries, translate};
use crate::{commands, rng};

const KEYS: [&str; 4] = ["s", "t", "a", "taken"];

/// A client on both sides, and what it has queued.
struct Both {
    ours: ClientId,
    theirs: Client,
    queued: Option<Vec<Command>>,
}

/// The real server's reply as an error, if it is one.
fn error(reply: &Resp) -> Option<CommandError> {
    let Resp::Error(text) = reply else { return None };
    let (code, message) = text.split_once(' ').unwrap();
    Some(CommandError::Server { code: code.to_owned(), message: message.to_owned() })
}

impl Both {
    fn new(pair: &mut Pair) -> Self {
        Both { ours: pair.model.connect(), theirs: pair.redis.connect().unwrap(), queued: None }
    }

    fn redis(&mut self, args: &[&[u8]]) -> Resp {
        self.theirs.command(args).unwrap()
    }

    /// A word of its own, on both sides.
    #[track_caller]
    fn say(&mut self, ours: Result<(), CommandError>, words: &[&str]) {
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(ours.err(), error(&self.redis(&args)), "{words:?}");
    }

    #[track_caller]
    fn execute(&mut self, pair: &mut Pair, command: Command) {
        let Executed::Reply(ours) = pair.model.execute(pair.now_ms, self.ours, &command) else {
            panic!("{command:?} blocks")
        };
        if let Some(queued) = &mut self.queued {
            assert_eq!(ours, Ok(Reply::Done));
            return queued.push(command);
        }
        let theirs = self.send(&command, ours.as_ref().ok());
        assert_eq!(ours, translate(&command, &theirs), "{command:?}");
    }

    fn send(&mut self, command: &Command, ours: Option<&Reply>) -> Resp {
        let args = arguments(command, ours);
        self.redis(&args.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Ends the transaction here, then plays all of it there: what the model gave ids is given the
    /// same ones. Whether it was executed.
    #[track_caller]
    fn exec(&mut self, pair: &mut Pair) -> bool {
        let ours = pair.model.exec(pair.now_ms, self.ours);
        let Some(queued) = self.queued.take() else {
            self.say(ours.map(drop), &["EXEC"]);
            return false;
        };
        let replies = ours.unwrap();
        self.say(Ok(()), &["MULTI"]);
        for (at, command) in queued.iter().enumerate() {
            let ours = replies.as_ref().and_then(|replies| replies[at].as_ref().ok());
            assert_eq!(self.send(command, ours), Resp::Simple("QUEUED".to_owned()), "{command:?}");
        }
        let theirs = self.redis(&[b"EXEC"]);
        let translated = (theirs != Resp::Nil).then(|| {
            let each = queued.iter().zip(theirs.items());
            each.map(|(command, reply)| translate(command, reply)).collect::<Replies>()
        });
        assert_eq!(replies, translated, "{queued:?}");
        replies.is_some()
    }
}

fn command(rng: &mut Rng) -> Command {
    let key = ByteString::from(rng.choice(KEYS).unwrap());
    match rng.u8(0..10) {
        0..3 => {
            let fields = Fields::from_iter([("n", rng.u8(..).to_string())]);
            Command::XAdd {
                stream: key,
                max_len: *rng.choice(&[0, 5, 1_000]).unwrap(),
                fields: fields.into(),
            }
        }
        3 => Command::XRange { stream: key, after: EntryId::ZERO, count: 3 },
        4 => {
            let after = EntryId { ms: u64::MAX, seq: 0 };
            // Outside a transaction this would block.
            let after = if rng.bool() { after } else { EntryId::ZERO };
            Command::XRead { stream: key, after, count: 2, block: Duration::from_millis(1) }
        }
        5 => Command::XInfoStream { stream: key },
        6 => Command::Set { key, value: "value".into(), px: Duration::from_secs(100_000) },
        7 => Command::GetRange { key, end: 2 },
        _ => Command::GetDel { key },
    }
}

#[test]
fn transactions() {
    let mut rng = rng();
    let mut pair = Pair::start(NodeLimits { entries: 3, bytes: 0 }, 1);
    pair.model.occupy("taken");
    pair.redis(&[b"LPUSH", b"taken", b"x"]);
    let mut clients: Vec<Both> = (0..3).map(|_| Both::new(&mut pair)).collect();
    let (mut executed, mut discarded) = (0, 0);
    for _ in 0..commands() {
        pair.now_ms += rng.u64(0..3);
        let client = rng.choice(&mut clients).unwrap();
        match rng.u8(0..20) {
            0..3 if client.queued.is_none() => {
                pair.model.multi(client.ours).unwrap();
                client.queued = Some(Vec::new());
            }
            3 => {
                let kept = client.queued.is_some();
                match client.exec(&mut pair) {
                    true => executed += 1,
                    false => discarded += usize::from(kept),
                }
            }
            4 if client.queued.is_none() => {
                let ours = pair.model.discard(client.ours);
                client.say(ours, &["DISCARD"]);
            }
            5 if rng.u8(0..4) == 0 && client.queued.take().is_some() => {
                pair.model.discard(client.ours).unwrap();
                client.say(Ok(()), &["MULTI"]);
                client.say(Ok(()), &["DISCARD"]);
            }
            6..8 if client.queued.is_none() => {
                let keys: Vec<&str> = (0..rng.usize(1..3)).map(|_| rng.choice(KEYS).unwrap()).collect();
                let names: Vec<ByteString> = keys.iter().map(|key| ByteString::from(*key)).collect();
                let ours = pair.model.watch(pair.now_ms, client.ours, &names);
                client.say(ours, &[&["WATCH"], &keys[..]].concat());
            }
            _ => {
                let command = command(&mut rng);
                let blocks = matches!(&command, Command::XRead { after, .. } if *after != EntryId::ZERO);
                let absent =
                    |stream: &ByteString| pair.model.stream_info(stream).is_none_or(|info| info.length == 0);
                let blocks = blocks || matches!(&command, Command::XRead { stream, .. } if absent(stream));
                if client.queued.is_some() || !blocks {
                    client.execute(&mut pair, command);
                }
            }
        }
    }
    assert!(executed > 50 && discarded > 5, "{executed} {discarded}");
}

/// Commands that are refused in a transaction, and their consequences.
#[test]
fn what_is_refused_spoils_a_transaction() {
    let mut pair = Pair::start(NodeLimits::default(), 1);
    let mut client = Both::new(&mut pair);
    let add =
        || Command::XAdd { stream: "s".into(), max_len: 9, fields: Fields::from_iter([("a", "b")]).into() };
    let begin = |pair: &mut Pair, client: &mut Both| {
        let ours = pair.model.multi(client.ours);
        client.say(ours, &["MULTI"]);
    };
    let end = |pair: &mut Pair, client: &mut Both| {
        let ours = pair.model.exec(pair.now_ms, client.ours);
        client.say(ours.map(drop), &["EXEC"]);
    };
    // These are errors that a transaction survives.
    begin(&mut pair, &mut client);
    begin(&mut pair, &mut client);
    let ours = pair.model.watch(pair.now_ms, client.ours, &["s".into()]);
    client.say(ours, &["WATCH", "s"]);
    end(&mut pair, &mut client);
    // These are not: the command can't be, or the server refuses it now, or later.
    begin(&mut pair, &mut client);
    let none = Command::Subscribe { channels: Vec::new(), sharded: false };
    let Executed::Reply(ours) = pair.model.execute(pair.now_ms, client.ours, &none) else { panic!("blocks") };
    client.say(ours.map(drop), &["SUBSCRIBE"]);
    end(&mut pair, &mut client);
    let full = "command not allowed when used memory > 'maxmemory'.".to_owned();
    let full = CommandError::Server { code: "OOM".to_owned(), message: full };
    for refused_at_once in [true, false] {
        begin(&mut pair, &mut client);
        if !refused_at_once {
            assert_eq!(
                pair.model.execute(pair.now_ms, client.ours, &add()),
                Executed::Reply(Ok(Reply::Done))
            );
            client.send(&add(), None);
        }
        pair.model.refuse_writes_with(Some(full.clone()));
        pair.redis(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
        if refused_at_once {
            let ours = pair.model.execute(pair.now_ms, client.ours, &add());
            let theirs = translate(&add(), &client.send(&add(), None));
            assert_eq!(ours, Executed::Reply(theirs));
            pair.model.refuse_writes_with(None);
            pair.redis(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
        }
        end(&mut pair, &mut client);
        pair.model.refuse_writes_with(None);
        pair.redis(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
        // Nothing of it is left.
        end(&mut pair, &mut client);
    }
    pair.check_stream("s");
}

/// A client that waits for entries gets those of a transaction together, when it is over.
#[test]
fn a_blocked_read_is_served_after_the_transaction() {
    let mut pair = Pair::start(NodeLimits::default(), 1);
    let mut client = Both::new(&mut pair);
    let (reader, mut theirs) = (pair.model.connect(), pair.redis.connect().unwrap());
    let (stream, block) = (ByteString::from_static("s"), Duration::from_secs(60));
    let read = Command::XRead { stream: stream.clone(), after: EntryId::ZERO, count: 10, block };
    assert_eq!(pair.model.execute(pair.now_ms, reader, &read), Executed::Blocked);
    let words = ["XREAD", "COUNT", "10", "BLOCK", "60000", "STREAMS", "s", "0-0"];
    let waiting = thread::spawn(move || theirs.command(&words).unwrap());
    pair.wait_for("blocked_clients", 1);
    pair.model.multi(client.ours).unwrap();
    client.queued = Some(Vec::new());
    for text in ["one", "two"] {
        let fields = Fields::from_iter([("text", text)]);
        client
            .execute(&mut pair, Command::XAdd { stream: stream.clone(), max_len: 9, fields: fields.into() });
    }
    assert!(client.exec(&mut pair));
    let (woken, ours) = pair.model.poll_wakeup().unwrap();
    assert_eq!((woken, ours), (reader, Ok(Reply::Entries(entries(&waiting.join().unwrap())))));
    assert!(pair.model.poll_wakeup().is_none());
}
