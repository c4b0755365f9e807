//! Changing subscriptions, however many there are.

use std::collections::VecDeque;

use sio_streams_core::{Command, CommandError};

use super::{LaneTask, Outcome, ends};
use crate::backend::{Backend, PushSender};

/// The maximum number of channels that are changed at once. Each portion has the time of a reply,
/// so that time is enough for any number of channels.
const CHANNELS: usize = 4_000;

/// The state of changing subscriptions, which outlives a connection.
#[derive(Debug)]
pub(super) struct Subscribing {
    /// The number of channels that are changed at once. It shrinks when connections are lost by a
    /// change.
    at_once: usize,
}

impl Default for Subscribing {
    fn default() -> Self {
        Subscribing { at_once: CHANNELS }
    }
}

impl<B: Backend> LaneTask<B> {
    /// Changes subscriptions, in portions.
    pub(super) async fn subscribe(
        &mut self,
        connection: &mut B::Connection,
        commands: Vec<Command>,
        pushes: &PushSender,
    ) -> Vec<Outcome> {
        let mut results: Vec<Outcome> = Vec::with_capacity(commands.len());
        let mut rest = Portions(commands.into_iter().enumerate().collect());
        while let Some(portion) = rest.next(self.state.subscribing.at_once) {
            let (numbers, commands): (Vec<usize>, Vec<Command>) = portion.into_iter().unzip();
            let answers = self.ask(connection, commands, pushes).await;
            let end = answers.iter().find_map(ends);
            for (number, answer) in numbers.into_iter().zip(answers) {
                note(&mut results, number, answer);
            }
            let at_once = &mut self.state.subscribing.at_once;
            if let Some(why) = end {
                // One loss may be chance. After two in a row, the next connection gets less to do.
                if self.state.retry.failures() > 0 {
                    *at_once = (*at_once / 2).max(1);
                }
                for (number, _) in rest.0 {
                    note(&mut results, number, Err(CommandError::NotSent(why.clone())));
                }
                return results;
            }
            *at_once = at_once.saturating_mul(2).min(CHANNELS);
        }
        results
    }
}

/// Notes the result of a command, or of a part of one. A command that was divided succeeds if all
/// of its parts do.
fn note(results: &mut Vec<Outcome>, number: usize, outcome: Outcome) {
    match results.get_mut(number) {
        None => results.push(outcome),
        Some(known) if known.is_ok() => *known = outcome,
        Some(_) => {}
    }
}

/// Changes of subscriptions, in order, each with its number. They are taken in portions.
struct Portions(VecDeque<(usize, Command)>);

impl Portions {
    /// Takes the next changes, which have at most this many channels together. A command that has
    /// more is divided.
    fn next(&mut self, most: usize) -> Option<Vec<(usize, Command)>> {
        let (number, mut first) = self.0.pop_front()?;
        let rest = match &mut first {
            Command::Subscribe { channels, sharded } if channels.len() > most => {
                Some(Command::Subscribe { channels: channels.split_off(most), sharded: *sharded })
            }
            Command::Unsubscribe { channels, sharded } if channels.len() > most => {
                Some(Command::Unsubscribe { channels: channels.split_off(most), sharded: *sharded })
            }
            _ => None,
        };
        if let Some(rest) = rest {
            self.0.push_front((number, rest));
        }
        let mut room = most.saturating_sub(width(&first));
        let mut portion = vec![(number, first)];
        while self.0.front().is_some_and(|(_, next)| width(next) <= room)
            && let Some(next) = self.0.pop_front()
        {
            room -= width(&next.1);
            portion.push(next);
        }
        Some(portion)
    }
}

/// Returns the number of channels of a change.
fn width(command: &Command) -> usize {
    match command {
        Command::Subscribe { channels, .. } | Command::Unsubscribe { channels, .. } => channels.len(),
        Command::PSubscribe { patterns } | Command::PUnsubscribe { patterns } => patterns.len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use sio_streams_core::ByteString;

    use super::*;

    fn subscribe(channels: core::ops::Range<u32>) -> Command {
        let channels = channels.map(|number| number.to_string().into()).collect();
        Command::Subscribe { channels, sharded: true }
    }

    #[test]
    fn no_portion_has_more_channels_than_it_may_have_and_none_is_missing() {
        let commands =
            vec![subscribe(0..1), subscribe(1..3), subscribe(3..10), subscribe(10..11), subscribe(11..12)];
        for most in 1..15 {
            let (mut seen, mut last) = (Vec::new(), 0);
            let mut rest = Portions(commands.clone().into_iter().enumerate().collect());
            while let Some(portion) = rest.next(most) {
                assert!(portion.iter().map(|(_, part)| width(part)).sum::<usize>() <= most);
                for (number, part) in portion {
                    assert!(number == last || number == last + 1, "{number} after {last}");
                    last = number;
                    let Command::Subscribe { channels, .. } = part else { panic!("{part:?}") };
                    seen.extend(channels);
                }
            }
            let all: Vec<ByteString> = (0..12_u32).map(|number| number.to_string().into()).collect();
            assert_eq!(seen, all, "{most}");
        }
        let mut all = Portions(commands.into_iter().enumerate().collect());
        assert_eq!(all.next(15).map(|portion| portion.len()), Some(5));
        assert!(all.next(15).is_none());
    }
}
