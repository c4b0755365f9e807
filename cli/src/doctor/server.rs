//! The facts about a Redis server.

use std::time::{Duration, Instant};

use sio_streams_driver::wire::Value;

use super::Plan;
use super::finding::{Code, Findings, Severity};
use crate::look::{Error, Info, Server, pairs};
use crate::tail::when::now;

/// Clocks that differ by more than this are reported.
const APART: Duration = Duration::from_secs(1);

/// The limits of a server's buffers, in bytes. 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buffers {
    /// For the replies of one connection.
    pub(super) output: u64,
    /// For the messages that wait for one subscriber.
    pub(super) pubsub: u64,
    /// For one request.
    pub(super) query: u64,
}

/// The facts about a server that other checks need.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) version: Option<(u32, u32)>,
    /// `None` if the server does not tell.
    pub(super) buffers: Option<Buffers>,
    /// The server's time, in milliseconds since 1970, when it was asked.
    pub(super) time: Option<u64>,
}

/// Looks at one server.
pub(super) async fn look(server: &mut Server, plan: &Plan, found: &mut Findings) -> Result<Facts, Error> {
    let name = server.name.clone();
    let mut facts = Facts::default();
    match server.ask(&["INFO"]).await? {
        Ok(value) => {
            let info = Info::parse(&value.text().unwrap_or_default());
            facts.version = info.version();
            version(&name, &info, plan, found);
            if !server.is_replica {
                role(&name, &info, found);
                eviction(&name, &info, plan, found);
                persistence(server, &info, plan, found).await?;
            }
        }
        Err(refusal) => {
            let what =
                format!("INFO is refused ({refusal}): version, persistence and eviction are not known.");
            found.unchecked(&name, &refusal, &what, "give the user +info");
        }
    }
    facts.time = clock(server, found).await?;
    if !server.is_replica {
        facts.buffers = buffers(server, found).await?;
    }
    resp3(server, plan, found).await?;
    Ok(facts)
}

fn version(name: &str, info: &Info, plan: &Plan, found: &mut Findings) {
    let Some(version) = info.version() else { return };
    let text = info.text("redis_version").unwrap_or_default();
    if version < (6, 2) {
        let seen =
            format!("The version is {text}. Commands that servers need, such as GETDEL, came with 6.2.");
        found.add(Severity::Error, Code::OldVersion, name, seen, "Update Redis to 6.2 or later, best to 7.");
    } else if version < (7, 0) {
        let sharded = plan.is_sharded();
        let what = match sharded {
            true => "Sharded Pub/Sub, which this adapter uses, came with 7.0.",
            false => {
                "Before 7.0, the number of entries that were trimmed unread is not known, there is no sharded \
                 Pub/Sub, and rights can't be tested for another user."
            }
        };
        let severity = if sharded { Severity::Error } else { Severity::Note };
        let seen = format!("The version is {text}. {what}");
        found.add(severity, Code::OldVersion, name, seen, "Update Redis to 7.0 or later.");
    }
}

fn role(name: &str, info: &Info, found: &mut Findings) {
    if info.text("role") == Some("slave") {
        let master = info.text("master_host").unwrap_or("?");
        let port = info.text("master_port").unwrap_or("?");
        let seen = format!("Its master is {master}:{port}.");
        let todo = "Connect to the master, or use --sentinel or --cluster, which find it.";
        found.add(Severity::Error, Code::ReadOnly, name, seen, todo);
    }
}

fn eviction(name: &str, info: &Info, plan: &Plan, found: &mut Findings) {
    let (Some(limit), Some(policy)) = (info.number("maxmemory"), info.text("maxmemory_policy")) else {
        return;
    };
    let evicts_all = policy.starts_with("allkeys");
    if limit == 0 || !plan.has_streams() || !(evicts_all || policy.starts_with("volatile")) {
        return;
    }
    let evicted = info.number("evicted_keys").unwrap_or_default();
    let used = info.number("used_memory").unwrap_or_default();
    let what = if evicts_all { "streams and sessions" } else { "sessions, which have a time to live" };
    let seen = format!(
        "maxmemory-policy is {policy}: Redis deletes {what} when {} are used. {} are used now; {evicted} keys \
         were deleted so far.",
        bytes(limit),
        bytes(used),
    );
    let severity = if evicts_all { Severity::Error } else { Severity::Warning };
    let todo = "Set maxmemory-policy to noeviction, and give caches a Redis of their own.";
    found.add(severity, Code::Eviction, name, seen, todo);
}

