//! Faults of every kind, each different from the others in one field at least.

use sio_streams_core::Fields;

use super::super::*;
use super::samples::{fields, millis, text};
use crate::fault::{Data, Fault, Forgery, Impostor, Lanes, Refusal};

pub(super) fn faults() -> Vec<Fault> {
    let (a, b) = (millis(1), millis(2));
    let cut = |host, lanes, executed, late, lasts| Fault::Cut { host, lanes, executed, late, lasts };
    let restart = |data, away, loading| Fault::Restart { data, away, loading };
    let forged =
        |host, stream, nsp, number| Fault::Forged { host, stream: text(stream), nsp: text(nsp), number };
    let noise = |channel, payload: &'static str, sharded| Fault::Noise {
        channel: text(channel),
        payload: payload.into(),
        sharded,
    };
    let failover = |lost, demoted, away| Fault::Failover { lost, demoted, away };
    let masters = |lost, entries: &[(Duration, &'static str, &'static str)], lasts, away| {
        let entries = entries.iter();
        let entries = entries.map(|(at, stream, value)| (*at, text(stream), fields(&[("a", value)])));
        Fault::TwoMasters { lost, entries: entries.collect(), lasts, away }
    };
    let mut faults = vec![
        cut(1, Lanes::All, 0, a, a),
        cut(2, Lanes::All, 0, a, a),
        cut(1, Lanes::All, 1, a, a),
        cut(1, Lanes::All, 0, b, a),
        cut(1, Lanes::All, 0, a, b),
        Fault::Crash { host: 1, back_after: None },
        Fault::Crash { host: 2, back_after: None },
        Fault::Crash { host: 1, back_after: Some(a) },
        restart(Data::Kept, a, a),
        restart(Data::Lost, a, a),
        restart(Data::TailLost(1), a, a),
        restart(Data::TailLost(2), a, a),
        restart(Data::Kept, b, a),
        restart(Data::Kept, a, b),
        failover(1, a, a),
        failover(2, a, a),
        failover(1, b, a),
        failover(1, a, b),
        masters(1, &[], a, a),
        masters(2, &[], a, a),
        masters(1, &[], b, a),
        masters(1, &[], a, b),
        masters(1, &[(a, "s", "a")], a, a),
        masters(1, &[(b, "s", "a")], a, a),
        masters(1, &[(a, "t", "a")], a, a),
        masters(1, &[(a, "s", "b")], a, a),
        Fault::Freeze { lasts: a },
        Fault::Freeze { lasts: b },
        Fault::KillClients,
        Fault::ServerClockJump { millis: 1 },
        Fault::ServerClockJump { millis: -1 },
        Fault::Trim { stream: text("s"), length: 1 },
        Fault::Trim { stream: text("s"), length: 2 },
        Fault::Trim { stream: text("t"), length: 1 },
        noise("a", "", false),
        noise("b", "", false),
        noise("a", "a", false),
        noise("a", "", true),
        forged(1, "s", "/", Forgery::Highest),
        forged(2, "s", "/", Forgery::Highest),
        forged(1, "t", "/", Forgery::Highest),
        forged(1, "s", "/a", Forgery::Highest),
        forged(1, "s", "/", Forgery::Behind),
        forged(1, "s", "/", Forgery::Plausible),
        forged(1, "s", "/", Forgery::None),
        Fault::FalseAnswer { who: Impostor::Nobody },
        Fault::FalseAnswer { who: Impostor::Stranger },
        Fault::FalseAnswer { who: Impostor::Parrot },
        Fault::Foreign { stream: text("s"), fields: Fields::new().into() },
        Fault::Foreign { stream: text("t"), fields: Fields::new().into() },
        Fault::Foreign { stream: text("s"), fields: Box::new(fields(&[("a", "b")])) },
    ];
    for lanes in [Lanes::Writer, Lanes::Readers, Lanes::Subscriber, Lanes::Recovery] {
        faults.push(cut(1, lanes, 0, a, a));
    }
    for (host, count, lasts) in [(1, 1, a), (2, 1, a), (1, 2, b)] {
        faults.push(Fault::Stall { host, lanes: Lanes::All, lasts });
        faults.push(Fault::Pause { host, lasts });
        faults.push(Fault::SlowApp { host, lasts });
        faults.push(Fault::ClockJump { host, by: lasts });
        faults.push(Fault::Garble { host, replies: count });
    }
    faults.push(Fault::Stall { host: 1, lanes: Lanes::Writer, lasts: a });
    for refusal in [
        Refusal::OutOfMemory,
        Refusal::ReadOnly,
        Refusal::Misconfigured,
        Refusal::Loading,
        Refusal::Busy,
        Refusal::NoPermission,
    ] {
        faults.push(Fault::Refuse { refusal, lasts: a });
        faults.push(Fault::Falter { refusal, commands: 1, lasts: a });
    }
    for (channels, lasts) in [(&["c"][..], a), (&["c", "d"], a), (&["c"], b)] {
        let channels = channels.iter().map(|name| ByteString::from_static(name)).collect();
        faults.push(Fault::Withhold { channels, lasts });
    }
    faults.push(Fault::Refuse { refusal: Refusal::Busy, lasts: b });
    faults.push(Fault::Falter { refusal: Refusal::Busy, commands: 2, lasts: a });
    faults.push(Fault::Falter { refusal: Refusal::Busy, commands: 1, lasts: b });
    faults
}
