//! The servers that are there, by the streams and by the subscribers of channels.

use std::collections::{BTreeMap, BTreeSet};

use sio_streams_driver::sio_streams_core::{ByteString, Dialect, Observer, escape_glob};
use sio_streams_driver::wire::Value;

use super::Plan;
use super::finding::{Code, Findings, Severity};
use super::stream::Stream;
use crate::look::{Error, Refusal, Servers, pairs};

/// The number of servers whose channels are looked for under other prefixes.
const SOUGHT: usize = 20;

/// The number of names in a finding.
const NAMES: usize = 5;

/// The channels that have subscribers, and how many.
type Counts = BTreeMap<String, u64>;

/// The channels of a cluster.
#[derive(Debug, Default)]
pub(super) struct Channels {
    plain: Counts,
    sharded: Counts,
    /// Channels under other prefixes, of servers that write to our streams.
    elsewhere: Vec<String>,
}

/// Names the first few.
fn few(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMES);
    let list = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

fn plural(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Returns the names in the reply of all servers, or the first refusal.
async fn names(servers: &mut Servers, command: &[&str]) -> Result<Result<BTreeSet<String>, Refusal>, Error> {
    let mut names = BTreeSet::new();
    for server in &mut servers.list {
        match server.ask(command).await? {
            Ok(value) => {
                let list = value.list().unwrap_or_default().into_iter().filter_map(Value::text);
                names.extend(list.map(|name| name.to_string()));
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(names))
}

/// Counts the subscribers of each channel that matches, on all servers.
async fn count(
    servers: &mut Servers,
    sharded: bool,
    pattern: &str,
) -> Result<Result<Counts, Refusal>, Error> {
    let (list, number) = if sharded { ("SHARDCHANNELS", "SHARDNUMSUB") } else { ("CHANNELS", "NUMSUB") };
    let names = match names(servers, &["PUBSUB", list, pattern]).await? {
        Ok(names) => names,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut counts = Counts::new();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for names in names.chunks(1_000) {
        let command = [&["PUBSUB", number], names].concat();
        for server in &mut servers.list {
            let reply = match server.ask(&command).await? {
                Ok(reply) => reply,
                Err(refusal) => return Ok(Err(refusal)),
            };
            for (name, count) in pairs(reply).unwrap_or_default() {
                if let (Some(name), Some(count)) = (name.text(), count.number()) {
                    *counts.entry(name.to_string()).or_default() += count;
                }
            }
        }
    }
    counts.retain(|_, count| *count > 0);
    Ok(Ok(counts))
}

/// Joins what was counted twice. A server that comes or goes in between is in one of the two with
/// its channels, and must not be taken for a stranger.
fn merged(first: Counts, second: Counts) -> Counts {
    let mut counts = first;
    for (channel, count) in second {
        counts.entry(channel).and_modify(|known| *known = count.min(*known)).or_insert(count);
    }
    counts
}

/// Looks at the channels.
pub(super) async fn look(
    servers: &mut Servers,
    plan: &Plan,
    streams: &[Stream],
    found: &mut Findings,
) -> Result<Channels, Error> {
    let mut channels = Channels::default();
    let pattern = format!("{}*", escape_glob(&plan.config.channel_prefix));
    for sharded in [false, true] {
        let is_used = sharded == plan.is_sharded() && plan.config.dialect != Dialect::Streams02;
        let first = count(servers, sharded, &pattern).await?;
        let second = if first.is_ok() { count(servers, sharded, &pattern).await? } else { Ok(Counts::new()) };
        match first.and_then(|first| Ok(merged(first, second?))) {
            Ok(counts) if sharded => channels.sharded = counts,
            Ok(counts) => channels.plain = counts,
            // The other kind of Pub/Sub would only show who does not belong here.
            Err(refusal) if is_used || !refusal.is_unknown() => {
                let kind = if sharded { "shard" } else { "" };
                let what = format!("PUBSUB is refused ({refusal}): the subscribers were not counted.");
                let takes = match kind {
                    "" => "give the user +pubsub|channels +pubsub|numsub".to_owned(),
                    kind => format!("give the user +pubsub|{kind}channels +pubsub|{kind}numsub"),
                };
                found.unchecked(&plan.config.channel_prefix, &refusal, &what, &takes);
            }
            Err(_) => {}
        }
    }
    let here = channels.servers(plan);
    let strange: BTreeSet<&str> = (streams.iter().flat_map(|stream| &stream.nodes))
        .filter(|((_, node), seen)| !seen.beats && !here.contains(node.as_str()))
        .map(|((_, node), _)| node.as_str())
        .take(SOUGHT)
        .collect();
    if plan.config.dialect != Dialect::Streams02 {
        for node in strange {
            for list in ["CHANNELS", "SHARDCHANNELS"] {
                let pattern = format!("*#{}#", escape_glob(node));
                if let Ok(names) = names(servers, &["PUBSUB", list, &pattern]).await? {
                    channels.elsewhere.extend(names);
                }
            }
        }
    }
    Ok(channels)
}

/// A channel's parts: what follows the prefix, the namespace, and the rest.
fn parts<'a>(prefix: &str, channel: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let (kind, rest) = channel.strip_prefix(prefix)?.split_once('#')?;
    let (nsp, rest) = rest.split_once('#')?;
    nsp.starts_with('/').then_some((kind, nsp, rest))
}

/// Returns `true` for the name of a server, as the sharded adapter and this project draw it: 16
/// hexadecimal digits.
fn is_name(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Channels {
    fn counts(&self, sharded: bool) -> &Counts {
        if sharded { &self.sharded } else { &self.plain }
    }

    /// Returns the number of channels.
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.sharded.len()
    }

    /// Returns the names of the servers that have a channel of their own, in any namespace.
    fn servers(&self, plan: &Plan) -> BTreeSet<&str> {
        self.named(plan, None)
    }

    fn named(&self, plan: &Plan, nsp: Option<&str>) -> BTreeSet<&str> {
        let kind = if plan.config.dialect == Dialect::Classic { "-response" } else { "" };
        let channels = self.counts(plan.is_sharded()).keys();
        // Only there do rooms have channels of the same form.
        let has_rooms = plan.config.dialect == Dialect::Sharded;
        channels
            .filter_map(|channel| parts(&plan.config.channel_prefix, channel))
            .filter(|(found, of, _)| *found == kind && nsp.is_none_or(|nsp| nsp == *of))
            .filter_map(|(.., rest)| rest.strip_suffix('#').filter(|name| !has_rooms || is_name(name)))
            .collect()
    }

    /// Returns the namespaces that servers have opened.
    pub(super) fn namespaces(&self, plan: &Plan) -> BTreeSet<ByteString> {
        let channels = self.plain.keys().chain(self.sharded.keys());
        channels
            .filter_map(|channel| parts(&plan.config.channel_prefix, channel))
            .map(|(_, nsp, _)| nsp.into())
            .collect()
    }

    /// Judges who is there.
    pub(super) fn judge(
        &self,
        plan: &Plan,
        observer: &Observer,
        streams: &[Stream],
        now: u64,
        found: &mut Findings,
    ) {
        let mut namespaces = self.namespaces(plan);
        for stream in streams {
            namespaces.extend(stream.namespaces.iter().cloned());
        }
        for nsp in &namespaces {
            self.judge_generations(plan, nsp, streams, now, found);
            self.judge_others(plan, nsp, found);
        }
        self.judge_foreign(plan, found);
        let lost: Vec<&str> =
            namespaces.iter().filter(|nsp| observer.lost_stream(nsp).is_some()).map(|nsp| &**nsp).collect();
        if !lost.is_empty() {
            let seen = format!("With streamCount {}: {}.", plan.config.stream_count, few(&lost));
            let todo = "Choose other names for the namespaces, another streamCount, or servers of this project, \
                        which read these streams, too.";
            found.add(Severity::Error, Code::NegativeHash, &*plan.config.stream_name, seen, todo);
        }
    }

    /// Finds servers of 0.2 and of 0.3 in one namespace.
    fn judge_generations(&self, plan: &Plan, nsp: &str, streams: &[Stream], now: u64, found: &mut Findings) {
        if !plan.has_streams() {
            return;
        }
        let timeout = u64::try_from(plan.config.heartbeat_timeout.as_millis()).unwrap_or(u64::MAX);
        let nodes = streams.iter().flat_map(|stream| &stream.nodes);
        let alive = nodes.filter(|((of, _), seen)| {
            of == nsp && seen.beats && !seen.is_closed && now.saturating_sub(seen.last) <= timeout
        });
        let beating: BTreeMap<&str, bool> =
            alive.map(|((_, node), seen)| (node.as_str(), seen.is_bridge)).collect();
        let old: Vec<&str> = beating.iter().filter(|(_, bridge)| !**bridge).map(|(node, _)| *node).collect();
        let with_channels = self.named(plan, Some(nsp));
        let new: Vec<&str> = with_channels.into_iter().filter(|node| !beating.contains_key(node)).collect();
        if !old.is_empty() && !new.is_empty() {
            let seen = format!(
                "{} of 0.2 ({}), {} of 0.3 ({}).",
                plural(old.len(), "server"),
                few(&old),
                plural(new.len(), "server"),
                few(&new)
            );
            let todo =
                "Finish the upgrade soon. Servers of this project with the dialect bridge can ask both.";
            found.add(Severity::Error, Code::MixedGenerations, format!("namespace {nsp}"), seen, todo);
        }
        let wanted = matches!(plan.config.dialect, Dialect::Streams03) && new.is_empty() && !old.is_empty();
        if wanted {
            let seen = format!("{} of 0.2 ({}), and none of 0.3.", plural(old.len(), "server"), few(&old));
            found.add(
                Severity::Error,
                Code::OtherAdapter,
                format!("namespace {nsp}"),
                seen,
                "If that is meant, use --dialect streams-0.2.",
            );
        }
    }

    /// Finds subscribers that are no servers of this adapter.
    fn judge_others(&self, plan: &Plan, nsp: &str, found: &mut Findings) {
        let prefix = &*plan.config.channel_prefix;
        let about = format!("namespace {nsp}");
        let requests = format!("{prefix}#{nsp}#");
        let classic = format!("{prefix}-request#{nsp}#");
        let of = |counts: &Counts, channel: &str| counts.get(channel).copied().unwrap_or_default();
        let (plain, sharded, classic) =
            (of(&self.plain, &requests), of(&self.sharded, &requests), of(&self.plain, &classic));
        let is_classic = plan.config.dialect == Dialect::Classic;
        let is_old = plan.config.dialect == Dialect::Streams02;
        let mut others: Vec<(u64, &str, &str)> = Vec::new();
        if !is_classic && classic > 0 {
            others.push((classic, "the classic adapter", "--dialect classic"));
        }
        match (plan.is_sharded(), plan.config.dialect) {
            (false, Dialect::Streams03 | Dialect::Bridge) if sharded > 0 => {
                let seen = format!(
                    "{sharded} subscribers use sharded Pub/Sub, {plain} do not, under the same channelPrefix."
                );
                let todo = "Give all servers the same useShardedPubSub, and the sharded adapter another channelPrefix.";
                found.add(Severity::Error, Code::OptionsDiffer, about.clone(), seen, todo);
            }
            (true, Dialect::Streams03 | Dialect::Bridge) if plain > 0 => {
                let seen = format!("{plain} subscribers do not use sharded Pub/Sub, {sharded} do.");
                let todo = "Give all servers the same useShardedPubSub.";
                found.add(Severity::Error, Code::OptionsDiffer, about.clone(), seen, todo);
            }
            (true, Dialect::Sharded) if plain > 0 => {
                others.push((plain, "streams-0.3", "--dialect streams-0.3"));
            }
            (false, Dialect::Classic) if sharded > 0 || plain > 0 => {
                others.push((sharded + plain, "another adapter", "--dialect sharded or streams-0.3"));
            }
            _ => {}
        }
        for (count, adapter, option) in others {
            let seen = format!("{} of {adapter}.", plural(count as usize, "subscriber"));
            let todo = format!(
                "Give each cluster a channelPrefix (or key) of its own. If they are meant, use {option}."
            );
            found.add(Severity::Error, Code::OtherAdapter, about.clone(), seen, todo);
        }
        if is_old {
            return;
        }
        let subscribers = match (is_classic, plan.is_sharded()) {
            (true, _) => classic,
            (false, true) => sharded,
            (false, false) => plain,
        };
        let servers = self.named(plan, Some(nsp)).len();
        if subscribers > servers as u64 {
            let channel = if is_classic { format!("{prefix}-request#{nsp}#") } else { requests };
            let seen = format!(
                "{} of the channel {channel}, but only {} a channel of their own.",
                plural(subscribers as usize, "subscriber"),
                match servers {
                    0 => "none have".to_owned(),
                    servers => plural(servers, "server") + " with",
                },
            );
            let todo = "Look for them in CLIENT LIST TYPE pubsub. Programs that only listen can use PSUBSCRIBE, \
                        which is not counted.";
            found.add(Severity::Warning, Code::StrangerSubscribers, about, seen, todo);
        }
    }

    /// Finds servers that write to our streams and have channels under another prefix.
    fn judge_foreign(&self, plan: &Plan, found: &mut Findings) {
        let names: Vec<&str> = self.elsewhere.iter().map(String::as_str).collect();
        if !names.is_empty() {
            let prefix = &plan.config.channel_prefix;
            let seen = format!(
                "Servers that write to the stream have no channel under {prefix}, but: {}.",
                few(&names)
            );
            let todo = "Give servers of one cluster the same channelPrefix, and each cluster a streamName of its own.";
            found.add(Severity::Error, Code::ForeignServers, &*plan.config.stream_name, seen, todo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_taken_apart() {
        assert_eq!(parts("socket.io", "socket.io#/chat#"), Some(("", "/chat", "")));
        assert_eq!(parts("socket.io", "socket.io-request#/#"), Some(("-request", "/", "")));
        assert_eq!(parts("socket.io", "socket.io#/#0123456789abcdef#"), Some(("", "/", "0123456789abcdef#")));
        for other in ["", "socket.io", "socket.io#", "socket.io#chat#", "other#/#", "socket.io#/chat"] {
            assert_eq!(parts("socket.io", other), None, "{other}");
        }
    }

    #[test]
    fn a_server_that_comes_or_goes_is_no_stranger() {
        let counts = |channels: &[(&str, u64)]| -> Counts {
            channels.iter().map(|(channel, count)| ((*channel).to_owned(), *count)).collect()
        };
        // The second server has been counted before its own channel was there.
        let early = counts(&[("requests", 2), ("one", 1)]);
        let late = counts(&[("requests", 1), ("one", 1), ("two", 1)]);
        let merged = merged(early, late);
        assert_eq!(merged, counts(&[("requests", 1), ("one", 1), ("two", 1)]));
    }

    #[test]
    fn names_of_servers_are_known_by_their_form() {
        assert!(is_name("0123456789abcdef"));
        for room in ["", "room1", "emitter", "0123456789abcdeg", "0123456789ABCDEF"] {
            assert!(!is_name(room), "{room}");
        }
    }
}
