//! An engine without Redis: its commands are answered as a server would.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use sio_streams_core::{
    ByteString, Bytes, Command, CommandError, CommandId, Config, Dialect, Engine, Entry, EntryId, Event,
    Fields, Lane, LinkState, Packet, Reply, StreamInfo, Time,
};

/// The number of entries that come at a time: fewer than `read_count`, so that no batch is
/// suspected to hide a gap.
pub const BATCH: usize = 64;

/// An engine, and where its stream ends.
#[derive(Debug)]
pub struct Node {
    /// The engine.
    pub engine: Engine,
    /// The number of servers by Redis' count, this one included.
    pub servers: u64,
    /// The value of every key.
    pub stored: Option<Bytes>,
    /// The entry that was added last.
    pub added: Option<Arc<Fields>>,
    /// The message that was published last.
    pub said: Option<Bytes>,
    /// The channels that Redis lists.
    pub channels: Vec<ByteString>,
    /// `true` if the node reads back what it adds, as it does from a server. Otherwise it can't
    /// learn who has fallen silent.
    pub echoes: bool,
    own: Vec<Fields>,
    now: Time,
    last: u64,
    reads: BTreeMap<ByteString, CommandId>,
}

impl Node {
    /// A node of dialect 0.3 that is ready in `/`.
    ///
    /// # Panics
    ///
    /// If the configuration is refused.
    pub fn ready(config: Config) -> Self {
        Self::ready_behind(config, 0)
    }

    /// The same, behind an entry of this time.
    ///
    /// # Panics
    ///
    /// If the configuration is refused.
    pub fn ready_behind(config: Config, ms: u64) -> Self {
        let mut node = Self::new(config);
        node.last = ms;
        node.open("/");
        node
    }

    /// A node that has no namespace.
    ///
    /// # Panics
    ///
    /// If the configuration is refused.
    pub fn new(config: Config) -> Self {
        let engine = Engine::new(config, 42, Time::ZERO).expect("a configuration that can work");
        let (stored, added, said, channels) = (None, None, None, Vec::new());
        Node {
            engine,
            servers: 2,
            stored,
            added,
            echoes: false,
            own: Vec::new(),
            said,
            channels,
            now: Time::ZERO,
            last: 0,
            reads: BTreeMap::new(),
        }
    }

    /// Opens a namespace.
    ///
    /// # Panics
    ///
    /// If it is open.
    pub fn open(&mut self, nsp: &str) {
        self.engine.open_namespace(self.now, nsp).expect("a new namespace");
        self.settle();
    }

    /// The time that the node was told last.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass, and the engine do what is due.
    pub fn pass(&mut self, time: Duration) {
        self.pass_with(time, drop);
    }

    /// The same, and takes what comes of it.
    pub fn pass_with(&mut self, time: Duration, each: impl FnMut(Event)) {
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        self.settle_with(each);
    }

    /// Gives the engine a message that came through a channel. Its events are to be taken next.
    pub fn push(&mut self, channel: &str, payload: &Bytes) {
        self.engine.handle_push(self.now, channel, payload);
    }

    /// The link is lost, and what was asked by it.
    pub fn lose(&mut self, lane: &Lane) {
        self.engine.handle_link(self.now, lane, LinkState::down("cut"));
        if let Lane::Reader(stream) = lane
            && let Some(id) = self.reads.remove(stream)
        {
            let lost = Err(CommandError::Lost("the link is lost".into()));
            self.engine.handle_reply(self.now, id, lost);
        }
    }

    /// The link is lost, and is there again.
    pub fn reconnect(&mut self, lane: &Lane) {
        self.lose(lane);
        self.engine.handle_link(self.now, lane, LinkState::Up);
    }

    /// The streams whose reader waits for entries.
    pub fn streams(&self) -> Vec<ByteString> {
        self.reads.keys().cloned().collect()
    }

