//! Commands in parts, one for each server that has to execute some of a command.

use std::collections::{BTreeMap, BTreeSet};

use sio_streams_core::{ByteString, Command, CommandError, Reply};

use super::link::{Answer, Link};
use crate::wire::Address;

/// A command, or the part of it that one server can do.
pub(super) struct Part {
    /// The index of the command.
    pub(super) of: usize,
    pub(super) command: Command,
    pub(super) at: Address,
    /// `true` if the command must be preceded by `ASKING`.
    pub(super) asking: bool,
    /// `true` if the command is executed without this part if the server can't be reached.
    pub(super) optional: bool,
}

/// Groups channels by the servers that they lead to.
pub(super) fn grouped<'a>(
    channels: &[ByteString],
    at: impl Fn(&ByteString) -> &'a Address,
) -> BTreeMap<&'a Address, Vec<ByteString>> {
    let mut groups: BTreeMap<&Address, Vec<ByteString>> = BTreeMap::new();
    for channel in channels {
        groups.entry(at(channel)).or_default().push(channel.clone());
    }
    groups
}

/// Returns the same command for each channel by itself, if there are several channels.
pub(super) fn singles(command: &Command) -> Option<impl Iterator<Item = Command> + use<>> {
    let (channels, on) = match command {
        Command::Subscribe { channels, sharded: true } => (channels, true),
        Command::Unsubscribe { channels, sharded: true } => (channels, false),
        _ => return None,
    };
    let single = move |channel| match on {
        true => Command::Subscribe { channels: vec![channel], sharded: true },
        false => Command::Unsubscribe { channels: vec![channel], sharded: true },
    };
    (channels.len() > 1).then(|| channels.clone().into_iter().map(single))
}

pub(super) fn is_lost(answer: &Answer) -> bool {
    matches!(answer, Err(CommandError::Lost(_) | CommandError::NotSent(_)))
}

/// Sends one server's parts, in order.
pub(super) async fn run(
    address: Address,
    link: Link,
    parts: Vec<Part>,
) -> (Address, Link, Vec<(Part, Answer)>) {
    let mut answered = Vec::with_capacity(parts.len());
    let mut parts = parts.into_iter().peekable();
    while let Some(first) = parts.next() {
        // `ASKING` applies only to the next command.
        let mut together = vec![first];
        if together[0].asking {
            if let Err(error) = link.ask(&["ASKING"]).await {
                answered.extend(together.into_iter().map(|part| (part, Err(error.clone()))));
                continue;
            }
        } else {
            while let Some(part) = parts.next_if(|part| !part.asking) {
                together.push(part);
            }
        }
        let answers = link.execute(together.iter().map(|part| part.command.clone()).collect()).await;
        answered.extend(together.into_iter().zip(answers));
    }
    (address, link, answered)
}

/// Merges the answers of a command's parts.
pub(super) fn merge(known: Option<Answer>, more: Answer) -> Answer {
    match (known, more) {
        (None, answer) => answer,
        (Some(Err(error)), _) | (Some(Ok(_)), Err(error)) => Err(error),
        (Some(Ok(Reply::Counts(some))), Ok(Reply::Counts(more))) if some.len() == more.len() => {
            let each = some.into_iter().zip(more);
            Ok(Reply::Counts(each.map(|(one, other)| one.saturating_add(other)).collect()))
        }
        (Some(Ok(Reply::Channels(some))), Ok(Reply::Channels(more))) => {
            // A plain channel can have subscribers at several servers.
            let all: BTreeSet<ByteString> = some.into_iter().chain(more).collect();
            Ok(Reply::Channels(all.into_iter().collect()))
        }
        (Some(known), Ok(_)) => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(channels: &[&'static str]) -> Command {
        let channels = channels.iter().map(|channel| ByteString::from_static(channel)).collect();
        Command::Subscribe { channels, sharded: true }
    }

    #[test]
    fn answers_of_parts_are_merged() {
        let counts = |counts: &[u64]| Ok(Reply::Counts(counts.to_vec()));
        let refused = || Err(CommandError::Server { code: "LOADING".into(), message: String::new() });
        assert_eq!(merge(None, counts(&[1, 2])), counts(&[1, 2]));
        assert_eq!(merge(Some(counts(&[1, 2])), counts(&[3, u64::MAX])), counts(&[4, u64::MAX]));
        assert_eq!(merge(Some(counts(&[1])), refused()), refused());
        assert_eq!(merge(Some(refused()), counts(&[1])), refused());
        let channels = |names: &[&'static str]| {
            Ok(Reply::Channels(names.iter().map(|name| ByteString::from_static(name)).collect()))
        };
        assert_eq!(merge(Some(channels(&["a", "b"])), channels(&["b", "c"])), channels(&["a", "b", "c"]));
        assert_eq!(merge(Some(Ok(Reply::Done)), Ok(Reply::Done)), Ok(Reply::Done));
    }

    #[test]
    fn only_a_change_of_several_channels_is_taken_apart() {
        let apart = |command| singles(&command).map(Iterator::collect::<Vec<_>>);
        assert_eq!(apart(subscribe(&["a", "b"])), Some(vec![subscribe(&["a"]), subscribe(&["b"])]));
        assert_eq!(apart(subscribe(&["a"])), None);
        assert_eq!(
            apart(Command::Unsubscribe { channels: vec!["a".into(), "b".into()], sharded: false }),
            None
        );
    }
}
