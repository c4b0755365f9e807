//! A Redis Cluster of a test's own: masters with a replica each.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::resp::Reply;
use crate::server::RedisServer;
use crate::wait::{BOUND, within};

const SLOTS: u16 = 16_384;

/// After how many milliseconds a silent node counts as failed, once the cluster is in order. On a
/// busy machine a server may get no turn for a second or two; it must not be deposed for it.
const PATIENT: &str = "30000";

/// The same while the servers find each other, and where one has died on purpose: what waits for
/// this time shall not last.
const IMPATIENT: &str = "1000";

/// The time for which servers that meet wait for each other: [`IMPATIENT`], at least this.
const HANDSHAKE: Duration = Duration::from_secs(1);

/// A server forgets some requests after five seconds if the others are too slow. They are repeated
/// after this time.
const AGAIN: Duration = Duration::from_secs(6);

/// A running Redis Cluster. Dropping it kills its servers.
#[derive(Debug)]
pub struct RedisCluster {
    masters: usize,
    /// The masters first, then the replica of each, if they have one, in the same order. Roles
    /// change with failovers, places don't.
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts this many masters, each with a replica, and waits until all of them know each other.
    pub fn start(masters: usize) -> io::Result<Self> {
        Self::launch(masters, 2 * masters)
    }

    /// Starts this many masters, without replicas.
    pub fn start_without_replicas(masters: usize) -> io::Result<Self> {
        Self::launch(masters, masters)
    }

