//! The plan of a run: its hosts, their calls, and the faults, with their times.
//!
//! A plan follows from a seed, but doesn't depend on it any more: anything may be taken out of it,
//! and the rest stays as it is.

use core::fmt;
use core::time::Duration;

use bytestring::ByteString;
use sio_streams_core::{BroadcastOptions, Config};

use crate::adapter::Rooms;
use crate::fault::{Fault, Lanes};
use crate::peer::Generation;
use crate::world::{HostOptions, Network};

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) network: Network,
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) namespaces: Vec<ByteString>,
    /// In the order of their times.
    pub(crate) steps: Vec<Step>,
    /// The duration of the chaos.
    pub(crate) chaos: Duration,
    /// The checks in the calm that follows.
    pub(crate) calm: Calm,
    /// `true` if the server counts entries, as servers do from Redis 7.0 on.
    pub(crate) counting: bool,
    /// The owner of the rooms.
    pub(crate) rooms: Rooms,
}

#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) kind: HostKind,
    pub(crate) config: Config,
    pub(crate) options: HostOptions,
    pub(crate) sockets: usize,
    /// The time that its application takes before it answers.
    pub(crate) think: Duration,
    /// One answer of this number is never given; 0: all are.
    pub(crate) mute: u64,
    /// `true` if it takes part: minimising leaves hosts out without giving the others new numbers.
    pub(crate) present: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostKind {
    Ours,
    Peer(Generation),
}

/// The checks after all faults are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calm {
    /// A node joins.
    pub(crate) newcomer: bool,
    /// A node dies without a farewell.
    pub(crate) death: bool,
    /// All nodes leave.
    pub(crate) farewell: bool,
    /// The connections of one node that are down for a long time before that.
    pub(crate) day_without: Option<Lanes>,
    /// All nodes broadcast all the time meanwhile.
    pub(crate) chatter: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Fault(Fault),
    Call { host: usize, nsp: usize, call: Call },
}

/// A call of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Broadcast { to: Target, kind: Kind, times: usize },
    Join { to: Target, room: u8 },
    Leave { to: Target, room: u8 },
    Disconnect { to: Target },
    Emit { times: usize },
    FetchSockets { to: Target },
    EmitWithAck,
    BroadcastWithAck { to: Target },
    ServerCount,
    AddSocket { socket: u8 },
    RemoveSocket { socket: u8 },
    LocalJoin { socket: u8, room: u8 },
    LocalLeave { socket: u8, room: u8 },
    CloseNamespace,
    OpenNamespace,
    Client { client: u8, does: Doing },
}

/// A step of a client that recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Connects as a new client, to the host of the call.
    Connects,
    /// Loses its connection, wherever it is; this many of the packets that were sent to it last
    /// have not come.
    Drops { unseen: u8 },
    /// Comes back, to the host of the call.
    Returns,
    /// Comes back in a namespace, whichever its own is.
    Strays { nsp: u8 },
    /// Its session is stored while it is connected, in case its host dies.
    IsSaved,
    /// Joins a room, wherever it is.
    Joins { room: u8 },
    /// Leaves a room.
    Leaves { room: u8 },
}

/// The kind of packet that is broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Volatile,
    Binary,
    Local,
    Large,
}

/// A selection of sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) rooms: Vec<u8>,
    pub(crate) except: Vec<u8>,
}

impl Target {
    /// Changes each room.
    pub(crate) fn each(&mut self, other: impl Fn(&mut u8)) {
        self.rooms.iter_mut().chain(&mut self.except).for_each(other);
    }

    /// `name` gives the name of each room.
    pub(crate) fn options(&self, name: impl Fn(u8) -> ByteString) -> BroadcastOptions {
        let names = |rooms: &[u8]| rooms.iter().map(|room| name(*room)).collect();
        BroadcastOptions { rooms: names(&self.rooms), except: names(&self.except), ..Default::default() }
    }
}

/// Rooms from this number on have the names of hosts, beginning with host 0.
pub(crate) const HOSTS_ROOMS: u8 = 200;

/// Rooms whose names look like something else, from this number on.
pub(crate) const ODD_ROOMS: u8 = 100;

/// Their names: parts of channels' names, and possible names of nodes.
pub(crate) const ODD_NAMES: [&str; 5] = ["lobby", "b", "b#c", "#", "*"];

/// The name of a room that does not have the name of a host.
pub(crate) fn room_name(room: u8) -> ByteString {
    match room.checked_sub(ODD_ROOMS).and_then(|odd| ODD_NAMES.get(usize::from(odd))) {
        Some(name) => ByteString::from_static(name),
        None => format!("room{room}").into(),
    }
}

pub(crate) fn socket_name(host: usize, socket: usize) -> String {
    format!("socket{host}.{socket}")
}

