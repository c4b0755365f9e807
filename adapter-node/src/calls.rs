//! The calls of JavaScript, as calls of the driver, in their order.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use sio_streams_driver::sio_streams_core::Answer;
use sio_streams_driver::sio_streams_core::wire::FrameError;
use sio_streams_driver::{
    Acks, Error, Names, Namespace, Node, Outcome, Packet, Payload, PayloadError, Publishing, Queued,
    RemoteSocket, Responses, Session, Sockets,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use crate::fates::Fates;
use crate::fields::{Fields, Malformed};
use crate::shared::{Responder, Shared, notice};
use crate::told::Accepted;

/// Something for the task that makes the calls.
#[derive(Debug)]
pub(crate) enum Input {
    /// A batch of records.
    Batch(String, Vec<Bytes>),
    /// Everything that was said before is to be published. Then the sender is dropped.
    Drain(std::sync::mpsc::Sender<()>),
}

/// Makes the calls of a node.
pub(crate) struct Calls {
    node: Node,
    shared: Arc<Shared>,
    accepted: Accepted,
    fates: Fates,
    /// Sessions that are being stored, and namespaces that are being closed.
    under_way: JoinSet<()>,
}

/// The reason that a record could not be followed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Node(#[from] Error),
    #[error("the namespace is closed")]
    Closed,
}

impl Calls {
    pub(crate) fn new(node: Node, shared: Arc<Shared>, accepted: Accepted) -> Self {
        let fates = Fates::start(Arc::clone(&shared));
        Calls { node, shared, accepted, fates, under_way: JoinSet::new() }
    }

    /// Takes batches until there will be no more, or one of them closes the node.
    pub(crate) async fn take(mut self, mut inputs: UnboundedReceiver<Input>) {
        while let Some(input) = inputs.recv().await {
            match input {
                Input::Batch(text, attachments) => {
                    let mut fields = Fields::new(text.into(), attachments);
                    while !fields.is_empty() {
                        match self.record(&mut fields) {
                            Ok(None) => {}
                            Ok(Some(call)) => return self.close(call).await,
                            Err(error) => {
                                let detail = serde_json::json!({
                                    "event": "refused", "what": "a batch", "reason": error.to_string(),
                                });
                                self.shared.queue.tell(|records| notice(records, None, &detail));
                                break;
                            }
                        }
                    }
                    while self.under_way.try_join_next().is_some() {}
                }
                Input::Drain(done) => self.fates.known(done),
            }
        }
    }

    /// Closes the node when everything that was begun is done.
    async fn close(mut self, call: u32) {
        while self.under_way.join_next().await.is_some() {}
        self.node.close().await;
        self.shared.queue.tell(|records| {
            records.field("r").number(call).field("");
        });
    }