    fn launch(masters: usize, count: usize) -> io::Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..count {
            let builder = RedisServer::builder()
                .config("cluster-enabled yes")
                .config("cluster-config-file nodes.conf")
                .config(format!("cluster-node-timeout {IMPATIENT}"))
                // Only where a test says so.
                .config("cluster-replica-no-failover yes")
                // A replica that has just synchronized may be promoted at once.
                .config("cluster-replica-validity-factor 0")
                .config("repl-diskless-sync-delay 0")
                .config("repl-ping-replica-period 1");
            nodes.push(start_one(builder)?);
        }
        let cluster = RedisCluster { masters, nodes };
        cluster.join()?;
        Ok(cluster)
    }

    fn join(&self) -> io::Result<()> {
        let first = &self.nodes[0];
        for (index, node) in self.nodes.iter().enumerate() {
            // Each needs an epoch of its own; given here, it need not be negotiated.
            node.order(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
            if index > 0 {
                meet(node, first)?;
            }
        }
        for index in 0..self.masters {
            let share = |index: usize| index * usize::from(SLOTS) / self.masters;
            let (from, to) = (share(index).to_string(), (share(index + 1) - 1).to_string());
            self.nodes[index].order(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
        }
        let everyone = Some(self.nodes.len().to_string());
        let mut asked = Instant::now();
        self.until(|cluster| {
            let alone = |node: &&RedisServer| info(node, "cluster_known_nodes") != everyone;
            let strangers: Vec<&RedisServer> = cluster.nodes.iter().filter(alone).collect();
            // A server that doesn't answer within a second is forgotten.
            if asked.elapsed() > 2 * HANDSHAKE {
                asked = Instant::now();
                strangers
                    .iter()
                    .filter(|node| node.port() != first.port())
                    .for_each(|node| drop(meet(node, first)));
            }
            strangers.is_empty()
        })?;
        for (index, replica) in self.nodes[self.masters..].iter().enumerate() {
            replica.order(&["CLUSTER", "REPLICATE", &self.id(index)?])?;
        }
        self.settle()
    }

    /// Waits until every server that runs finds the cluster in order, and every replica that runs
    /// follows its master.
    pub fn settle(&self) -> io::Result<()> {
        loop {
            self.until(Self::in_order)?;
            self.set_timeout(PATIENT)?;
            // A server that was found silent just before would stay so for a minute now.
            if self.in_order() {
                return Ok(());
            }
            self.set_timeout(IMPATIENT)?;
        }
    }

    fn in_order(&self) -> bool {
        let mut views = Vec::new();
        for node in self.alive() {
            let Ok(slots) = node.try_command(&["CLUSTER", "SLOTS"]) else { return false };
            views.push(owners(&slots));
            let linked = match node.try_command(&["ROLE"]) {
                Ok(role) => match role.items().first().and_then(Reply::as_str) {
                    Some("slave") => role.items().get(3).and_then(Reply::as_str) == Some("connected"),
                    role => role.is_some(),
                },
                Err(_) => false,
            };
            if !linked || info(node, "cluster_state").as_deref() != Some("ok") {
                return false;
            }
        }
        views.iter().all(|view| *view == views[0])
    }

    fn until(&self, mut condition: impl FnMut(&Self) -> bool) -> io::Result<()> {
        match within(BOUND, || condition(self)) {
            true => Ok(()),
            false => {
                let view = self.nodes.iter().find_map(|node| node.try_command(&["CLUSTER", "NODES"]).ok());
                let view = view.as_ref().and_then(Reply::as_str).unwrap_or_default().to_owned();
                let why = format!("the cluster is not in order:\n{view}");
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        }
    }

    /// All servers, dead ones too: the first masters first, then their replicas, in the same order.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// `redis://127.0.0.1:<port>` of a server.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// The addresses of all servers.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(RedisServer::addr).collect()
    }

    /// The place of the server that has the slot of a key.
    ///
    /// # Panics
    /// If nobody has it.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        let asked = self.running();
        let slots = asked.command(&["CLUSTER", "SLOTS"]);
        let port = owners(&slots).into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        let port = port.map(|(_, _, port)| port);
        match self.nodes.iter().position(|node| Some(i64::from(node.port())) == port) {
            Some(place) => place,
            None => panic!("nobody has the slot {slot}"),
        }
    }

    /// Runs one command on the server that has the slot of a key.
    pub fn command<A: AsRef<[u8]>>(&self, key: &str, args: &[A]) -> Reply {
        self.nodes[self.owner(key)].command(args)
    }

    /// The replica of a server that is a master, or the other way round: they were started as a
    /// pair.
    pub fn partner(&self, place: usize) -> usize {
        (place + self.masters) % self.nodes.len()
    }

    /// Begins to move the slot of a key to another server: the key is still where it was, new ones
    /// go to the other.
    pub fn begin_move(&self, key: &str, to: usize) -> io::Result<Move<'_>> {
        let from = self.owner(key);
        let slot = self.slot(key).to_string();
        self.nodes[to].order(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)?])?;
        self.nodes[from].order(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)?])?;
        Ok(Move { cluster: self, slot, from, to })
    }

    /// Moves the slot of a key, with all its keys, to another server.
    pub fn move_slot(&self, key: &str, to: usize) -> io::Result<()> {
        let moving = self.begin_move(key, to)?;
        moving.keys()?;
        moving.end()
    }

    /// Kills a master, and waits until its replica has taken its place.
    pub fn fail_over(&self, master: usize) -> io::Result<()> {
        self.nodes[master].kill();
        self.promote_partner(master)?;
        self.settle()
    }

    /// Freezes a master until its replica has taken its place. It lives on as the replica.
    pub fn depose(&self, master: usize) -> io::Result<()> {
        self.nodes[master].pause()?;
        let promoted = self.promote_partner(master);
        self.nodes[master].resume()?;
        promoted.and_then(|()| self.settle())
    }

    /// Starts a server again that was killed, and waits until it is a part of the cluster.
    pub fn rejoin(&self, place: usize) -> io::Result<()> {
        self.nodes[place].restart()?;
        self.settle()
    }

    /// Waits until the replica of a master that is silent has taken its place.
    fn promote_partner(&self, master: usize) -> io::Result<()> {
        let replica = &self.nodes[self.partner(master)];
        let may_not = |yes_or_no| replica.order(&["CONFIG", "SET", "cluster-replica-no-failover", yes_or_no]);
        may_not("no")?;
        self.set_timeout(IMPATIENT)?;
        self.until(|_| replica.is("master"))?;
        may_not("yes")
    }

    /// Kills a master and its replica, and waits until the others find that the cluster is down.
    pub fn bring_down(&self, master: usize) -> io::Result<()> {
        self.nodes[self.partner(master)].kill();
        self.nodes[master].kill();
        self.set_timeout(IMPATIENT)?;
        self.until(|cluster| {
            cluster.alive().all(|node| info(node, "cluster_state").as_deref() == Some("fail"))
        })
    }

    fn set_timeout(&self, milliseconds: &str) -> io::Result<()> {
        self.alive().try_for_each(|node| node.order(&["CONFIG", "SET", "cluster-node-timeout", milliseconds]))
    }

    fn alive(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().filter(|node| node.is_awake())
    }

    /// Has a replica take over from its master, which lives on as its replica.
    pub fn hand_over(&self, master: usize) -> io::Result<()> {
        let replica = &self.nodes[self.partner(master)];
        let deadline = Instant::now() + BOUND;
        // A master that has voted for a replica votes for none of the same master within twice this
        // time.
        self.set_timeout(IMPATIENT)?;
        loop {
            // Refused while the two are just connecting.
            let asked = replica.order(&["CLUSTER", "FAILOVER"]);
            if within(AGAIN, || self.nodes[master].is("slave")) {
                return self.settle();
            }
            if Instant::now() > deadline {
                return asked.and(Err(io::Error::new(io::ErrorKind::TimedOut, "no replica has taken over")));
            }
        }
    }

    fn slot(&self, key: &str) -> i64 {
        self.running().command(&["CLUSTER", "KEYSLOT", key]).as_int().unwrap_or_default()
    }

    fn running(&self) -> &RedisServer {
        match self.alive().next() {
            Some(node) => node,
            None => panic!("no server of the cluster runs"),
        }
    }

    fn id(&self, place: usize) -> io::Result<String> {
        let id = self.nodes[place].try_command(&["CLUSTER", "MYID"])?;
        id.as_str().map(str::to_owned).ok_or_else(|| io::Error::other("a server of the cluster has no id"))
    }
}

