//! The ways from a node to all servers of a cluster, or to a master and its sentinels. Each way can
//! be broken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use sio_streams_driver::backend::{ConnectError, PushSender};
use sio_streams_driver::sio_streams_core::Lane;
use sio_streams_driver::wire::{Address, Dialer, WireConnection};
use sio_streams_testkit::{Chaos, Direction, Habit, Proxy};

use crate::pace::Pace;
use crate::storm;

/// The name of what happens when a way cuts large replies.
pub const LARGE_REPLIES: &str = "large replies are cut";

/// The bytes of a reply that is cut then.
pub const LARGE: usize = 6_000;

/// The ways of one node.
#[derive(Clone, Debug)]
pub struct Ways {
    all: Arc<BTreeMap<SocketAddr, Way>>,
    pace: Pace,
}

#[derive(Debug)]
enum Way {
    /// It breaks at any byte.
    Bytes(Proxy),
    /// It has the habits of a service.
    Habits(Chaos),
}

impl Way {
    fn addr(&self) -> SocketAddr {
        match self {
            Way::Bytes(proxy) => proxy.addr(),
            Way::Habits(chaos) => chaos.addr(),
        }
    }
}

impl Ways {
    /// Ways to these servers that break at any byte.
    pub fn of_bytes(servers: &[SocketAddr]) -> Self {
        Self::of(servers, |server| Way::Bytes(Proxy::start(server).unwrap()))
    }

    /// Ways to these servers that have the habits of services.
    pub fn of_habits(servers: &[SocketAddr]) -> Self {
        Self::of(servers, |server| Way::Habits(Chaos::start(server, Vec::new()).unwrap()))
    }

    fn of(servers: &[SocketAddr], way: impl Fn(SocketAddr) -> Way) -> Self {
        let all = servers.iter().map(|server| (*server, way(*server))).collect();
        Ways { all: Arc::new(all), pace: Pace::default() }
    }

    /// The record of the node's attempts to connect.
    pub fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// A dialer that goes these ways.
    pub fn through<D>(&self, dialer: D) -> Through<D> {
        Through { dialer, ways: Arc::clone(&self.all) }
    }

    /// Has something happen to all of the ways, or to one. It lasts until they are calm again.
    /// Returns its name.
    pub fn harm(&self, rng: &mut Rng) -> &'static str {
        let ways = Vec::from_iter(self.all.iter());
        let some = match rng.bool() {
            true => &ways[..],
            false => {
                let one = rng.usize(..ways.len());
                &ways[one..=one]
            }
        };
        let kind = rng.u8(..);
        let mut name = "";
        for (server, way) in some {
            name = match way {
                Way::Bytes(proxy) => harm_bytes(proxy, kind, rng),
                Way::Habits(chaos) => {
                    let other = *ways[rng.usize(..ways.len())].0;
                    harm_by_habit(chaos, **server, other, kind)
                }
            };
        }
        name
    }

    /// Lets everything through again. A connection that is broken stays so.
    pub fn calm(&self) {
        for (server, way) in self.all.iter() {
            match way {
                Way::Bytes(proxy) => {
                    proxy.calm();
                    proxy.unstall();
                    proxy.restore().unwrap();
                }
                Way::Habits(chaos) => {
                    chaos.habits(Vec::new());
                    chaos.retarget(*server);
                    chaos.speak();
                }
            }
        }
    }
}

fn harm_bytes(proxy: &Proxy, kind: u8, rng: &mut Rng) -> &'static str {
    match kind % 8 {
        0..4 => {
            (0..rng.usize(1..4)).for_each(|_| proxy.inject(storm::any(rng, 20_000)));
            return "cut, stalled, delayed or cut short at a byte";
        }
        4 => proxy.stall(),
        5 => proxy.stall_requests(),
        6 => proxy.stall_replies(),
        _ => {
            proxy.cut();
            return "no connections are taken";
        }
    }
    "silent"
}