    /// Makes the call of one record. All fields are read, whatever becomes of it. Returns the number
    /// of the call that closes the node.
    fn record(&mut self, fields: &mut Fields) -> Result<Option<u32>, Malformed> {
        let kind = fields.bytes()?;
        match &*kind {
            b"Z" => return Ok(Some(fields.number()?)),
            b"O" => {
                let number = fields.number()?;
                let name = fields.name()?;
                self.open(number, &name);
            }
            b"C" | b"K" | b"S" | b"M" => self.answer(&kind, fields)?,
            _ => {
                let number: u32 = fields.number()?;
                match &*kind {
                    b"B" | b"J" | b"L" | b"D" | b"E" => self.publish(&kind, number, fields)?,
                    b"A" | b"F" | b"G" | b"Q" | b"N" | b"P" | b"R" | b"X" => {
                        self.ask(&kind, number, fields)?
                    }
                    b"V" => {
                        let (occupied, rooms) = (fields.number::<u8>()? == 1, fields.names()?);
                        if let Some(nsp) = self.shared.namespace(number) {
                            drop(nsp.set_rooms_occupied(rooms, occupied));
                        }
                    }
                    _ => {
                        let kind = String::from_utf8_lossy(&kind).into_owned();
                        return Err(Malformed::Field(kind, "a kind of record"));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Opens a namespace, however long it takes.
    fn open(&self, number: u32, name: &str) {
        self.shared.add(number, self.node.namespace(name));
        let opened = self.node.open_within(name, core::time::Duration::MAX);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            match opened.await {
                Ok(_) => shared.queue.tell(|records| {
                    records.field("o").number(number);
                }),
                Err(Error::ClosedMeanwhile(_) | Error::Closed) => {}
                Err(error) => shared.refused(number, "to open the namespace", &error.to_string()),
            }
        });
    }

    /// Makes a call that JavaScript does not wait for.
    fn publish(&mut self, kind: &[u8], number: u32, fields: &mut Fields) -> Result<(), Malformed> {
        let nsp = self.shared.namespace(number).ok_or(Refusal::Closed);
        let (what, publishing): (_, Result<Publishing, Refusal>) = match kind {
            b"B" => {
                let (opts, id, event) = (fields.opts()?, fields.optional()?, fields.event()?);
                let packet = event.map_err(Refusal::from).and_then(|event| Ok(Packet::new(event)?));
                let publish = |(nsp, packet): (Namespace, Packet)| {
                    nsp.broadcast(id.map_or(packet.clone(), |id| packet.with_id(id)), opts)
                };
                ("a broadcast", nsp.and_then(|nsp| Ok((nsp, packet?))).map(publish))
            }
            b"J" => {
                let (opts, rooms) = (fields.opts()?, fields.names()?);
                ("to make sockets join", nsp.map(|nsp| nsp.sockets_join(opts, rooms)))
            }
            b"L" => {
                let (opts, rooms) = (fields.opts()?, fields.names()?);
                ("to make sockets leave", nsp.map(|nsp| nsp.sockets_leave(opts, rooms)))
            }
            b"D" => {
                let (opts, close) = (fields.opts()?, fields.number::<u8>()? == 1);
                ("to disconnect sockets", nsp.map(|nsp| nsp.disconnect_sockets(opts, close)))
            }
            _ => {
                let packet = fields.value()?.map_err(Refusal::from);
                let publishing = nsp.and_then(|nsp| Ok(nsp.server_side_emit(packet?)));
                ("an event to the servers", publishing)
            }
        };
        match publishing {
            Ok(publishing) => self.fates.watch(number, what, publishing),
            Err(refusal) => self.shared.refused(number, what, &refusal.to_string()),
        }
        Ok(())
    }

    /// Makes a call whose result JavaScript waits for.
    fn ask(&mut self, kind: &[u8], number: u32, fields: &mut Fields) -> Result<(), Malformed> {
        let call: u32 = fields.number()?;
        let nsp = self.shared.namespace(number).ok_or(Refusal::Closed);
        let shared = Arc::clone(&self.shared);
        let result: Result<BoxFuture<'static, Result<(), Error>>, Refusal> = match kind {
            b"A" => {
                let (opts, event) = (fields.opts()?, fields.event()?);
                let packet = event.map_err(Refusal::from).and_then(|event| Ok(Packet::new(event)?));
                let ask = |(nsp, packet): (Namespace, Packet)| nsp.broadcast_with_ack(packet, opts);
                let asked = nsp.and_then(|nsp| Ok((nsp, packet?))).map(ask);
                asked.map(|asked| Box::pin(acks(asked, call, shared)) as _)
            }
            b"F" => {
                let opts = fields.opts()?;
                nsp.map(|nsp| Box::pin(sockets(nsp.fetch_sockets(opts), call, shared)) as _)
            }
            b"G" => nsp.map(|nsp| Box::pin(rooms(nsp.all_rooms(), call, shared)) as _),
            b"Q" => {
                let packet = fields.value()?.map_err(Refusal::from);
                let asked = nsp.and_then(|nsp| Ok(nsp.server_side_emit_with_ack(packet?)));
                asked.map(|asked| Box::pin(responses(asked, call, shared)) as _)
            }
            b"N" => nsp.map(|nsp| {
                let counted = nsp.server_count();
                Box::pin(async move {
                    let count = counted.await?;
                    shared.queue.tell(|records| {
                        records.field("c").number(call).number(count);
                    });
                    Ok(())
                }) as _
            }),
            b"P" => {
                let (sid, pid, rooms) = (fields.name()?, fields.name()?, fields.names()?);
                let data = fields.value()?.map_err(Refusal::from);
                let session = data.map(|data| Session { sid, pid, rooms, data });
                let saved = nsp.and_then(|nsp| Ok(nsp.persist_session(session?)));
                match saved {
                    Ok(saved) => {
                        self.under_way.spawn(async move {
                            if let Err(error) = saved.await {
                                shared.refused(number, "to store a session", &error.to_string());
                            }
                        });
                    }
                    Err(refusal) => shared.refused(number, "to store a session", &refusal.to_string()),
                }
                return Ok(());
            }
            b"R" => {
                let (pid, offset) = (fields.name()?, fields.name()?);
                let accepted = Arc::clone(&self.accepted);
                nsp.map(|nsp| {
                    Box::pin(nsp.restore_session(&pid, &offset, move |restored| {
                        let mut accepted = accepted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        accepted.push_back((call, restored));
                    })) as _
                })
            }
            _ => {
                let Some(nsp) = self.shared.remove(number) else { return Ok(()) };
                let closed = nsp.close();
                self.under_way.spawn(async move {
                    let error = closed.await.err().map(|error| error.to_string()).unwrap_or_default();
                    shared.queue.tell(|records| {
                        records.field("r").number(call).field(&error);
                    });
                });
                return Ok(());
            }
        };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let failure = match result {
                Ok(result) => result.await.err().map(Refusal::from),
                Err(refusal) => Some(refusal),
            };
            if let Some(failure) = failure {
                let text = plain(&failure.to_string());
                shared.queue.tell(|records| {
                    records.field("r").number(call).field(&text);
                });
            }
        });
        Ok(())
    }

