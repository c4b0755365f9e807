//! Generates a plan from a seed.
//!
//! Each seed enables a random subset of faults and operations, at rates of its own. Many runs with
//! few frequent faults find more than one run with a little of everything (swarm testing).

mod adverse;
mod masters;
mod withheld;

use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use fastrand::Rng;
use sio_streams_core::{Config, Dialect, Fields, Limits, LocalDelivery, Recovery, SubscriptionMode};

use crate::adapter::Rooms;
use crate::family::Family;
use crate::fault::{Data, Fault, Lanes, Refusal};
use crate::oracle::channels::is_channels_only;
use crate::peer::Generation;
use crate::plan::{Action, Call, Calm, Doing, HostKind, HostPlan, Kind, Plan, Step, Target};
use crate::world::{HostOptions, Network};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The plan of a seed.
pub(crate) fn plan(seed: u64) -> Plan {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let (family, _) = Family::of(seed);
    let dialects: &[Dialect] = match family {
        Family::Streams | Family::Recovery => {
            &[Dialect::Streams02, Dialect::Streams03, Dialect::Streams03, Dialect::Bridge]
        }
        Family::Channels => &[Dialect::Classic, Dialect::Sharded],
        Family::Adverse => &[
            Dialect::Streams02,
            Dialect::Streams02,
            Dialect::Bridge,
            Dialect::Streams03,
            Dialect::Sharded,
            Dialect::Sharded,
            Dialect::Classic,
        ],
    };
    let dialect = *pick(rng, dialects);
    let network = network(rng);
    let mut config = config(rng, dialect, network.latency.1);
    match family {
        Family::Streams => {}
        Family::Channels => without_streams(rng, &mut config),
        Family::Recovery => recovery(rng, &mut config),
        Family::Adverse if is_channels_only(dialect) => without_streams(rng, &mut config),
        Family::Adverse if often(rng, 40) => recovery(rng, &mut config),
        Family::Adverse => {}
    }
    let mut namespaces = match family {
        Family::Adverse => adverse::namespaces(rng, dialect),
        _ => namespaces(rng),
    };
    if family == Family::Adverse {
        adverse::configure(rng, &mut config);
    }
    if family == Family::Recovery && config.stream_count > 1 {
        // Nobody is recovered where Node writes to a stream that it doesn't read.
        namespaces.retain(|nsp| *nsp != "/notifications");
    }
    let hosts = hosts(rng, &config);
    let longest =
        if config.heartbeat_timeout > ms(9_000) && family == Family::Adverse { 45_000 } else { 12_000 };
    let chaos = ms(rng.u64(1_000..longest));
    let mut steps = calls(rng, &hosts, namespaces.len(), chaos);
    if config.recovery.is_some() {
        steps.extend(clients(rng, &hosts, namespaces.len(), chaos));
    }
    let times: Vec<Duration> = steps.iter().map(|step| step.at).collect();
    if family != Family::Adverse || often(rng, 50) {
        steps.extend(faults(rng, &hosts, &config, &namespaces, chaos, &times));
    }
    if family == Family::Adverse {
        adverse::steps(rng, &hosts, &config, &namespaces, chaos, &mut steps);
    }
    steps.sort_by_key(|step| step.at);
    let (newcomer, death, farewell) = (often(rng, 30), often(rng, 30), often(rng, 60));
    let mut calm = Calm { newcomer, death, farewell, ..Calm::default() };
    if family == Family::Adverse {
        adverse::calm(rng, &mut calm);
    }
    let counting = !often(rng, 10);
    steps.extend(falterings(rng, &steps));
    if family == Family::Adverse && config.recovery.is_some() {
        steps.extend(adverse::strays(&mut Rng::with_seed(!seed), &hosts, namespaces.len(), &steps));
    }
    if !is_channels_only(dialect) {
        let rng = &mut Rng::with_seed(seed.rotate_left(17));
        steps.extend(masters::steps(rng, &config, &namespaces, chaos, &times));
    } else {
        let rng = &mut Rng::with_seed(seed.rotate_left(23));
        steps.extend(withheld::steps(rng, &config, &namespaces, chaos, &times));
    }
    steps.sort_by_key(|step| step.at);
    Plan { seed, network, hosts, namespaces, steps, chaos, calm, counting, rooms: Rooms::Engine }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// Returns `true` in the given number of 100 cases.
fn often(rng: &mut Rng, percent: u64) -> bool {
    rng.u64(..100) < percent
}

fn config(rng: &mut Rng, dialect: Dialect, latency: Duration) -> Config {
    let heartbeat_interval = ms(*pick(rng, &[500, 1_000, 2_000, 5_000]));
    let stream_count = match dialect {
        Dialect::Streams03 if often(rng, 25) => *pick(rng, &[2, 4]),
        _ => 1,
    };
    let limits = Limits {
        in_flight: *pick(rng, &[6, 40, 10_000, 10_000]),
        in_flight_for: ms(*pick(rng, &[700, 3_000, 60_000, 60_000])),
        requests: *pick(rng, &[3, 10_000, 10_000]),
        ..Limits::default()
    };
    Config {
        dialect,
        stream_count,
        max_len: *pick(rng, &[10, 50, 10_000, 10_000, 10_000]),
        // Entries that are read one by one over a slow line would never end.
        read_count: if latency > ms(5) { 100 } else { *pick(rng, &[1, 3, 100, 100]) },
        block_time: ms(*pick(rng, &[50, 500, 5_000])),
        heartbeat_interval,
        heartbeat_timeout: heartbeat_interval * 2 + ms(rng.u64(..500)),
        use_sharded_pub_sub: dialect != Dialect::Streams02 && often(rng, 20),
        local_delivery: *pick(
            rng,
            &[
                LocalDelivery::WhenPublished,
                LocalDelivery::WhenPublished,
                LocalDelivery::StreamOrder,
                LocalDelivery::AtOnce,
            ],
        ),
        request_timeout: ms(*pick(rng, &[400, 1_000, 5_000])),
        limits,
        ..Config::default()
    }
}

/// Draws the options that only the dialects without streams have.
fn without_streams(rng: &mut Rng, config: &mut Config) {
    config.subscription_mode =
        *pick(rng, &[SubscriptionMode::Static, SubscriptionMode::Dynamic, SubscriptionMode::DynamicPrivate]);
    config.publish_on_specific_response_channel = rng.bool();
    // There is no order but the channel's.
    if config.local_delivery == LocalDelivery::StreamOrder {
        config.local_delivery = LocalDelivery::WhenPublished;
    }
}

/// Clients that drop are recovered.
fn recovery(rng: &mut Rng, config: &mut Config) {
    config.local_delivery = LocalDelivery::StreamOrder;
    config.recovery = Some(Recovery {
        max_disconnection_duration: ms(*pick(rng, &[700, 10_000, 120_000, 120_000])),
        window_entries: *pick(rng, &[0, 3, 20, 10_000]),
        window_age: ms(*pick(rng, &[500, 600_000, 600_000])),
        timeout: ms(*pick(rng, &[300, 2_000, 5_000])),
        page_entries: *pick(rng, &[1, 3, 20, 1_000]),
        replay_entries: *pick(rng, &[5, 100_000, 100_000, 100_000]),
        sessions: *pick(rng, &[1, 50_000, 50_000]),
        ..Recovery::default()
    });
}

/// Draws the steps of the clients.
fn clients(rng: &mut Rng, hosts: &[HostPlan], namespaces: usize, chaos: Duration) -> Vec<Step> {
    let ours = hosts.iter().filter(|host| host.kind == HostKind::Ours).count();
    let clients = rng.usize(1..=4);
    let mut steps = Vec::new();
    for client in 0..clients {
        // A client stays in its namespace.
        let nsp = rng.usize(..namespaces);
        let mut at = ms(rng.u64(..chaos.as_millis() as u64 / 3));
        let pace = *pick(rng, &[20, 300, 2_000]);
        let mut away = true;
        while at < chaos {
            let does = match rng.u8(..10) {
                // One that has no session comes anew.
                0..2 => Doing::Connects,
                2 => Doing::IsSaved,
                3 => Doing::Joins { room: rng.u8(..4) },
                4 => Doing::Leaves { room: rng.u8(..4) },
                _ if away => Doing::Returns,
                _ => Doing::Drops { unseen: if often(rng, 30) { rng.u8(1..4) } else { 0 } },
            };
            away = matches!(does, Doing::Drops { .. });
            let call = Call::Client { client: client as u8, does };
            steps.push(Step { at, action: Action::Call { host: rng.usize(..ours), nsp, call } });
            at += ms(rng.u64(..pace));
        }
    }
    steps
}

fn network(rng: &mut Rng) -> Network {
    let (fast, slow) = *pick(rng, &[(100, 300), (100, 2_000), (1_000, 30_000), (50, 60)]);
    Network {
        latency: (Duration::from_micros(fast), Duration::from_micros(slow)),
        notice: (Duration::ZERO, ms(*pick(rng, &[1, 50, 1_500]))),
        response: ms(*pick(rng, &[300, 1_000, 5_000])),
        connect: ms(*pick(rng, &[300, 1_000])),
        backoff_min: ms(*pick(rng, &[1, 20, 50])),
        backoff_max: ms(*pick(rng, &[100, 1_000])),
    }
}

fn namespaces(rng: &mut Rng) -> Vec<ByteString> {
    // The last one has a negative hash.
    let names: &[&'static str] =
        pick::<&[&str]>(rng, &[&["/"], &["/"], &["/", "/chat"], &["/", "/notifications"]]);
    names.iter().map(|name| ByteString::from_static(name)).collect()
}

fn hosts(rng: &mut Rng, config: &Config) -> Vec<HostPlan> {
    let ours = *pick(rng, &[1, 2, 2, 3, 3, 4, 5]);
    let peers = if often(rng, 40) { rng.usize(1..=2) } else { 0 };
    // There are no simulated Node servers without streams.
    let peers = if is_channels_only(config.dialect) { 0 } else { peers };
    let batches = rng.bool();
    let drifts = often(rng, 20);
    let thinks = often(rng, 30);
    let mute = if often(rng, 15) { rng.u64(2..6) } else { 0 };
    let slow_reader = often(rng, 15);
    (0..ours + peers)
        .map(|index| {
            let kind = match config.dialect {
                _ if index < ours => HostKind::Ours,
                Dialect::Streams02 => HostKind::Peer(Generation::Streams02),
                Dialect::Streams03 | Dialect::Classic | Dialect::Sharded => {
                    HostKind::Peer(Generation::Streams03)
                }
                Dialect::Bridge => {
                    HostKind::Peer(*pick(rng, &[Generation::Streams02, Generation::Streams03]))
                }
            };
            let mut config = config.clone();
            if slow_reader && index == 0 {
                config.read_count = 2;
            }
            HostPlan {
                kind,
                config,
                options: HostOptions { batches, drift: if drifts { rng.i32(-20_000..20_000) } else { 0 } },
                sockets: rng.usize(0..4),
                think: if thinks { ms(rng.u64(..200)) } else { Duration::ZERO },
                mute,
                present: true,
            }
        })
        .collect()
}

fn calls(rng: &mut Rng, hosts: &[HostPlan], namespaces: usize, chaos: Duration) -> Vec<Step> {
    // The operations that are on, and the rate of each.
    let weights: Vec<u64> = (0..15).map(|_| if rng.bool() { rng.u64(1..10) } else { 0 }).collect();
    let count = *pick(rng, &[5, 30, 80, 150]);
    let burst = *pick(rng, &[1, 1, 3, 30]);
    // Bursts come in places; otherwise calls are spread.
    let bunched = often(rng, 30);
    let mut bunch = Duration::ZERO;
    (0..count)
        .map(|_| {
            if !bunched || often(rng, 10) {
                bunch = ms(rng.u64(..chaos.as_millis() as u64));
            }
            let at = bunch + Duration::from_micros(rng.u64(..3_000));
            let action = Action::Call {
                host: rng.usize(..hosts.len()),
                nsp: rng.usize(..namespaces),
                call: call(rng, &weights, burst),
            };
            Step { at, action }
        })
        .collect()
}

fn call(rng: &mut Rng, weights: &[u64], burst: usize) -> Call {
    let total: u64 = weights.iter().sum();
    let mut at = rng.u64(..total.max(1));
    let which = weights.iter().position(|weight| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    let times = rng.usize(1..=burst);
    let (room, socket) = (rng.u8(..4), rng.u8(..4));
    let to = target(rng);
    match which.unwrap_or(0) {
        1 => Call::Join { to, room },
        2 => Call::Leave { to, room },
        3 => Call::Disconnect { to },
        4 => Call::Emit { times },
        5 => Call::FetchSockets { to },
        6 => Call::EmitWithAck,
        7 => Call::BroadcastWithAck { to },
        8 => Call::ServerCount,
        9 => Call::AddSocket { socket },
        10 => Call::RemoveSocket { socket },
        11 => Call::LocalJoin { socket, room },
        12 => Call::LocalLeave { socket, room },
        13 if often(rng, 30) => Call::CloseNamespace,
        14 => Call::OpenNamespace,
        _ => {
            let kinds = [
                Kind::Plain,
                Kind::Plain,
                Kind::Plain,
                Kind::Volatile,
                Kind::Binary,
                Kind::Local,
                Kind::Large,
            ];
            Call::Broadcast { to, kind: *pick(rng, &kinds), times }
        }
    }
}

fn target(rng: &mut Rng) -> Target {
    let mut rooms = |most: usize| (0..rng.usize(..=most)).map(|_| rng.u8(..4)).collect();
    Target { rooms: rooms(2), except: rooms(1) }
}

fn faults(
    rng: &mut Rng,
    hosts: &[HostPlan],
    config: &Config,
    namespaces: &[ByteString],
    chaos: Duration,
    calls: &[Duration],
) -> Vec<Step> {
    let mut weights: Vec<u64> = (0..14).map(|_| if often(rng, 40) { rng.u64(1..10) } else { 0 }).collect();
    if is_channels_only(config.dialect) {
        // Nothing stands in streams.
        weights[12] = 0;
    }
    // In some runs hardly anything happens but that links are lost.
    if often(rng, 25) {
        weights[0] += 50;
    }
    if weights.iter().sum::<u64>() == 0 {
        return Vec::new();
    }
    let count = *pick(rng, &[0, 1, 2, 5, 15, 30]);
    let longest = *pick(rng, &[50, 500, 3_000]);
    (0..count)
        .map(|_| {
            let at = moment(rng, 60, chaos, calls);
            let about = *pick(rng, &[300, 3_000, 30_000]);
            let at = at + Duration::from_micros(rng.u64(..about));
            let fault = fault(rng, &weights, hosts.len(), longest, config, namespaces);
            Step { at, action: Action::Fault(fault) }
        })
        .collect()
}

/// Draws the time of a fault: in the given number of 100 cases that of a call, since things break
/// while they are used.
fn moment(rng: &mut Rng, percent: u64, chaos: Duration, calls: &[Duration]) -> Duration {
    match often(rng, percent) && !calls.is_empty() {
        true => *pick(rng, calls),
        false => ms(rng.u64(..chaos.as_millis() as u64)),
    }
}

fn fault(
    rng: &mut Rng,
    weights: &[u64],
    hosts: usize,
    longest: u64,
    config: &Config,
    namespaces: &[ByteString],
) -> Fault {
    let total: u64 = weights.iter().sum();
    let mut at = rng.u64(..total.max(1));
    let which = weights.iter().position(|weight| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    let host = rng.usize(..hosts);
    let lanes: &[Lanes] = match config.recovery {
        None => &[Lanes::All, Lanes::Writer, Lanes::Readers, Lanes::Subscriber],
        Some(_) => &[Lanes::All, Lanes::Writer, Lanes::Readers, Lanes::Subscriber, Lanes::Recovery],
    };
    let lanes = *pick(rng, lanes);
    let mut brief = || ms(rng.u64(..longest));
    let (lasts, late, away, loading, demoted) = (brief(), brief(), brief(), brief(), brief());
    let stream = stream(rng, config, namespaces);
    match which.unwrap_or(0) {
        1 => Fault::Stall { host, lanes, lasts },
        2 => Fault::Pause { host, lasts },
        3 => Fault::SlowApp { host, lasts },
        4 => Fault::ClockJump { host, by: lasts * 3 },
        5 => Fault::Crash { host, back_after: often(rng, 80).then_some(lasts) },
        6 => {
            let data = match rng.u8(..4) {
                0 => Data::Lost,
                1 => Data::TailLost(rng.u64(1..30)),
                _ => Data::Kept,
            };
            Fault::Restart { data, away, loading: if rng.bool() { loading } else { Duration::ZERO } }
        }
        7 => Fault::Failover { lost: rng.u64(..10), demoted, away },
        8 => {
            let refusals = [
                Refusal::OutOfMemory,
                Refusal::ReadOnly,
                Refusal::Misconfigured,
                Refusal::Loading,
                Refusal::Busy,
                Refusal::NoPermission,
            ];
            Fault::Refuse { refusal: *pick(rng, &refusals), lasts }
        }
        9 => Fault::Freeze { lasts },
        10 => Fault::KillClients,
        11 => Fault::ServerClockJump { millis: rng.i64(-2_000..5_000) },
        12 => Fault::Trim { stream, length: rng.u64(..20) },
        13 if is_channels_only(config.dialect) => noise(rng, config, namespaces),
        13 => Fault::Foreign { stream, fields: Box::new(foreign(rng, namespaces)) },
        _ => {
            let executed = *pick(rng, &[0, 1, 3, 1_000]);
            let late = if rng.bool() { late } else { Duration::ZERO };
            Fault::Cut { host, lanes, executed, late, lasts }
        }
    }
}

/// Bursts of which a part is refused, and what may befall the replies.
fn falterings(rng: &mut Rng, steps: &[Step]) -> Vec<Step> {
    let mut calls = Vec::new();
    for Step { at, action } in steps {
        if let Action::Call { host, .. } = action {
            calls.push((*at, *host));
        }
    }
    if calls.is_empty() || !often(rng, 30) {
        return Vec::new();
    }
    let refusals = [Refusal::OutOfMemory, Refusal::OutOfMemory, Refusal::Misconfigured, Refusal::Busy];
    let longest = *pick(rng, &[50, 500, 3_000]);
    let mut found = Vec::new();
    for _ in 0..*pick(rng, &[1, 2, 5, 15]) {
        let (at, host) = *pick(rng, &calls);
        let about = *pick(rng, &[300, 3_000, 30_000]);
        let soon = |rng: &mut Rng| at + Duration::from_micros(rng.u64(..about));
        let (refusal, commands) = (*pick(rng, &refusals), rng.usize(1..5));
        let lasts = ms(rng.u64(..longest));
        let mut add = |at, fault| found.push(Step { at, action: Action::Fault(fault) });
        add(soon(rng), Fault::Falter { refusal, commands, lasts });
        let (at, lasts) = (soon(rng), ms(rng.u64(..longest)));
        match rng.u8(..5) {
            0 => add(at, Fault::Freeze { lasts }),
            1 => add(at, Fault::Stall { host, lanes: Lanes::Writer, lasts }),
            2 => {
                let (executed, late) = (*pick(rng, &[0, 1, 3, 1_000]), Duration::ZERO);
                add(at, Fault::Cut { host, lanes: Lanes::Writer, executed, late, lasts });
            }
            _ => {}
        }
    }
    found
}

fn stream(rng: &mut Rng, config: &Config, _: &[ByteString]) -> ByteString {
    match config.stream_count {
        1 => config.stream_name.clone(),
        count => format!("{}-{}", config.stream_name, rng.u32(..count)).into(),
    }
}

/// A message that somebody else may publish: nonsense.
fn noise(rng: &mut Rng, config: &Config, namespaces: &[ByteString]) -> Fault {
    let (prefix, nsp) = (&config.channel_prefix, pick(rng, namespaces));
    let kinds: &[&str] = match config.dialect {
        Dialect::Classic => &["", "-request"],
        _ => &[""],
    };
    let kind = pick(rng, kinds);
    let channel = match rng.u8(..3) {
        0 => format!("{prefix}{kind}#{nsp}#room{}#", rng.u8(..4)),
        _ => format!("{prefix}{kind}#{nsp}#"),
    };
    let payload: &[u8] =
        pick::<&[u8]>(rng, &[b"", b"{", b"{}", b"\xc1", b"[]", b"\x93\xa1x\x80\x80", b"\xff\x00"]);
    Fault::Noise {
        channel: channel.into(),
        payload: Bytes::from_static(payload),
        sharded: config.dialect == Dialect::Sharded,
    }
}

/// An entry that somebody else may write: an emitter's broadcast, or nonsense of all kinds.
fn foreign(rng: &mut Rng, namespaces: &[ByteString]) -> Fields {
    let nsp = pick(rng, namespaces).to_string();
    let broadcast =
        r#"{"packet":{"type":2,"data":["emitted",1]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    let pairs: Vec<(&str, String)> = match rng.u8(..9) {
        0 => vec![("uid", "emitter".into()), ("nsp", nsp), ("type", "3".into())],
        1 => vec![("uid", "x".into()), ("nsp", nsp), ("type", "7".into()), ("data", "{}".into())],
        2 => vec![("uid", "x".into()), ("nsp", nsp), ("type", "99".into())],
        3 => vec![("uid", "x".into()), ("nsp", nsp), ("type", "3".into()), ("data", "!!!".into())],
        4 => vec![("a", "b".into())],
        5 => vec![("uid", "x".into()), ("nsp", "/elsewhere".into()), ("type", "3".into())],
        6 => vec![("uid", "x".into()), ("nsp", nsp), ("type", "3".into()), ("data", "{".repeat(500))],
        _ => vec![("uid", "emitter".into()), ("nsp", nsp), ("type", "3".into()), ("data", broadcast.into())],
    };
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
