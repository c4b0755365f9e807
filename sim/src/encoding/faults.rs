//! Faults.

use super::{Encode, Encoder};
use crate::fault::{Data, Fault, Forgery, Impostor, Lanes, Refusal};

impl Encode for Fault {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Fault::Cut { host, lanes, executed, late, lasts } => {
                out.tag(1).put(host).put(lanes).put(executed).put(late).put(lasts)
            }
            Fault::Stall { host, lanes, lasts } => out.tag(2).put(host).put(lanes).put(lasts),
            Fault::Pause { host, lasts } => out.tag(3).put(host).put(lasts),
            Fault::SlowApp { host, lasts } => out.tag(4).put(host).put(lasts),
            Fault::ClockJump { host, by } => out.tag(5).put(host).put(by),
            Fault::Crash { host, back_after } => out.tag(6).put(host).put(back_after),
            Fault::Restart { data, away, loading } => out.tag(7).put(data).put(away).put(loading),
            Fault::Failover { lost, demoted, away } => out.tag(8).put(lost).put(demoted).put(away),
            Fault::Refuse { refusal, lasts } => out.tag(9).put(refusal).put(lasts),
            Fault::Falter { refusal, commands, lasts } => out.tag(10).put(refusal).put(commands).put(lasts),
            Fault::Freeze { lasts } => out.tag(11).put(lasts),
            Fault::KillClients => out.tag(12),
            Fault::ServerClockJump { millis } => out.tag(13).put(millis),
            Fault::Trim { stream, length } => out.tag(14).put(stream).put(length),
            Fault::Noise { channel, payload, sharded } => out.tag(15).put(channel).put(payload).put(sharded),
            Fault::Garble { host, replies } => out.tag(16).put(host).put(replies),
            Fault::Forged { host, stream, nsp, number } => {
                out.tag(17).put(host).put(stream).put(nsp).put(number)
            }
            Fault::FalseAnswer { who } => out.tag(18).put(who),
            Fault::Foreign { stream, fields } => out.tag(19).put(stream).put(fields),
            Fault::TwoMasters { lost, entries, lasts, away } => {
                out.tag(20).put(lost).put(entries).put(lasts).put(away)
            }
            Fault::Withhold { channels, lasts } => out.tag(21).put(channels).put(lasts),
        };
    }
}

impl Encode for Lanes {
    fn encode(&self, out: &mut Encoder) {
        out.tag(match self {
            Lanes::All => 1,
            Lanes::Writer => 2,
            Lanes::Readers => 3,
            Lanes::Subscriber => 4,
            Lanes::Recovery => 5,
        });
    }
}

impl Encode for Data {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Data::Kept => out.tag(1),
            Data::TailLost(entries) => out.tag(2).put(entries),
            Data::Lost => out.tag(3),
        };
    }
}

impl Encode for Refusal {
    fn encode(&self, out: &mut Encoder) {
        out.tag(match self {
            Refusal::OutOfMemory => 1,
            Refusal::ReadOnly => 2,
            Refusal::Misconfigured => 3,
            Refusal::Loading => 4,
            Refusal::Busy => 5,
            Refusal::NoPermission => 6,
        });
    }
}

impl Encode for Forgery {
    fn encode(&self, out: &mut Encoder) {
        out.tag(match self {
            Forgery::Highest => 1,
            Forgery::Behind => 2,
            Forgery::Plausible => 3,
            Forgery::None => 4,
        });
    }
}

impl Encode for Impostor {
    fn encode(&self, out: &mut Encoder) {
        out.tag(match self {
            Impostor::Nobody => 1,
            Impostor::Stranger => 2,
            Impostor::Parrot => 3,
        });
    }
}