impl Plan {
    /// The number of hosts that take part.
    pub(crate) fn present(&self) -> usize {
        self.hosts.iter().filter(|host| host.present).count()
    }

    /// The number of clients that recover; one more tries it in the calm.
    pub(crate) fn clients(&self) -> usize {
        let number = |step: &Step| match step.action {
            Action::Call { call: Call::Client { client, .. }, .. } => Some(usize::from(client) + 1),
            _ => None,
        };
        self.steps.iter().filter_map(number).max().unwrap_or_default() + 1
    }

    /// Returns `true` if a call names a room after a host.
    pub(crate) fn has_rooms_named_like_nodes(&self) -> bool {
        let joins = |call: &Call| match *call {
            Call::Join { room, .. } | Call::LocalJoin { room, .. } => room >= HOSTS_ROOMS,
            Call::Client { does: Doing::Joins { room }, .. } => room >= HOSTS_ROOMS,
            _ => false,
        };
        self.steps.iter().any(|step| matches!(&step.action, Action::Call { call, .. } if joins(call)))
    }

    pub(crate) fn faults(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Fault(_))).count()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Broadcast { to, kind, times } => write!(f, "broadcast {kind:?}{to} x{times}"),
            Call::Join { to, room } => write!(f, "sockets{to} join room{room}"),
            Call::Leave { to, room } => write!(f, "sockets{to} leave room{room}"),
            Call::Disconnect { to } => write!(f, "disconnect sockets{to}"),
            Call::Emit { times } => write!(f, "server-side emit x{times}"),
            Call::FetchSockets { to } => write!(f, "fetch sockets{to}"),
            Call::EmitWithAck => f.write_str("server-side emit with ack"),
            Call::BroadcastWithAck { to } => write!(f, "broadcast with ack{to}"),
            Call::ServerCount => f.write_str("server count"),
            Call::AddSocket { socket } => write!(f, "socket {socket} connects"),
            Call::RemoveSocket { socket } => write!(f, "socket {socket} disconnects"),
            Call::LocalJoin { socket, room } => write!(f, "socket {socket} joins room{room}"),
            Call::LocalLeave { socket, room } => write!(f, "socket {socket} leaves room{room}"),
            Call::CloseNamespace => f.write_str("close namespace"),
            Call::OpenNamespace => f.write_str("open namespace"),
            Call::Client { client, does } => match does {
                Doing::Connects => write!(f, "client {client} connects"),
                Doing::Drops { unseen } => write!(f, "client {client} drops, {unseen} packets unseen"),
                Doing::Strays { nsp } => write!(f, "client {client} strays into namespace {nsp}"),
                Doing::Returns => write!(f, "client {client} returns"),
                Doing::IsSaved => write!(f, "client {client} is saved"),
                Doing::Joins { room } => write!(f, "client {client} joins room{room}"),
                Doing::Leaves { room } => write!(f, "client {client} leaves room{room}"),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rooms.is_empty() {
            write!(f, " to {:?}", self.rooms)?;
        }
        if !self.except.is_empty() {
            write!(f, " except {:?}", self.except)?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, hosts, namespaces, network, .. } = self;
        let names: Vec<&str> = namespaces.iter().map(|nsp| &**nsp).collect();
        writeln!(
            f,
            "plan from seed {seed}: {} hosts, {} calls, {} faults, {} ms; namespaces {}; latency {:?} to {:?}",
            self.present(),
            self.steps.len() - self.faults(),
            self.faults(),
            self.chaos.as_millis(),
            names.join(", "),
            network.latency.0,
            network.latency.1
        )?;
        for (index, host) in hosts.iter().enumerate().filter(|(_, host)| host.present) {
            let config = &host.config;
            let what = match host.kind {
                HostKind::Ours => format!("{:?}", config.dialect),
                HostKind::Peer(generation) => format!("a peer, {generation:?}"),
            };
            writeln!(
                f,
                "  host{index}: {what}, {} sockets; read_count {}, max_len {}, {:?}, in flight {}, heartbeats {:?}/{:?}",
                host.sockets,
                config.read_count,
                config.max_len,
                config.local_delivery,
                config.limits.in_flight,
                config.heartbeat_interval,
                config.heartbeat_timeout
            )?;
        }
        for Step { at, action } in &self.steps {
            write!(f, "  {:10.3} ms  ", at.as_secs_f64() * 1_000.0)?;
            match action {
                Action::Fault(fault) => match fault.host() {
                    Some(host) => writeln!(f, "host{host}: {fault}")?,
                    None => writeln!(f, "{fault}")?,
                },
                Action::Call { host, nsp, call } => {
                    writeln!(f, "host{host} {}: {call}", names.get(*nsp).copied().unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }
}