fn harm_by_habit(chaos: &Chaos, server: SocketAddr, other: SocketAddr, kind: u8) -> &'static str {
    let refuse = |command, words: &str| Habit::Refuse(command, words.to_owned());
    let (name, habit) = match kind % 24 {
        0 => (
            "XADD is refused for now",
            refuse("XADD", "OOM command not allowed when used memory > 'maxmemory'"),
        ),
        1 => ("XADD is refused for now", refuse("XADD", "NOREPLICAS Not enough good replicas to write")),
        2 => ("XADD is refused here", refuse("XADD", "READONLY You can't write against a read only replica")),
        3 => ("XADD is refused here", refuse("XADD", &format!("MOVED 9972 {server}"))),
        4 => ("XREAD is refused for now", refuse("XREAD", "LOADING Redis is loading the dataset in memory")),
        5 => ("XREAD is refused here", refuse("XREAD", "UNBLOCKED client unblocked")),
        6 => ("XINFO is refused", refuse("XINFO", "ERR unknown command 'XINFO'")),
        7 => ("HELLO is refused", refuse("HELLO", "ERR unsupported command")),
        8 => ("questions for servers are refused", refuse("CLUSTER", "CLUSTERDOWN The cluster is down")),
        9 => ("questions for servers are refused", refuse("ROLE", "LOADING Redis is loading")),
        10 => {
            // All slots are at the server that is asked, which has no host.
            let lines = ["*1", "*3", ":0", ":16383", "*2", "$-1", &format!(":{}", server.port())];
            let lines = lines.map(str::to_owned).into();
            ("the servers of a cluster are told wrongly", Habit::Answer("CLUSTER SLOTS", lines))
        }
        11 => ("closed at a command", Habit::CloseAt("XADD")),
        12 => ("closed at a command", Habit::CloseAtSecond("XADD")),
        13 => ("closed at a command", Habit::CloseAt("XREAD")),
        14 => ("closed at a command", Habit::CloseAtSecond("XREAD")),
        15 => ("closed at a command", Habit::CloseAt("HELLO")),
        16 => ("closed at a command", Habit::CloseAt("PING")),
        17 => ("reads do not block", Habit::StripBlock),
        18 => ("large requests are cut", Habit::LargestRequest(400)),
        19 => (LARGE_REPLIES, Habit::LargestReply(LARGE)),
        20 => ("idle connections are closed", Habit::CloseIdle(Duration::from_millis(300))),
        21 => {
            chaos.silence(Direction::Requests);
            return "silent";
        }
        22 => {
            chaos.silence(Direction::Replies);
            return "silent";
        }
        _ => {
            chaos.retarget(other);
            chaos.drop_connections();
            return "another server is behind the address";
        }
    };
    chaos.habits(vec![habit]);
    // A connection may have come so far that the habit does not concern it.
    if kind >= 128 {
        chaos.drop_connections();
    }
    name
}

/// A dialer that reaches each server by a way.
#[derive(Clone, Debug)]
pub struct Through<D> {
    dialer: D,
    ways: Arc<BTreeMap<SocketAddr, Way>>,
}

impl<D: Dialer> Dialer for Through<D> {
    type Wire = D::Wire;

    fn home(&self) -> Address {
        self.dialer.home()
    }

    async fn dial(
        &self,
        address: &Address,
        lane: &Lane,
        pushes: PushSender,
    ) -> Result<WireConnection<D::Wire>, ConnectError> {
        let way = address.to_string().parse().ok().and_then(|server| self.ways.get(&server));
        let Some(way) = way else { return Err(ConnectError(format!("{address} is nowhere"))) };
        let SocketAddr::V4(through) = way.addr() else { unreachable!("the loopback") };
        let through = Address::Tcp(through.ip().to_string(), through.port());
        self.dialer.dial(&through, lane, pushes).await
    }
}
