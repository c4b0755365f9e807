//! A front for a server of ours, for real clients: Engine.IO and Socket.IO over WebSocket, as far
//! as the tests need it.
//!
//! No acknowledgements. A client that sends a session and an offset when it connects is recovered,
//! if that can be done; a client whose connection ends without a word leaves a session behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sio_streams_driver::sio_streams_core::wire::{FrameReader, Frames, Received};
use sio_streams_driver::sio_streams_core::{Restored, Session};
use sio_streams_driver::{Namespace, Node};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::Message;

use crate::ours::{Socket, State, lock};
use crate::value::{from_payload, to_payload};

/// The interval of pings to a client. One that hears nothing for much longer gives its connection
/// up.
const PING_INTERVAL: Duration = Duration::from_secs(25);

/// The frames to a client.
pub(crate) type Line = mpsc::UnboundedSender<Message>;

/// Sends a packet. A client that is gone gets it when it is back.
pub(crate) fn send(line: &Line, frames: Frames) {
    let _ = line.send(Message::text(format!("4{}", frames.text)));
    for attachment in frames.attachments {
        let _ = line.send(Message::binary(attachment));
    }
}

/// Takes clients until the server is gone.
pub(crate) async fn serve(listener: TcpListener, node: Node, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(tokio::spawn(client(stream, node.clone(), state.clone())));
    }
}

/// A client's socket in a namespace.
struct Connected {
    nsp: Namespace,
    sid: String,
    pid: String,
}

async fn client(stream: TcpStream, node: Node, state: Arc<Mutex<State>>) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut to_client, mut from_client) = socket.split();
    let (line, mut frames) = mpsc::unbounded_channel::<Message>();
    let hello = json!({ "sid": random_id(), "upgrades": [], "pingInterval": PING_INTERVAL.as_millis() as u64,
        "pingTimeout": 20_000, "maxPayload": 1_000_000 });
    let _ = line.send(Message::text(format!("0{hello}")));
    let writing = tokio::spawn(async move {
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        loop {
            let frame = tokio::select! {
                frame = frames.recv() => frame,
                _ = pings.tick() => Some(Message::text("2")),
            };
            let Some(frame) = frame else { return };
            if to_client.send(frame).await.is_err() {
                return;
            }
        }
    });
    let mut connected: Vec<Connected> = Vec::new();
    let mut reader = FrameReader::default();
    while let Some(Ok(message)) = from_client.next().await {
        let packet = match &message {
            Message::Text(text) => match text.strip_prefix('4') {
                Some(frame) => reader.text(frame),
                None => continue,
            },
            Message::Binary(frame) => reader.binary(frame.clone()),
            _ => continue,
        };
        match packet {
            Ok(Some(Received::Connect { nsp, auth })) => {
                let auth = auth.and_then(|auth| auth.decode().ok()).unwrap_or_default();
                connected.extend(connect(node.namespace(nsp), &auth, &line, &state).await);
            }
            // A client that leaves by itself leaves nothing behind.
            Ok(Some(Received::Disconnect { nsp })) => {
                if let Some(at) = connected.iter().position(|one| *one.nsp.name() == *nsp) {
                    let one = connected.remove(at);
                    let _ = one.nsp.remove_socket(one.sid).await;
                }
            }
            Ok(_) => {}
            Err(error) => {
                lock(&state).log.push(error.to_string());
                break;
            }
        }
    }
    writing.abort();
    for one in connected {
        keep_session(one, &state).await;
    }
}

/// A client wants to be in a namespace: where it was, if it was there, or anew.
async fn connect(nsp: Namespace, auth: &Value, line: &Line, state: &Arc<Mutex<State>>) -> Option<Connected> {
    if let (Some(pid), Some(offset)) = (auth["pid"].as_str(), auth["offset"].as_str()) {
        let (sender, known, name) = (line.clone(), state.clone(), nsp.name().to_owned());
        // Runs in its place among the events: what comes afterwards finds the socket.
        let accept = move |restored: Restored| {
            let Session { sid, pid, data, .. } = restored.session;
            send(&sender, Frames::connect(&name, &sid, Some(&pid)));
            restored.missed.iter().for_each(|missed| send(&sender, missed.frames()));
            let socket = Socket::real(from_payload(&data), sender);
            lock(&known).sockets.insert(sid.to_string(), socket);
            (sid.to_string(), pid.to_string())
        };
        match nsp.restore_session(pid, offset, accept).await {
            Ok((sid, pid)) => return Some(Connected { nsp, sid, pid }),
            Err(error) => lock(state).log.push(error.to_string()),
        }
    }
    let (sid, pid) = (random_id(), random_id());
    let socket = Socket::real(json!({}), line.clone());
    lock(state).sockets.insert(sid.clone(), socket);
    nsp.add_socket(sid.clone()).await.ok()?;
    send(line, Frames::connect(nsp.name(), &sid, Some(&pid)));
    Some(Connected { nsp, sid, pid })
}

/// The connection was lost: the client may come back.
async fn keep_session(one: Connected, state: &Mutex<State>) {
    let Connected { nsp, sid, pid } = one;
    let rooms = nsp.rooms(sid.clone()).await.ok().flatten().unwrap_or_default();
    let data = lock(state).sockets.remove(&sid).map(|socket| socket.data).unwrap_or_default();
    let _ = nsp.remove_socket(sid.clone()).await;
    let session = Session { sid: sid.into(), pid: pid.into(), rooms, data: to_payload(&data) };
    if let Err(error) = nsp.persist_session(session).await {
        lock(state).log.push(error.to_string());
    }
}

/// Twenty characters, as Node's ids have.
fn random_id() -> String {
    core::iter::repeat_with(fastrand::alphanumeric).take(20).collect()
}
