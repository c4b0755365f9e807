//! This module shows the server in Socket.IO's [admin UI](https://socket.io/docs/v4/admin-ui/),
//! which runs on a Node server of the cluster.
//!
//! The page lists servers by the statistics that each of them broadcasts into the namespace of
//! `@socket.io/admin-ui`: [`report`] does so. The page finds sockets by `fetchSockets` in every
//! namespace: the answers need a [`Handshake`](crate::Handshake), and data with the [`Connection`]
//! in it, which [`SocketData`] adds. The page's commands (emit, join, leave, disconnect) are
//! ordinary events of the node.
//!
//! ```
//! # use sio_streams_driver::{Options, memory::MemoryRedis, start};
//! use sio_streams_driver::admin_ui::{self, Counts};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (node, _events) = start(Options::default(), MemoryRedis::new().backend())?;
//! let admin = node.open("/admin").await?;
//! let server_id = node.uid().to_string();
//! tokio::spawn(async move {
//!     let namespaces = || vec![("/".into(), 2)];
//!     let counts = || Counts { clients: 2, polling_clients: 0, namespaces: namespaces() };
//!     admin_ui::report(&admin, &server_id, counts).await
//! });
//! # Ok(())
//! # }
//! ```
//!
//! Clients don't come into `/admin` on this server: a page connects to a Node server. So this
//! server answers questions there with no sockets.

use core::time::Duration;
use std::process;

use serde::{Serialize, Serializer};
use sio_streams_core::{BroadcastOptions, ByteString, CallError, Packet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::Error;
use crate::namespace::Namespace;

/// The time between two statistics. The page takes a server for unhealthy if it misses some.
const INTERVAL: Duration = Duration::from_secs(2);

/// The number of characters of a client's id that the page shows.
const CLIENT_ID: usize = 12;

/// The numbers that change while a server runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of clients' connections.
    pub clients: u64,
    /// The number of those that use long polling.
    pub polling_clients: u64,
    /// The namespaces, and the numbers of sockets in them.
    pub namespaces: Vec<(ByteString, u64)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statistics<'a> {
    server_id: &'a str,
    hostname: &'a str,
    pid: u32,
    uptime: f64,
    clients_count: u64,
    polling_clients_count: u64,
    aggregated_events: [(); 0],
    namespaces: Vec<InNamespace<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InNamespace<'a> {
    name: &'a str,
    sockets_count: u64,
}

/// Broadcasts this server's statistics into the namespace of the admin UI, at once and every two
/// seconds, until that is closed. Returns the reason of the end. Dropping the future ends it, too;
/// it holds the node until then.
///
/// The page lists the server as `server_id`, which no other server may have: the
/// [node's name](crate::Node::uid) will do. The server's uptime is the time since this was called.
/// The page's chart of events stays empty.
///
/// Statistics that could not be published are not repeated: the next ones say everything again.
/// While Redis is away, one message waits in line for up to
/// [`Limits::in_flight_for`](sio_streams_core::Limits::in_flight_for). It may go out late, with old
/// figures. No further statistics are made until its fate is known.
pub async fn report(admin: &Namespace, server_id: &str, mut counts: impl FnMut() -> Counts) -> Error {
    let (started, hostname) = (Instant::now(), gethostname::gethostname());
    let mut turns = interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Counts { clients, polling_clients, namespaces } = counts();
        let statistics = Statistics {
            server_id,
            hostname: &hostname.to_string_lossy(),
            pid: process::id(),
            uptime: started.elapsed().as_secs_f64(),
            clients_count: clients,
            polling_clients_count: polling_clients,
            aggregated_events: [],
            namespaces: namespaces
                .iter()
                .map(|(name, sockets_count)| InNamespace { name, sockets_count: *sockets_count })
                .collect(),
        };
        let packet = Packet::event("server_stats", &(statistics,)).expect("texts and numbers can be written");
        // A failure to publish is counted and logged.
        let published = admin.broadcast(packet, BroadcastOptions::all()).await;
        if let Err(error @ (Error::Closed | Error::Call(CallError::UnknownNamespace(_)))) = published {
            return error;
        }
    }
}

