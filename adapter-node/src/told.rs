//! The node's events, as records for JavaScript.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::Source;
use sio_streams_driver::{Broadcast, DownReason, Event, Events, LinkState, Lost, Restored};

use crate::records::Records;
use crate::shared::{Responder, Shared, notice};

/// The size of records that are written in one go, at most. The first should not wait for the last.
const AT_ONCE: usize = 32 << 10;

/// Clients that are here again, each with the number of the call that has restored it. They were
/// accepted in this order, and each is followed by its `Event::Accepted`.
pub(crate) type Accepted = Arc<Mutex<std::collections::VecDeque<(u32, Restored)>>>;

/// Takes the node's events, until the node is closed. It takes no more while JavaScript has too much
/// to do, so that the node reads no more.
pub(crate) async fn take(mut events: Events, shared: Arc<Shared>, accepted: Accepted) {
    while let Some(event) = events.next().await {
        let mut records = Records::default();
        write(&mut records, event, &shared, &accepted);
        while records.size() < AT_ONCE
            && let Some(event) = events.try_next()
        {
            write(&mut records, event, &shared, &accepted);
        }
        shared.queue.put(records);
        shared.queue.room().await;
    }
}

fn write(records: &mut Records, event: Event, shared: &Arc<Shared>, accepted: &Accepted) {
    let number = event.nsp().map(|nsp| shared.number(nsp));
    let Some(number) = number else { return notice(records, None, &detail(&event)) };
    // A namespace that has just been closed has no adapter any more.
    let Some(number) = number else { return };
    let is_own = shared.own.is_some() && event.sender() == shared.own.as_ref();
    match event {
        Event::Broadcast(it) if is_own => {
            if let Some(responder) = it.responder {
                // JavaScript counts its own clients at the call.
                drop(responder.clients(0));
            }
        }
        _ if is_own => {}
        Event::Broadcast(it) => broadcast(records, number, it, shared),
        Event::SocketsJoin(it) => {
            records.field("j").number(number).opts(&it.opts).names(&it.rooms);
        }
        Event::SocketsLeave(it) => {
            records.field("l").number(number).opts(&it.opts).names(&it.rooms);
        }
        Event::DisconnectSockets { opts, close, .. } => {
            records.field("d").number(number).opts(&opts).number(u8::from(close));
        }
        Event::FetchSockets { responder, .. } if responder.is_own() => {
            // JavaScript adds its own sockets to the answer.
            drop(responder.send_in_rooms(Vec::new()));
        }
        Event::FetchSockets { opts, responder, .. } => {
            let question = shared.ask(Responder::Sockets(responder));
            records.field("f").number(number).opts(&opts).number(question);
        }
        Event::ServerSideEmit { packet, responder, .. } => {
            let question = responder.map(|responder| shared.ask(Responder::Emit(responder)));
            records.field("e").number(number).optional(question).value(&packet);
        }
        Event::Accepted { .. } => {
            let next = accepted.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some((call, restored)) = next {
                self::restored(records, call, &restored);
            }
        }
        other => notice(records, Some(number), &detail(&other)),
    }
}

fn broadcast(records: &mut Records, number: u32, it: Broadcast, shared: &Arc<Shared>) {
    let question = it.responder.map(|responder| {
        let ended = responder.ended();
        let question = shared.ask(Responder::Acks(responder));
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            ended.await;
            shared.answer(question);
            shared.queue.tell(|records| {
                records.field("x").number(number).number(question);
            });
        });
        question
    });
    records.field("b").number(number).opts(&it.opts);
    records.optional(question).optional(it.packet.id()).event(it.packet.data(), it.offset);
}

fn restored(records: &mut Records, call: u32, restored: &Restored) {
    let session = &restored.session;
    records.field("R").number(call).name(&session.sid).name(&session.pid).names(&session.rooms);
    records.value(&session.data).number(restored.missed.len());
    for missed in &restored.missed {
        records.event(missed.packet().data(), Some(missed.offset()));
    }
}

/// Describes what JavaScript only passes on to the application.
fn detail(event: &Event) -> Value {
    let lost = |lost: &Lost| match lost {
        Lost::Exactly(count) => json!(count),
        Lost::Unknown => Value::Null,
    };
    match event {
        Event::NodeUp { node, .. } => json!({ "event": "node_up", "node": node.as_str() }),
        Event::NodeDown { node, reason, .. } => {
            let reason = if *reason == DownReason::Closed { "closed" } else { "silent" };
            json!({ "event": "node_down", "node": node.as_str(), "reason": reason })
        }
        Event::Skipped { source, reason } => {
            let (place, id) = match source {
                Source::Entry { stream, id } => (stream.to_string(), Some(id.to_string())),
                Source::Channel { channel } => (channel.to_string(), None),
                _ => Default::default(),
            };
            json!({ "event": "skipped", "place": place, "id": id, "reason": reason.to_string() })
        }
        Event::Link { lane, link } => {
            let reason = match link {
                LinkState::Down { reason, .. } => Some(reason.to_string()),
                _ => None,
            };
            json!({ "event": "link", "lane": lane.to_string(), "up": link.is_up(), "reason": reason })
        }
        Event::Rewound { stream, cursor, last, lost: number } => json!({
            "event": "rewound", "stream": stream.to_string(), "cursor": cursor.to_string(),
            "last": last.to_string(), "lost": lost(number),
        }),
        Event::Gap { stream, after, until, lost: number } => json!({
            "event": "gap", "stream": stream.to_string(), "after": after.to_string(),
            "until": until.to_string(), "lost": lost(number),
        }),
        Event::Repeated { stream, id, from } => json!({
            "event": "repeated", "stream": stream.to_string(), "id": id.to_string(), "node": from.as_str(),
        }),
        Event::NameTaken { stream, id } => {
            json!({ "event": "name_taken", "stream": stream.to_string(), "id": id.to_string() })
        }
        Event::NoticeFailed { stream, error } => json!({
            "event": "refused", "what": format!("a notice to {stream}"), "reason": error.to_string(),
        }),
        Event::Refused { lane, channel, error } => {
            let what = match channel {
                Some(channel) => format!("the channel {channel}"),
                None => format!("the connection {lane}"),
            };
            json!({ "event": "refused", "what": what, "reason": error.to_string() })
        }
        other => json!({ "event": "skipped", "place": "", "id": null, "reason": format!("{other:?}") }),
    }
}
