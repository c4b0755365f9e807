//! Rare circumstances: forged entries and answers, names that look alike, replies that nobody
//! understands, a day without links.

use core::time::Duration;

use bytestring::ByteString;
use fastrand::Rng;
use sio_streams_core::{Config, Dialect, Fields};

use super::{HostPlan, ms, often, pick, stream};
use crate::fault::{Fault, Forgery, Impostor, Lanes};
use crate::oracle::channels::is_channels_only;
use crate::plan::{
    Action, Call, Calm, Doing, HOSTS_ROOMS, HostKind, Kind, ODD_NAMES, ODD_ROOMS, Step, Target,
};

pub(super) fn namespaces(rng: &mut Rng, dialect: Dialect) -> Vec<ByteString> {
    let names: &[&'static str] = pick::<&[&str]>(
        rng,
        &[&["/"], &["/", "/admin"], &["/", "/admin"], &["/a", "/a#b"], &["/", "/a", "/a#b", "/a#b#c"]],
    );
    let names = names.iter().map(|name| ByteString::from_static(name));
    // There, they are refused together.
    names.filter(|name| dialect != Dialect::Classic || !name.contains('#')).collect()
}

pub(super) fn configure(rng: &mut Rng, config: &mut Config) {
    let usual = Config::default();
    if often(rng, 50) {
        config.heartbeat_interval = usual.heartbeat_interval;
        config.heartbeat_timeout = usual.heartbeat_timeout;
        config.block_time = usual.block_time;
    }
    // More nodes than there are, but perhaps fewer than there are channels.
    config.limits.nodes = *pick(rng, &[10, 1_000]);
}

pub(super) fn calm(rng: &mut Rng, calm: &mut Calm) {
    let lanes = [Lanes::All, Lanes::Writer, Lanes::Subscriber, Lanes::Readers];
    calm.day_without = often(rng, 15).then(|| *pick(rng, &lanes));
    calm.chatter = often(rng, 30);
}

pub(super) fn steps(
    rng: &mut Rng,
    hosts: &[HostPlan],
    config: &Config,
    namespaces: &[ByteString],
    chaos: Duration,
    steps: &mut Vec<Step>,
) {
    let ours = hosts.iter().filter(|host| host.kind == HostKind::Ours).count();
    if often(rng, 60) {
        rename(rng, ours, steps);
    }
    let calls: Vec<Duration> = steps.iter().map(|step| step.at).collect();
    let soon = |rng: &mut Rng| match often(rng, 60) && !calls.is_empty() {
        true => *pick(rng, &calls) + Duration::from_micros(rng.u64(..3_000)),
        false => ms(rng.u64(..chaos.as_millis() as u64)),
    };
    let weights: Vec<u64> = (0..5).map(|_| if often(rng, 40) { rng.u64(1..10) } else { 0 }).collect();
    let total: u64 = weights.iter().sum();
    for _ in 0..*pick(rng, &[0, 2, 5, 15]) {
        let mut at = rng.u64(..total.max(1));
        let which = weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let host = rng.usize(..ours);
        let Some(fault) = fault(rng, which.unwrap_or(0), host, config, namespaces) else { continue };
        steps.push(Step { at: soon(rng), action: Action::Fault(fault) });
    }
    if config.recovery.is_some() && namespaces.len() > 1 {
        stray(rng, ours, namespaces.len(), chaos, steps);
    }
    if !is_channels_only(config.dialect)
        && config.limits.in_flight < 10
        && namespaces.len() > 1
        && often(rng, 20)
    {
        flood(rng, config, chaos, steps);
    }
}

fn fault(
    rng: &mut Rng,
    which: usize,
    host: usize,
    config: &Config,
    namespaces: &[ByteString],
) -> Option<Fault> {
    let without = is_channels_only(config.dialect);
    let stream = stream(rng, config, namespaces);
    let nsp = pick(rng, namespaces).clone();
    Some(match which {
        1 => Fault::Garble { host, replies: rng.usize(1..4) },
        2 if without => return None,
        2 => {
            let number = *pick(rng, &[Forgery::Highest, Forgery::Behind, Forgery::Plausible, Forgery::None]);
            Fault::Forged { host, stream, nsp, number }
        }
        // Their answers bear no names.
        3 if config.dialect == Dialect::Classic => return None,
        3 => {
            let by_number = matches!(config.dialect, Dialect::Streams03 | Dialect::Sharded);
            let who = match by_number {
                // Where nodes are counted by number, they can't be told from a stranger.
                true => *pick(rng, &[Impostor::Nobody, Impostor::Parrot]),
                false => *pick(rng, &[Impostor::Nobody, Impostor::Parrot, Impostor::Stranger]),
            };
            Fault::FalseAnswer { who }
        }
        4 if without => return None,
        4 => Fault::Foreign { stream, fields: Box::new(emitted(rng, &nsp)) },
        // As long as nobody need notice.
        _ => {
            let lasts = config.heartbeat_timeout.saturating_sub(config.heartbeat_interval).mul_f64(0.8);
            let lasts = ms(rng.u64(..=lasts.as_millis() as u64));
            match rng.u8(..4) {
                0 => Fault::Freeze { lasts: lasts.mul_f64(1.4) },
                1 => Fault::SlowApp { host, lasts: lasts * 2 },
                _ => Fault::Cut { host, lanes: Lanes::Writer, executed: 0, late: Duration::ZERO, lasts },
            }
        }
    })
}