    /// Gives the engine a batch that was read. Its events are to be taken next. If there are
    /// several streams it is the first one's.
    ///
    /// # Panics
    ///
    /// If the engine doesn't read.
    pub fn feed(&mut self, fields: impl IntoIterator<Item = Fields>) {
        let entries = fields.into_iter().map(|fields| {
            self.last += 1;
            Entry { id: EntryId { ms: self.last, seq: 0 }, fields }
        });
        let entries = entries.collect();
        let (_, id) = self.reads.pop_first().expect("a reader that waits for entries");
        self.engine.handle_reply(self.now, id, Ok(Reply::Entries(entries)));
    }

    /// Takes all events and answers all commands. Returns the number of broadcasts among the
    /// events.
    pub fn settle(&mut self) -> usize {
        let mut broadcasts = 0;
        self.settle_with(|event| broadcasts += usize::from(matches!(event, Event::Broadcast(_))));
        broadcasts
    }

    /// Takes all events and answers all commands.
    pub fn settle_with(&mut self, mut each: impl FnMut(Event)) {
        loop {
            while let Some(event) = self.engine.poll_event() {
                each(event);
            }
            let Some((id, command)) = self.engine.poll_command() else {
                if self.goes_on() {
                    continue;
                }
                return;
            };
            if let Some(reply) = self.answer(id, &command) {
                self.engine.handle_reply(self.now, id, reply);
            }
        }
    }

    /// Reads back what the node has added, if it echoes, and does what is due then. Returns `true`
    /// if there was anything.
    fn goes_on(&mut self) -> bool {
        let own = core::mem::take(&mut self.own);
        if !own.is_empty() {
            self.feed(own);
            return true;
        }
        let due = self.echoes && self.engine.poll_timeout().is_some_and(|due| due <= self.now);
        if due {
            self.engine.handle_timeout(self.now);
        }
        due
    }

    fn answer(&mut self, id: CommandId, command: &Command) -> Option<Result<Reply, CommandError>> {
        Some(Ok(match command {
            Command::XRead { stream, .. } => {
                self.reads.insert(stream.clone(), id);
                return None;
            }
            Command::XAdd { fields, .. } => {
                self.added = Some(Arc::clone(fields));
                if self.echoes {
                    self.own.push(Fields::clone(fields));
                }
                self.last += 1;
                Reply::Added(EntryId { ms: self.last, seq: 0 })
            }
            Command::XInfoStream { .. } => Reply::Stream(Some(StreamInfo {
                length: self.last,
                last_generated_id: EntryId { ms: self.last, seq: 0 },
                entries_added: Some(self.last),
                ..StreamInfo::default()
            })),
            Command::Publish { payload, .. } => {
                self.said = Some(payload.clone());
                Reply::Done
            }
            Command::PubSubNumSub { channels, .. } => {
                let mut counts = vec![1; channels.len()];
                counts[0] = self.servers;
                Reply::Counts(counts)
            }
            Command::PubSubChannels { .. } => Reply::Channels(self.channels.clone()),
            Command::GetRange { .. } | Command::GetDel { .. } => Reply::Value(self.stored.clone()),
            _ => Reply::Done,
        }))
    }
}

/// The configuration that is measured.
pub fn config() -> Config {
    Config { dialect: Dialect::Streams03, ..Config::default() }
}

/// An entry of a Node server, as it comes from Redis.
pub fn entry(data: impl Into<Bytes>) -> Fields {
    [("uid", Bytes::from("d0a1b2c3d4e5f607")), ("nsp", Bytes::from("/")), ("type", Bytes::from("3"))]
        .into_iter()
        .chain([("data", data.into())])
        .collect()
}

/// The data of a broadcast to a room, as Node writes it.
pub fn envelope(text: &str) -> String {
    format!(
        r#"{{"packet":{{"type":2,"data":["hello",{{"from":"ann","text":"{text}"}}],"nsp":"/"}},"opts":{{"rooms":["room"],"except":[],"flags":{{}}}}}}"#
    )
}

/// A packet with one argument.
///
/// # Panics
///
/// Never: every string can be carried.
pub fn packet(text: &str) -> Packet {
    Packet::event("hello", &(text,)).expect("a string can be carried")
}