    /// Answers another server.
    fn answer(&self, kind: &[u8], fields: &mut Fields) -> Result<(), Malformed> {
        let question: u64 = fields.number()?;
        match kind {
            b"C" => {
                let clients = fields.number()?;
                if let Some(responder) = self.shared.acks(question) {
                    drop(responder.clients(clients));
                }
            }
            b"K" => {
                let value = fields.value()?;
                if let (Some(responder), Ok(value)) = (self.shared.acks(question), value) {
                    drop(responder.send(value));
                }
            }
            b"M" => {
                let value = fields.value()?;
                if let (Some(Responder::Emit(responder)), Ok(value)) = (self.shared.answer(question), value) {
                    drop(responder.send(value));
                }
            }
            _ => {
                let count: usize = fields.number()?;
                let mut sockets = Vec::new();
                for _ in 0..count {
                    let (id, handshake) = (fields.name()?, fields.value()?);
                    let (rooms, data) = (fields.names()?, fields.value()?);
                    let empty = |_| Payload::empty_object();
                    let (handshake, data) = (handshake.unwrap_or_else(empty), data.unwrap_or_else(empty));
                    sockets.push(RemoteSocket { id, handshake, rooms, data });
                }
                if let Some(Responder::Sockets(responder)) = self.shared.answer(question) {
                    drop(responder.send_in_rooms(sockets));
                }
            }
        }
        Ok(())
    }
}

/// Makes a field of a text.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

async fn acks(asked: Queued<Acks>, call: u32, shared: Arc<Shared>) -> Result<(), Error> {
    let mut acks = asked.await?;
    while let Some((from, answer)) = acks.next_answer().await {
        let is_own = shared.own.is_some() && from == shared.own;
        shared.queue.tell(|records| match answer {
            // JavaScript counts its own clients at the call.
            Answer::ClientCount(_) if is_own => {}
            Answer::ClientCount(count) => {
                records.field("c").number(call).number(count);
            }
            Answer::Ack(value) => {
                records.field("k").number(call).value(&value);
            }
            _ => {}
        });
    }
    shared.queue.tell(|records| {
        records.field("r").number(call).field("");
    });
    Ok(())
}

/// Writes who has answered, and who has not: other servers than this one.
fn outcome(shared: &Shared, outcome: &Outcome) -> Value {
    let named = outcome.answered.iter().filter(|node| *node != shared.uid()).count() as u64;
    let missing = outcome.missing.len() as u64 + outcome.missing_unnamed;
    serde_json::json!({
        "answered": named + outcome.answered_unnamed, "missing": missing, "timedOut": outcome.timed_out,
    })
}

async fn sockets(asked: Queued<Sockets>, call: u32, shared: Arc<Shared>) -> Result<(), Error> {
    let found = asked.await?;
    shared.queue.tell(|records| {
        records.field("s").number(call);
        records.field(&outcome(&shared, &found.outcome).to_string()).number(found.sockets.len());
        for socket in &found.sockets {
            records.name(&socket.id).value(&socket.handshake).names(&socket.rooms).value(&socket.data);
        }
    });
    Ok(())
}

async fn rooms(asked: Queued<Names>, call: u32, shared: Arc<Shared>) -> Result<(), Error> {
    let found = asked.await?;
    shared.queue.tell(|records| {
        records.field("g").number(call);
        records.field(&outcome(&shared, &found.outcome).to_string()).names(&found.names);
    });
    Ok(())
}

async fn responses(asked: Queued<Responses>, call: u32, shared: Arc<Shared>) -> Result<(), Error> {
    let found = asked.await?;
    shared.queue.tell(|records| {
        records.field("m").number(call);
        records.field(&outcome(&shared, &found.outcome).to_string()).number(found.responses.len());
        for (_, value) in &found.responses {
            records.value(value);
        }
    });
    Ok(())
}