/// A client's connection, as the page shows it with each of the client's sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The id of the connection. A client's sockets in several namespaces have the same. The page
    /// gets its first twelve characters, as a Node server gives no more away.
    #[serde(serialize_with = "shortened")]
    pub client_id: String,
    /// The transport: `websocket`, `polling` or `webtransport`.
    pub transport: &'static str,
}

fn shortened<S: Serializer>(id: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let end = id.char_indices().nth(CLIENT_ID).map_or(id.len(), |(end, _)| end);
    serializer.serialize_str(&id[..end])
}

/// A socket's data, with the connection where the page looks for it. To be encoded as the data of a
/// [`LocalSocket`](crate::LocalSocket).
///
/// ```
/// use sio_streams_driver::Payload;
/// use sio_streams_driver::admin_ui::{Connection, SocketData};
///
/// #[derive(serde::Serialize)]
/// struct User {
///     name: &'static str,
/// }
///
/// let client_id = "lv8PB1a6I0kZxQbRAAAB".to_owned();
/// let connection = Connection { client_id, transport: "websocket" };
/// let data = SocketData { connection: connection.clone(), data: User { name: "ann" } };
/// let expected = r#"{"_admin":{"clientId":"lv8PB1a6I0kZ","transport":"websocket"},"name":"ann"}"#;
/// assert_eq!(Payload::encode(&data).unwrap().to_json(), expected);
///
/// // Without any data of the application.
/// let expected = r#"{"_admin":{"clientId":"lv8PB1a6I0kZ","transport":"websocket"}}"#;
/// assert_eq!(Payload::encode(&SocketData { connection, data: () }).unwrap().to_json(), expected);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SocketData<T> {
    /// The client's connection, named `_admin`.
    #[serde(rename = "_admin")]
    pub connection: Connection,
    /// The application's data, which must be written as an object.
    #[serde(flatten)]
    pub data: T,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryRedis;
    use crate::{Event, Options, start};

    #[tokio::test(start_paused = true)]
    async fn statistics_come_at_once_and_every_two_seconds_until_the_namespace_is_closed() {
        let redis = MemoryRedis::new();
        let (node, _events) = start(Options::default(), redis.backend()).unwrap();
        let (page, mut events) = start(Options::default(), redis.backend()).unwrap();
        page.open("/admin").await.unwrap();
        let admin = node.open("/admin").await.unwrap();
        let (reported, mut clients) = (admin.clone(), 0);
        let reporting = tokio::spawn(async move {
            let counts = || {
                clients += 1;
                Counts { clients, polling_clients: 1, namespaces: vec![("/".into(), clients)] }
            };
            report(&reported, "a", counts).await
        });
        let mut came = Vec::new();
        for number in 1..=3 {
            let statistics: serde_json::Value = loop {
                let Some(Event::Broadcast(it)) = events.next().await else { continue };
                assert_eq!(
                    (&*it.nsp, it.packet.data().event_name().as_deref()),
                    ("/admin", Some("server_stats"))
                );
                break it.packet.data().arg(0).unwrap();
            };
            came.push(Instant::now());
            assert_eq!(statistics["serverId"], "a");
            assert_eq!(statistics["pid"], process::id());
            assert_eq!(statistics["clientsCount"], number);
            assert_eq!(statistics["pollingClientsCount"], 1);
            assert_eq!(statistics["aggregatedEvents"], serde_json::json!([]));
            assert_eq!(
                statistics["namespaces"],
                serde_json::json!([{ "name": "/", "socketsCount": number }])
            );
            assert!(statistics["hostname"].is_string() && statistics["uptime"].is_number(), "{statistics}");
        }
        assert!(came[2] - came[0] >= INTERVAL, "{came:?}");
        admin.close().await.unwrap();
        let end = reporting.await.unwrap();
        assert!(matches!(end, Error::Call(CallError::UnknownNamespace(_))), "{end}");
    }
}
