//! Tests of the outbox alone: a stream is a list, and the server does what a test says.

use super::*;
use crate::command::{Entry, Fields};
use crate::config::{Config, Dialect, Limits};
use crate::hash::Keyed;
use crate::id::NodeId;
use crate::link::LinkState;
use crate::time::Time;

const STREAM: ByteString = ByteString::from_static("socket.io");

/// An outbox, and the stream that it writes to.
struct Pair {
    cx: Context,
    outbox: Outbox,
    stream: Vec<Entry>,
}

/// The server's treatment of an XADD, and the outcome that the outbox sees.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Done,
    /// The entry is added, and the reply is lost.
    ReplyLost,
    /// The entry is not added, and no reply says so.
    Lost,
    Refused,
}

fn lost() -> CommandError {
    CommandError::Lost("cut".into())
}

impl Pair {
    fn new() -> Self {
        let limits = Limits { in_flight: 5, ..Limits::default() };
        let config = Config { dialect: Dialect::Streams02, limits, ..Config::default() };
        let (uid, rng) = (NodeId::new("me"), fastrand::Rng::with_seed(1));
        let mut pair = Pair {
            cx: Context::new(config, uid, Keyed(1, 2), rng, Time::ZERO),
            outbox: Outbox::default(),
            stream: Vec::new(),
        };
        pair.outbox.located(&STREAM, EntryId { ms: 1, seq: 0 }, false);
        pair
    }

    fn destination() -> Destination {
        Destination::Stream(STREAM)
    }

    fn enqueue(&mut self, ticket: u64) {
        let mut fields = Fields::new();
        fields.push("uid", "me");
        fields.push("ticket", ticket.to_string());
        let command = Command::XAdd { stream: STREAM, max_len: 10_000, fields: Arc::new(fields) };
        let what = What::Message(Ticket(ticket));
        self.outbox.publish(&mut self.cx, "/".into(), command, what, None).unwrap();
    }

    fn add(&mut self, fields: &Fields) -> EntryId {
        let id = EntryId { ms: 2, seq: self.stream.len() as u64 };
        self.stream.push(Entry { id, fields: fields.clone() });
        id
    }