/// An entry of an emitter, or one that looks like it.
fn emitted(rng: &mut Rng, nsp: &str) -> Fields {
    let data = r#"{"packet":{"type":2,"data":["emitted",1]},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    let pairs = |name: Option<String>| {
        let name = name.map(|name| ("uid", name));
        let rest = [("nsp", nsp.to_owned()), ("type", "3".to_owned()), ("data", data.to_owned())];
        name.into_iter().chain(rest).collect::<Vec<_>>()
    };
    let mut pairs = match rng.u8(..4) {
        0 => pairs(Some(format!("{:x}{}", rng.u64(..), "x".repeat(200_000)))),
        1 => pairs(None),
        _ => pairs(Some("emitter".to_owned())),
    };
    if rng.bool() {
        // Its own counter, of whatever.
        pairs.push((sio_streams_core::wire::entry::SEQUENCE_FIELD, "17".to_owned()));
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Rooms get other names.
fn rename(rng: &mut Rng, ours: usize, steps: &mut [Step]) {
    let mut names = [0_u8, 1, 2, 3];
    for name in &mut names {
        match rng.u8(..4) {
            0 => *name = HOSTS_ROOMS + rng.u8(..ours as u8),
            1 | 2 => *name = ODD_ROOMS + rng.u8(..ODD_NAMES.len() as u8),
            _ => {}
        }
    }
    let other = |room: &mut u8| *room = names[usize::from(*room) % names.len()];
    for step in steps {
        let Action::Call { call, .. } = &mut step.action else { continue };
        match call {
            Call::Broadcast { to, .. }
            | Call::Disconnect { to }
            | Call::FetchSockets { to }
            | Call::BroadcastWithAck { to } => to.each(other),
            Call::Join { to, room } | Call::Leave { to, room } => {
                to.each(other);
                other(room);
            }
            Call::LocalJoin { room, .. } | Call::LocalLeave { room, .. } => other(room),
            Call::Client { does: Doing::Joins { room } | Doing::Leaves { room }, .. } => other(room),
            _ => {}
        }
    }
}

/// Clients try another namespace.
fn stray(rng: &mut Rng, ours: usize, namespaces: usize, chaos: Duration, steps: &mut Vec<Step>) {
    for _ in 0..rng.usize(..12) {
        let does = Doing::Strays { nsp: rng.u8(..namespaces as u8) };
        let call = Call::Client { client: rng.u8(..4), does };
        let at = ms(rng.u64(..chaos.as_millis() as u64));
        steps.push(Step { at, action: Action::Call { host: rng.usize(..ours), nsp: 0, call } });
    }
}

/// A client that drops may come back in another namespace first.
pub(super) fn strays(rng: &mut Rng, hosts: &[HostPlan], namespaces: usize, steps: &[Step]) -> Vec<Step> {
    let ours = hosts.iter().filter(|host| host.kind == HostKind::Ours).count();
    let mut found = Vec::new();
    for Step { at, action } in steps {
        if let Action::Call { call: Call::Client { client, does: Doing::Drops { .. } }, .. } = action
            && often(rng, 40)
        {
            let does = Doing::Strays { nsp: rng.u8(..namespaces as u8) };
            let call = Call::Client { client: *client, does };
            let at = *at + ms(rng.u64(1..200));
            found.push(Step { at, action: Action::Call { host: rng.usize(..ours), nsp: 0, call } });
        }
    }
    found
}

/// One namespace has more to say than gets through, for longer than a silence may last.
fn flood(rng: &mut Rng, config: &Config, chaos: Duration, steps: &mut Vec<Step>) {
    let pace = *pick(rng, &[20, 50]);
    let lasts = config.heartbeat_timeout.mul_f64(1.5).as_millis() as u64;
    let from = rng.u64(..chaos.as_millis() as u64 / 2);
    for at in (from..from + lasts).step_by(pace) {
        let call =
            Call::Broadcast { to: Target::default(), kind: Kind::Plain, times: config.limits.in_flight };
        steps.push(Step { at: ms(at), action: Action::Call { host: 0, nsp: 0, call } });
    }
}
