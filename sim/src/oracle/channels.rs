//! The dialects without streams: a node hears just the channels that it should, and tells each
//! message from them once.
//!
//! The channels that a node should hear are computed here from its namespaces and its sockets'
//! rooms, without the engine's code.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use bytestring::ByteString;
use sio_streams_core::wire::{classic, pubsub};
use sio_streams_core::{
    Command, CommandError, CommandId, Config, Dialect, EntryId, Lane, Message, Reply, RoomOwner,
    SubscriptionMode, Time,
};

use crate::peer_validity;

use super::delivery::{Expected, is_for_applications};
use super::log::call_of;
use super::{HostView, Oracle, RoomModel};

/// A node that was refused has so long to ask again, if its process doesn't stand still.
const PATIENCE: core::time::Duration = core::time::Duration::from_millis(1_500);

/// A subscription: to a channel, or to all channels that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    Channel(ByteString),
    Pattern(ByteString),
}

/// The subscriptions of a node, as far as it can know.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    down: bool,
    /// All that it has asked for on this connection, without what was refused.
    asked: BTreeSet<Heard>,
    /// The subscriptions in force, by the answers that have come.
    granted: BTreeSet<Heard>,
    /// The requests without an answer so far, in order.
    awaited: Vec<Wish>,
    /// The time of the last refusal.
    refused: Option<Time>,
    /// It may not even unsubscribe: then it hears more than it wants to, as long as this connection
    /// lasts.
    stuck: bool,
    /// The calls of others that were told here.
    told: BTreeSet<u64>,
}

/// To hear something, or not any more.
#[derive(Debug)]
struct Wish {
    id: CommandId,
    heard: Vec<Heard>,
    more: bool,
}

impl Hearing {
    /// Takes the wish for granted.
    fn grant(asked: &mut BTreeSet<Heard>, wish: &Wish) {
        match wish.more {
            true => asked.extend(wish.heard.iter().cloned()),
            false => asked.retain(|heard| !wish.heard.contains(heard)),
        }
    }
}

/// Returns `true` if nodes of the dialect send everything by Pub/Sub.
pub(crate) fn is_channels_only(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Classic | Dialect::Sharded)
}

/// Returns `true` if a room has a channel of its own to which its nodes subscribe.
fn is_apart(config: &Config, room: &str) -> bool {
    config.dialect == Dialect::Sharded
        && match config.subscription_mode {
            SubscriptionMode::Static => false,
            SubscriptionMode::Dynamic => room.encode_utf16().count() != 20,
            SubscriptionMode::DynamicPrivate => true,
        }
}

/// The meaning of a channel for a node that has the namespace open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Sharded: any message.
    Any,
    /// Classic.
    Broadcasts,
    Requests,
    Responses,
}

impl HostView {
    /// The meanings of a channel for this node: the namespaces, and what comes through it. A room's
    /// channel may have the name of another namespace's.
    fn parts_of(&self, channel: &str) -> Vec<(ByteString, Part)> {
        let parts = self.open.iter().map(|(nsp, rooms)| (nsp.clone(), self.part_of(channel, nsp, rooms)));
        parts.filter_map(|(nsp, part)| Some((nsp, part?))).collect()
    }

    fn part_of(&self, channel: &str, nsp: &str, rooms: &RoomModel) -> Option<Part> {
        let prefix = &self.config.channel_prefix;
        let rest = |kind: &str| channel.strip_prefix(&format!("{prefix}{kind}#{nsp}#"));
        let private = format!("{}#", self.uid);
        Some(match self.config.dialect {
            Dialect::Classic => match (rest(""), rest("-request"), rest("-response")) {
                (Some(""), ..) => Part::Broadcasts,
                // An engine that does not know the rooms tells of broadcasts to any of them.
                (Some(rest), ..)
                    if rest.strip_suffix('#').is_some_and(|room| {
                        rooms.has(room) || self.config.room_owner == RoomOwner::Application
                    }) =>
                {
                    Part::Broadcasts
                }
                (_, Some(""), _) => Part::Requests,
                (_, _, Some(rest)) if rest.is_empty() || rest == private => Part::Responses,
                _ => return None,
            },
            _ => match rest("")? {
                "" => Part::Any,
                rest if rest == private => Part::Any,
                rest => {
                    let room = rest.strip_suffix('#')?;
                    (is_apart(&self.config, room) && rooms.has(room)).then_some(Part::Any)?
                }
            },
        })
    }

    /// All that this node should hear.
    pub(crate) fn should_hear(&self) -> BTreeSet<Heard> {
        let heard = self.open.iter().map(|(nsp, rooms)| self.heard_in(nsp, rooms));
        heard.flat_map(|(own, apart)| own.into_iter().chain(apart)).collect()
    }

