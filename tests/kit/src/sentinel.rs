//! A master, a replica, and sentinels that monitor them.

use std::io;

use crate::resp::Reply;
use crate::server::RedisServer;
use crate::wait::{BOUND, within};

/// The name under which the sentinels know the master.
const MASTER: &str = "mymaster";

/// After how many milliseconds a silent master counts as dead. On a busy machine it may get no turn
/// for a second or two.
const PATIENT: &str = "30000";

/// The same when it has died on purpose.
const IMPATIENT: &str = "1000";

/// A master with a replica, and three sentinels. Dropping it kills them all.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [RedisServer; 2],
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts them, and waits until the sentinels know everybody.
    pub fn start() -> io::Result<Self> {
        let server = || RedisServer::builder().config("repl-diskless-sync-delay 0").start();
        let servers = [server()?, server()?];
        servers[1].try_command(&["REPLICAOF", "127.0.0.1", &servers[0].port().to_string()])?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(
                RedisServer::builder()
                    .sentinel()
                    .config(format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", servers[0].port()))
                    .config(format!("sentinel down-after-milliseconds {MASTER} {PATIENT}"))
                    .config(format!("sentinel failover-timeout {MASTER} 5000"))
                    .start()?,
            );
        }
        for sentinel in &sentinels {
            // One that got no turn for two seconds would do nothing for half a minute. Before Redis
            // 7 that can't be changed.
            drop(sentinel.try_command(&["SENTINEL", "DEBUG", "tilt-trigger", "60000"])?);
        }
        let started = RedisSentinel { servers, sentinels };
        started.until(|all| {
            all.sentinels.iter().all(|sentinel| {
                let Ok(master) = sentinel.try_command(&["SENTINEL", "MASTER", MASTER]) else { return false };
                let field = |name| master.field(name).and_then(Reply::as_int);
                field("num-slaves") == Some(1) && field("num-other-sentinels") == Some(2)
            })
        })?;
        Ok(started)
    }

    /// The master's name.
    pub fn master_name(&self) -> &'static str {
        MASTER
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The place, 0 or 1, of the server that the sentinels call the master.
    pub fn master(&self) -> usize {
        let port = self.sentinels.iter().find_map(named);
        usize::from(port == Some(i64::from(self.servers[1].port())))
    }

    /// The two servers, dead or alive.
    pub fn servers(&self) -> &[RedisServer; 2] {
        &self.servers
    }

    /// Kills the master, and waits until all sentinels name the other, and that is one.
    pub fn fail_over(&self) -> io::Result<()> {
        let other = 1 - self.master();
        self.servers[1 - other].kill();
        self.promote(other)
    }

    /// Freezes the master until all sentinels name the other server. It lives on as the replica.
    /// Writes that it takes until the sentinels reach it are lost.
    pub fn depose(&self) -> io::Result<()> {
        let old = self.master();
        self.servers[old].pause()?;
        let promoted = self.promote(1 - old);
        self.servers[old].resume()?;
        promoted.and_then(|()| self.until(|all| all.follows(old)))
    }

    /// Starts a server again that was killed, and waits until it is the replica.
    pub fn rejoin(&self, place: usize) -> io::Result<()> {
        self.servers[place].restart()?;
        self.until(|all| all.follows(place))
    }

    fn promote(&self, place: usize) -> io::Result<()> {
        self.set_patience(IMPATIENT)?;
        self.until(|all| all.is_master(place))?;
        self.set_patience(PATIENT)
    }

    /// Returns `true` if this server is a replica that has all that its master has.
    fn follows(&self, place: usize) -> bool {
        let Ok(role) = self.servers[place].try_command(&["ROLE"]) else { return false };
        let part = |at: usize| role.items().get(at).and_then(Reply::as_str);
        part(0) == Some("slave") && part(3) == Some("connected")
    }

    fn set_patience(&self, milliseconds: &str) -> io::Result<()> {
        let set = ["SENTINEL", "SET", MASTER, "down-after-milliseconds", milliseconds];
        let mut alive = self.sentinels.iter().filter(|sentinel| sentinel.is_awake());
        alive.try_for_each(|sentinel| sentinel.order(&set))
    }

    /// Has the replica become the master, and waits until the old master is its replica. Writes
    /// that the old one takes in between are lost: that is how Sentinel works.
    pub fn hand_over(&self) -> io::Result<()> {
        let old = self.master();
        let port = Some(i64::from(self.servers[old].port()));
        // Again and again: it is refused until the sentinel knows a replica that is connected, and
        // given up where something took long.
        let asked = |all: &Self| match named(&all.sentinels[0]) == port {
            true => all.sentinels[0].try_command(&["SENTINEL", "FAILOVER", MASTER]).map(drop),
            false => Ok(()),
        };
        self.until(|all| asked(all).is_ok() && all.is_master(1 - old))?;
        self.until(|all| all.servers[old].is("slave"))
    }

    /// Returns `true` if this server is the master and all sentinels say so.
    fn is_master(&self, place: usize) -> bool {
        let port = Some(i64::from(self.servers[place].port()));
        self.servers[place].is("master") && self.sentinels.iter().all(|sentinel| named(sentinel) == port)
    }

    fn until(&self, mut condition: impl FnMut(&Self) -> bool) -> io::Result<()> {
        match within(BOUND, || condition(self)) {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "the sentinels don't agree")),
        }
    }
}

/// The port of the master, by this sentinel.
fn named(sentinel: &RedisServer) -> Option<i64> {
    let reply = sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
    reply.items().get(1)?.as_int()
}