    /// Executes the commands that the outbox hands out, each XADD with the next fate.
    fn run(&mut self, fates: &[Fate]) {
        let mut fates = fates.iter().copied();
        loop {
            // The lane rests after a failure, so time has to pass.
            self.cx.lanes.resume(&Lane::Writer);
            let mut handed_out = Vec::new();
            while let Some(next) = self.cx.lanes.pop().or_else(|| match self.outbox.poll(&mut self.cx)? {
                Next::Command(HandedOut { id, command, .. }) => Some((id, command)),
                Next::Question { .. } => None,
            }) {
                handed_out.push(next);
            }
            if handed_out.is_empty() {
                return;
            }
            for (id, command) in handed_out {
                let reply = match command {
                    Command::XAdd { fields, .. } => match fates.next().unwrap_or(Fate::Done) {
                        Fate::Done => Ok(Reply::Added(self.add(&fields))),
                        Fate::ReplyLost => {
                            self.add(&fields);
                            Err(lost())
                        }
                        Fate::Lost => Err(lost()),
                        Fate::Refused => {
                            Err(CommandError::Server { code: "OOM".into(), message: "full".into() })
                        }
                    },
                    Command::XRange { after, .. } => {
                        let found = self.stream.iter().filter(|entry| entry.id > after);
                        Ok(Reply::Entries(found.cloned().collect()))
                    }
                    other => panic!("{other:?}"),
                };
                match self.cx.answered(id).unwrap().purpose {
                    Purpose::Publish { destination, number } => {
                        self.outbox.replied(&mut self.cx, &destination, number, reply);
                    }
                    Purpose::Search(stream) => self.outbox.searched(&mut self.cx, stream, reply),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Returns the fates of the messages: each ticket, and `true` if the message was published.
    fn settled(&mut self) -> Vec<(u64, bool)> {
        let of = |message: Outgoing| match message.what {
            What::Message(Ticket(number)) => number,
            other => panic!("{other:?}"),
        };
        let each = core::iter::from_fn(|| self.outbox.next_settled());
        each.filter_map(|settled| match settled {
            Settled::TakenAgain => None,
            Settled::Published { message, .. } => Some((of(message), true)),
            Settled::Failed(message, _) => Some((of(message), false)),
        })
        .collect()
    }

    /// Returns the tickets in the stream, in order.
    fn written(&self) -> Vec<u64> {
        let tickets = self.stream.iter().map(|entry| entry.fields.get("ticket").unwrap());
        tickets.map(|ticket| core::str::from_utf8(ticket).unwrap().parse().unwrap()).collect()
    }
}

#[test]
fn each_message_is_written_once_and_in_order_whatever_becomes_of_the_first_tries() {
    use Fate::{Done, Lost, Refused, ReplyLost};
    let all = [Done, ReplyLost, Lost, Refused];
    for number in 0..64 {
        let [first, second, third] = [number % 4, number / 4 % 4, number / 16].map(|at| all[at]);
        let mut pair = Pair::new();
        (1..=3).for_each(|ticket| pair.enqueue(ticket));
        pair.run(&[first, second, third]);
        let settled = pair.settled();
        // The fate of a message may be known before that of an earlier one.
        let mut published: Vec<u64> =
            settled.iter().filter(|(_, published)| *published).map(|(ticket, _)| *ticket).collect();
        published.sort_unstable();
        assert_eq!(pair.written(), published, "{:?}", pair.stream);
        assert_eq!(settled.len(), 3, "each has one fate: {settled:?}");
        // A refused message is given up only if a later one has come through.
        let overtaken = |at: usize| {
            [first, second, third][at] == Refused
                && [first, second, third][at + 1..].iter().any(|fate| matches!(fate, Done | ReplyLost))
        };
        for (ticket, published) in settled {
            let at = usize::try_from(ticket).unwrap() - 1;
            assert!(published || overtaken(at) || [first, second, third][at] == Lost, "{ticket}");
        }
    }
}

#[test]
fn what_is_lost_is_searched_for_and_nothing_is_sent_before() {
    let mut pair = Pair::new();
    pair.enqueue(1);
    let Some(Next::Command(HandedOut { id, .. })) = pair.outbox.poll(&mut pair.cx) else { panic!("nothing") };
    let Some(InFlightPublish(destination, number)) = publish(&mut pair.cx, id) else { panic!("no XADD") };
    pair.enqueue(2);
    pair.outbox.replied(&mut pair.cx, &destination, number, Err(lost()));
    pair.cx.lanes.resume(&Lane::Writer);
    let next = pair.outbox.poll(&mut pair.cx);
    let Some(Next::Command(HandedOut { command: Command::XRange { .. }, .. })) = next else {
        panic!("{next:?}")
    };
    assert!(pair.outbox.poll(&mut pair.cx).is_none(), "the search is not over");
}

/// Returns the purpose of an XADD.
struct InFlightPublish(Destination, u64);

fn publish(cx: &mut Context, id: CommandId) -> Option<InFlightPublish> {
    match cx.answered(id)?.purpose {
        Purpose::Publish { destination, number } => Some(InFlightPublish(destination, number)),
        _ => None,
    }
}

#[test]
fn what_has_waited_for_too_long_fails_and_what_is_under_way_waits_for_its_reply() {
    let mut pair = Pair::new();
    pair.enqueue(1);
    let handed_out = pair.outbox.poll(&mut pair.cx);
    assert!(matches!(handed_out, Some(Next::Command(_))));
    pair.cx.lanes.set_link(&Lane::Writer, LinkState::down("cut"));
    pair.enqueue(2);
    pair.cx.now = Time::ZERO + pair.cx.config.limits.in_flight_for;
    pair.outbox.expire(&mut pair.cx, &Pair::destination());
    assert_eq!(pair.settled(), [(2, false)]);
}

#[test]
fn a_message_beyond_the_limits_is_refused_until_another_has_its_fate() {
    let mut pair = Pair::new();
    for ticket in 1..=5 {
        assert!(pair.outbox.admit(&pair.cx, 10).is_ok());
        pair.enqueue(ticket);
    }
    assert!(matches!(pair.outbox.admit(&pair.cx, 10), Err(CallError::Full { limit: 5, .. })));
    pair.run(&[]);
    assert!(pair.outbox.admit(&pair.cx, 10).is_ok());
    assert_eq!(pair.settled().len(), 5);
}

#[test]
fn a_queue_on_which_nothing_lives_goes_when_it_is_empty() {
    let mut pair = Pair::new();
    pair.enqueue(1);
    pair.outbox.retire(&mut pair.cx, &Pair::destination());
    assert_eq!(pair.outbox.queues.len(), 1, "its message is still sent");
    pair.run(&[]);
    assert_eq!(pair.settled(), [(1, true)]);
    assert!(pair.outbox.queues.is_empty() && pair.outbox.eager.is_empty());
    // A stream whose end is not known has no place for a message.
    pair.outbox.located(&STREAM, EntryId::ZERO, false);
    pair.outbox.retire(&mut pair.cx, &Pair::destination());
    pair.enqueue(2);
    pair.outbox.retire(&mut pair.cx, &Pair::destination());
    assert_eq!(pair.settled(), [(2, false)]);
    assert!(pair.outbox.queues.is_empty());
}