    /// Returns the channels that this node should hear: the namespace's own, and those of rooms.
    pub(super) fn heard_in(&self, nsp: &str, rooms: &RoomModel) -> (Vec<Heard>, Vec<Heard>) {
        let prefix = &self.config.channel_prefix;
        let channel = |text: String| Heard::Channel(text.into());
        match self.config.dialect {
            Dialect::Classic => {
                let own = vec![
                    Heard::Pattern(format!("{prefix}#{nsp}#*").into()),
                    channel(format!("{prefix}-request#{nsp}#")),
                    channel(format!("{prefix}-response#{nsp}#")),
                    channel(format!("{prefix}-response#{nsp}#{}#", self.uid)),
                ];
                (own, Vec::new())
            }
            _ => {
                let common = format!("{prefix}#{nsp}#");
                let apart = rooms.names().into_iter().filter(|room| is_apart(&self.config, room));
                let apart = apart.map(|room| channel(format!("{common}{room}#"))).collect();
                (vec![channel(format!("{common}{}#", self.uid)), channel(common)], apart)
            }
        }
    }

    /// Returns `true` if the node has had the time to subscribe to everything that it should hear.
    fn has_asked(&self, now: Time) -> bool {
        let hearing = &self.hearing;
        let half = |wish: &Wish| wish.heard.iter().any(|heard| matches!(heard, Heard::Pattern(_)));
        !hearing.down
            && !hearing.awaited.iter().any(half)
            && hearing
                .refused
                .is_none_or(|at| now.since(Some(at).max(self.disturbed).unwrap_or(at)) > PATIENCE)
    }
}

fn heard_by(command: &Command) -> Option<(Vec<Heard>, bool)> {
    let all =
        |names: &[ByteString], heard: fn(ByteString) -> Heard| names.iter().cloned().map(heard).collect();
    Some(match command {
        Command::Subscribe { channels, .. } => (all(channels, Heard::Channel), true),
        Command::PSubscribe { patterns } => (all(patterns, Heard::Pattern), true),
        Command::Unsubscribe { channels, .. } => (all(channels, Heard::Channel), false),
        Command::PUnsubscribe { patterns } => (all(patterns, Heard::Pattern), false),
        _ => return None,
    })
}

impl Oracle {
    /// A node asks to hear something, or not any more.
    pub(super) fn asks_to_hear(&mut self, host: usize, id: CommandId, command: &Command) {
        let Some((heard, more)) = heard_by(command) else { return };
        let hearing = &mut self.hosts[host].hearing;
        let wish = Wish { id, heard, more };
        Hearing::grant(&mut hearing.asked, &wish);
        hearing.awaited.push(wish);
    }

    pub(super) fn hearing_replied(
        &mut self,
        host: usize,
        id: CommandId,
        reply: &Result<Reply, CommandError>,
    ) {
        let now = self.now;
        let hearing = &mut self.hosts[host].hearing;
        let Some(at) = hearing.awaited.iter().position(|wish| wish.id == id) else { return };
        let wish = hearing.awaited.remove(at);
        if reply.is_ok() || !wish.more {
            Hearing::grant(&mut hearing.granted, &wish);
        }
        let Err(error) = reply else { return };
        hearing.refused = Some(now);
        if wish.more {
            // A channel that is refused here may be in force by another request.
            let mut asked = hearing.granted.clone();
            hearing.awaited.iter().for_each(|wish| Hearing::grant(&mut asked, wish));
            hearing.asked = asked;
        } else {
            hearing.stuck |= matches!(error, CommandError::Server { code, .. } if code == "NOPERM");
        }
    }

    pub(super) fn subscriber_link(&mut self, host: usize, lane: &Lane, up: bool) {
        if *lane == Lane::Subscriber {
            let hearing = &mut self.hosts[host].hearing;
            hearing.down = !up;
            // Requests on the lost connection mean nothing on the next one, whatever their replies
            // say.
            hearing.asked.clear();
            hearing.granted.clear();
            hearing.awaited.clear();
            hearing.stuck = false;
        }
    }

    /// The node has nothing more to ask for: then it has asked for all that it should hear, and for
    /// nothing else.
    pub(super) fn check_hearing(&mut self, host: usize) {
        let view = &self.hosts[host];
        if !is_channels_only(view.config.dialect) || !view.has_asked(self.now) {
            return;
        }
        let (should, asked) = (view.should_hear(), &view.hearing.asked);
        let may_miss = view.may_miss(&self.withheld, self.now);
        let deaf = should.difference(asked).find(|heard| !may_miss.contains(heard));
        let deaf = deaf.map(|heard| ("a channel is not heard", heard.clone()));
        let extra =
            || asked.difference(&should).next().map(|heard| ("a channel is heard in vain", heard.clone()));
        if let Some((rule, heard)) = deaf.or_else(extra) {
            self.fail(rule, format!("host {host}: {heard:?}"));
        }
    }