async fn persistence(
    server: &mut Server,
    info: &Info,
    plan: &Plan,
    found: &mut Findings,
) -> Result<(), Error> {
    if !plan.has_streams() || info.text("aof_enabled") != Some("0") {
        return Ok(());
    }
    let name = server.name.clone();
    match server.ask(&["CONFIG", "GET", "save"]).await? {
        Ok(value) => {
            if setting(value).is_some_and(|save| save.is_empty()) {
                let seen = "appendonly is no, and there are no save points.";
                let todo = "Set appendonly to yes, or have a replica that takes over.";
                found.add(Severity::Warning, Code::NoPersistence, name, seen, todo);
            }
        }
        Err(refusal) => {
            let what = format!(
                "appendonly is no, and CONFIG GET is refused ({refusal}): save points are not known."
            );
            found.unchecked(&name, &refusal, &what, "give the user +config|get");
        }
    }
    Ok(())
}

/// Returns the value of the one setting that was asked for.
fn setting(value: Value) -> Option<String> {
    let (_, value) = pairs(value)?.into_iter().next()?;
    Some(value.text()?.to_string())
}

/// Compares the server's clock with that of this machine.
async fn clock(server: &mut Server, found: &mut Findings) -> Result<Option<u64>, Error> {
    let (before, asked) = (now(), Instant::now());
    let name = server.name.clone();
    let reply = match server.ask(&["TIME"]).await? {
        Ok(reply) => reply,
        Err(refusal) => {
            let what = format!("TIME is refused ({refusal}): the server's clock is not known.");
            found.unchecked(&name, &refusal, &what, "give the user +time");
            return Ok(None);
        }
    };
    let took = asked.elapsed();
    let mut parts = reply.list().unwrap_or_default().into_iter().filter_map(Value::number);
    let (Some(seconds), Some(micros)) = (parts.next(), parts.next()) else { return Ok(None) };
    let time = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
    // The server has looked at its clock at some time in between.
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (early, late) = (before, before.saturating_add(took));
    let (apart, where_to) = match time {
        time if time < early => (early - time, "behind"),
        time => (time.saturating_sub(late), "ahead of"),
    };
    if u128::from(apart) > APART.as_millis() {
        let seen = format!("The server's clock is {:.1} s {where_to} this machine's.", apart as f64 / 1e3);
        let todo = "Have both clocks set by NTP.";
        found.add(Severity::Warning, Code::ClocksApart, name, seen, todo);
    }
    Ok(Some(time))
}

async fn buffers(server: &mut Server, found: &mut Findings) -> Result<Option<Buffers>, Error> {
    let name = server.name.clone();
    let mut texts = Vec::new();
    for option in ["client-output-buffer-limit", "client-query-buffer-limit"] {
        match server.ask(&["CONFIG", "GET", option]).await? {
            Ok(value) => texts.push(setting(value)),
            Err(refusal) => {
                let what = format!("CONFIG GET is refused ({refusal}): the limits of buffers are not known.");
                found.unchecked(&name, &refusal, &what, "give the user +config|get");
                return Ok(None);
            }
        }
    }
    match &texts[..] {
        [Some(output), query] => Ok(Some(read_buffers(output, query.as_deref().unwrap_or("0")))),
        _ => Ok(None),
    }
}

/// Reads the limits as CONFIG GET writes them: for each class, a hard limit and a soft limit with
/// its time.
fn read_buffers(output: &str, query: &str) -> Buffers {
    let words: Vec<&str> = output.split_whitespace().collect();
    let hard = |class: &str| {
        let limits = words.chunks(4).find(|words| words.first() == Some(&class));
        limits.and_then(|words| words.get(1)?.parse().ok()).unwrap_or_default()
    };
    Buffers { output: hard("normal"), pubsub: hard("pubsub"), query: query.parse().unwrap_or_default() }
}

async fn resp3(server: &mut Server, plan: &Plan, found: &mut Findings) -> Result<(), Error> {
    if plan.insists_on_a_protocol || server.is_replica {
        return Ok(());
    }
    // The connection has tried RESP3 first. This only asks what it speaks.
    let reply = server.ask(&["HELLO"]).await?;
    let speaks = match &reply {
        Ok(value) => pairs(value.clone()).into_iter().flatten().find_map(|(name, value)| {
            (name.text().as_deref() == Some("proto")).then(|| value.number()).flatten()
        }),
        Err(_) => None,
    };
    if speaks != Some(3) {
        let seen = match &reply {
            Err(refusal) => format!("HELLO is refused: {refusal}."),
            Ok(_) => "The server answers HELLO, and speaks RESP2.".to_owned(),
        };
        let todo =
            "If a proxy is in between, nothing need be done. ?protocol=resp2 in the URL saves the try.";
        found.add(Severity::Note, Code::Resp3Refused, server.name.clone(), seen, todo);
    }
    Ok(())
}

/// Formats a number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} bytes"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let text = "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let expected = Buffers { output: 1_048_576, pubsub: 33_554_432, query: 1_073_741_824 };
        assert_eq!(read_buffers(text, "1073741824"), expected);
        assert_eq!(read_buffers("", ""), Buffers::default());
    }

    #[test]
    fn sizes_are_written_for_people() {
        let sizes = [0, 1_023, 1_536, 5 << 20, 3 << 30].map(bytes);
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
    }
}