/// A slot that is being moved.
#[derive(Debug)]
pub struct Move<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: usize,
    to: usize,
}

impl Move<'_> {
    /// Moves the slot's keys. The slot is still the old server's, which sends on by `ASK`.
    pub fn keys(&self) -> io::Result<()> {
        let (from, to) = (&self.cluster.nodes[self.from], &self.cluster.nodes[self.to]);
        loop {
            let keys = from.try_command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"])?;
            if keys.items().is_empty() {
                return Ok(());
            }
            for key in keys.items().iter().filter_map(Reply::as_str) {
                from.order(&["MIGRATE", "127.0.0.1", &to.port().to_string(), key, "0", "60000"])?;
            }
        }
    }

    /// Gives the slot to the new server, and waits until all know.
    pub fn end(self) -> io::Result<()> {
        let id = self.cluster.id(self.to)?;
        // The new owner first, so that the slot is never nobody's.
        for place in [self.to, self.from] {
            self.cluster.nodes[place].order(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id])?;
        }
        self.cluster.settle()
    }
}

/// A cluster's servers also need the port 10 000 above their own, which the choice of a free port
/// does not see to.
fn start_one(builder: crate::RedisServerBuilder) -> io::Result<RedisServer> {
    let mut last = None;
    for _ in 0..20 {
        match builder.clone().start() {
            Ok(server) => return Ok(server),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn meet(node: &RedisServer, other: &RedisServer) -> io::Result<()> {
    node.order(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()])
}

/// `[(first, last, port of the master), …]`, sorted.
fn owners(slots: &Reply) -> Vec<(i64, i64, i64)> {
    let range = |range: &Reply| {
        let [first, last, master, ..] = range.items() else { return None };
        Some((first.as_int()?, last.as_int()?, master.items().get(1)?.as_int()?))
    };
    let mut owners: Vec<_> = slots.items().iter().filter_map(range).collect();
    owners.sort_unstable();
    owners
}

fn info(node: &RedisServer, field: &str) -> Option<String> {
    let info = node.try_command(&["CLUSTER", "INFO"]).ok()?;
    let line = info.as_str()?.lines().find(|line| line.starts_with(field))?;
    line.split_once(':').map(|(_, value)| value.to_owned())
}