    /// The subscriptions of a node that has left everything, and could have ended them.
    pub(crate) fn heard_for_nothing(&self, host: usize, really: &BTreeSet<Heard>) -> Option<Heard> {
        really.first().filter(|_| !self.hosts[host].hearing.stuck).cloned()
    }

    /// At rest: what the server says of a node's subscriptions.
    pub(crate) fn check_subscriptions(&mut self, host: usize, really: &BTreeSet<Heard>) {
        let view = &self.hosts[host];
        if !is_channels_only(view.config.dialect) || !view.alive {
            return;
        }
        let should = view.should_hear();
        let right = if view.hearing.stuck { should.is_subset(really) } else { should == *really };
        if !right {
            let missing: Vec<_> = should.difference(really).collect();
            let extra: Vec<_> = really.difference(&should).collect();
            let details = format!("host {host}: not {missing:?}, but {extra:?}");
            self.fail("subscribed to the wrong channels", details);
        }
    }

    /// A message went out on a channel.
    pub(super) fn spoken(&mut self, host: usize, channel: &ByteString, payload: &Bytes) {
        let Some(view) = self.hosts.get(host).filter(|host| host.ours) else { return };
        if !is_channels_only(view.config.dialect) {
            let asked = pubsub::decode(payload).ok().and_then(|message| call_of(&message.body));
            self.questions_executed.extend(asked.filter(|call| *call > super::FIRST_QUESTION));
            if let Err(reason) = peer_validity::message(payload) {
                self.fail("a message that Node servers can't process", reason);
            }
            return;
        }
        let is = |kind: &str| channel.starts_with(&*format!("{}-{kind}#", view.config.channel_prefix));
        let (valid, body) = match view.config.dialect {
            Dialect::Classic if is("response") => (peer_validity::classic_response(payload), None),
            Dialect::Classic if is("request") => {
                let body = match classic::decode_request(payload) {
                    Ok((_, classic::Request::Common(body))) => Some(body),
                    _ => None,
                };
                (peer_validity::classic_request(payload), body)
            }
            Dialect::Classic => {
                let message = classic::decode_broadcast(payload).ok();
                (peer_validity::classic_broadcast(payload), message.map(|message| message.body))
            }
            _ => (peer_validity::sharded(payload), pubsub::decode(payload).ok().map(|message| message.body)),
        };
        if let Err(reason) = valid {
            return self.fail("a message that Node servers can't process", format!("{channel}: {reason}"));
        }
        let Some(number) = body.as_ref().and_then(call_of) else { return };
        self.questions_executed.extend(Some(number).filter(|call| *call > super::FIRST_QUESTION));
        let again = self.deeds.get(number as usize).is_some_and(|deed| !deed.written.is_empty());
        if again {
            return self.fail("published twice", format!("call {number} on {channel}"));
        }
        self.deed_executed(number, channel, EntryId::ZERO);
    }

    /// The node's application was told of somebody's call.
    pub(super) fn told_call(&mut self, host: usize, message: &Message) {
        let view = &mut self.hosts[host];
        if is_channels_only(view.config.dialect)
            && message.uid != view.uid
            && let Some(number) = call_of(&message.body)
            && !view.hearing.told.insert(number)
        {
            self.fail("a message was told twice", format!("host {host}: call {number}"));
        }
    }

    /// Returns `true` if a host was told of a call.
    pub(crate) fn was_told(&self, host: usize, call: u64) -> bool {
        self.hosts[host].hearing.told.contains(&call)
    }

    /// A Pub/Sub message has come to an engine.
    pub(super) fn heard(&mut self, host: usize, channel: &ByteString, payload: &Bytes) {
        let view = &mut self.hosts[host];
        let parts = view.parts_of(channel);
        let Some((first, part)) = parts.first() else { return };
        let message = match part {
            Part::Any => pubsub::decode(payload).map(Some),
            Part::Broadcasts => classic::decode_broadcast(payload).map(Some),
            Part::Requests => classic::decode_request(payload).map(|(uid, request)| match request {
                classic::Request::Common(body) => Some(Message { uid, nsp: first.clone(), body }),
                _ => None,
            }),
            // They are told with the requests that they answer, or not at all.
            Part::Responses => return,
        };
        match message {
            Err(_) => view.skipped_pushes += 1,
            Ok(Some(message))
                if parts.iter().any(|(nsp, _)| *nsp == message.nsp)
                    && message.uid != view.uid
                    && is_for_applications(&message.body) =>
            {
                let message = Rc::new(message);
                view.pushed.push_back(Expected::Message { message, entry: None, offset: None });
            }
            Ok(_) => {}
        }
    }
}
