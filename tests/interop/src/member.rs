//! A server of the cluster, of either implementation, with the same operations for tests.

use serde_json::Value;

use crate::types::{Acks, Received, Responses, Select, ServerSideReply, SocketInfo};
use crate::{OurServer, Peer, Result, eventually};

/// A server: Node's or ours.
#[derive(Debug)]
pub enum Member {
    /// A real Node server.
    Node(Box<Peer>),
    /// A server of ours.
    Ours(Box<OurServer>),
}

/// Hands a call on to either kind, awaiting where the server is in another process.
macro_rules! either {
    ($self:ident, $name:ident($($arg:expr),*)) => {
        match $self {
            Member::Node(peer) => peer.$name($($arg),*).await,
            Member::Ours(ours) => ours.$name($($arg),*).await,
        }
    };
}

impl From<Peer> for Member {
    fn from(peer: Peer) -> Self {
        Member::Node(Box::new(peer))
    }
}

impl From<OurServer> for Member {
    fn from(ours: OurServer) -> Self {
        Member::Ours(Box::new(ours))
    }
}

impl Member {
    /// A client connects; its socket's id.
    pub async fn connect(&self, nsp: &str) -> Result<String> {
        match self {
            Member::Node(peer) => Ok(peer.connect(nsp).await?.sid),
            Member::Ours(ours) => ours.connect(nsp).await,
        }
    }

    /// The events that a client has received.
    pub async fn client_received(&self, sid: &str) -> Result<Vec<Received>> {
        match self {
            Member::Node(peer) => peer.client_received(sid).await,
            Member::Ours(ours) => Ok(ours.client_received(sid)),
        }
    }

    /// Waits until a client has got this many events of this name; returns all of them.
    pub async fn wait_client_event(&self, sid: &str, event: &str, count: usize) -> Result<Vec<Received>> {
        eventually(&format!("{count} {event:?} at the client {sid}"), || async {
            let mut received = self.client_received(sid).await.ok()?;
            received.retain(|received| received.event == event);
            (received.len() >= count).then_some(received)
        })
        .await
    }

    /// Waits until a client was disconnected.
    pub async fn wait_disconnected(&self, sid: &str) -> Result<()> {
        eventually(&format!("the client {sid} to be disconnected"), || async {
            match self {
                Member::Node(peer) => {
                    peer.client_disconnected(sid, 0).await.is_ok_and(|client| client.disconnected)
                }
                Member::Ours(ours) => ours.client_disconnected(sid),
            }
        })
        .await
    }

    /// Sets how a client answers an event; with `None` it does not answer.
    pub async fn client_ack(&self, sid: &str, event: &str, reply: Option<Value>) -> Result<()> {
        match self {
            Member::Node(peer) => peer.client_ack(sid, event, reply).await,
            Member::Ours(ours) => {
                ours.client_ack(sid, event, reply);
                Ok(())
            }
        }
    }

    /// A socket joins rooms.
    pub async fn server_join(&self, nsp: &str, sid: &str, rooms: &[&str]) -> Result<()> {
        match self {
            Member::Node(peer) => peer.server_join(sid, rooms).await,
            Member::Ours(ours) => ours.server_join(nsp, sid, rooms).await,
        }
    }

    /// The rooms of a socket, in order.
    pub async fn rooms(&self, nsp: &str, sid: &str) -> Result<Vec<String>> {
        let mut rooms = match self {
            Member::Node(peer) => {
                let members = peer.rooms(nsp).await?;
                let has = |(_, sids): &(String, Vec<String>)| sids.iter().any(|other| other == sid);
                members.into_iter().filter(has).map(|(room, _)| room).collect()
            }
            Member::Ours(ours) => ours.rooms(nsp, sid).await?,
        };
        rooms.sort();
        Ok(rooms)
    }

    /// Waits until a socket is, or is not, in a room.
    pub async fn wait_room(&self, nsp: &str, sid: &str, room: &str, within: bool) -> Result<()> {
        eventually(&format!("{sid} in {room}: {within}"), || async {
            self.rooms(nsp, sid).await.is_ok_and(|rooms| rooms.iter().any(|other| other == room) == within)
        })
        .await
    }

    /// Sets a socket's data.
    pub async fn set_data(&self, sid: &str, data: Value) -> Result<()> {
        match self {
            Member::Node(peer) => peer.set_data(sid, data).await,
            Member::Ours(ours) => {
                ours.set_data(sid, data);
                Ok(())
            }
        }
    }

    /// Broadcasts.
    pub async fn emit(&self, to: &Select, event: &str, args: &[Value]) -> Result<()> {
        either!(self, emit(to, event, args))
    }

    /// Broadcasts and collects acknowledgements.
    pub async fn emit_with_ack(&self, to: &Select, event: &str, args: &[Value]) -> Result<Acks> {
        either!(self, emit_with_ack(to, event, args))
    }

    /// Makes sockets join rooms.
    pub async fn sockets_join(&self, to: &Select, rooms: &[&str]) -> Result<()> {
        either!(self, sockets_join(to, rooms))
    }

    /// Makes sockets leave rooms.
    pub async fn sockets_leave(&self, to: &Select, rooms: &[&str]) -> Result<()> {
        either!(self, sockets_leave(to, rooms))
    }

    /// Disconnects sockets.
    pub async fn disconnect_sockets(&self, to: &Select, close: bool) -> Result<()> {
        either!(self, disconnect_sockets(to, close))
    }

    /// Finds sockets.
    pub async fn fetch_sockets(&self, to: &Select) -> Result<Vec<SocketInfo>> {
        either!(self, fetch_sockets(to))
    }

    /// Emits to the other servers.
    pub async fn server_side_emit(&self, nsp: &str, event: &str, args: &[Value]) -> Result<()> {
        either!(self, server_side_emit(nsp, event, args))
    }

    /// Emits to the other servers and collects their answers.
    pub async fn server_side_emit_with_ack(
        &self,
        nsp: &str,
        event: &str,
        args: &[Value],
    ) -> Result<Responses> {
        either!(self, server_side_emit_with_ack(nsp, event, args))
    }

    /// Sets the handling of a server-side event.
    pub async fn on_server_side(&self, nsp: &str, event: &str, reply: ServerSideReply) -> Result<()> {
        match self {
            Member::Node(peer) => peer.on_server_side(nsp, event, reply).await,
            Member::Ours(ours) => {
                ours.on_server_side(nsp, event, reply);
                Ok(())
            }
        }
    }

    /// Waits until this many server-side events of this name have come; returns all of them.
    pub async fn wait_server_side(&self, nsp: &str, event: &str, count: usize) -> Result<Vec<Received>> {
        eventually(&format!("{count} server-side {event:?}"), || async {
            let mut received = match self {
                Member::Node(peer) => peer.server_side_received(nsp).await.ok()?,
                Member::Ours(ours) => ours.server_side_received(nsp),
            };
            received.retain(|received| received.event == event);
            (received.len() >= count).then_some(received)
        })
        .await
    }

    /// The number of servers.
    pub async fn server_count(&self, nsp: &str) -> Result<u64> {
        match self {
            Member::Node(peer) => Ok(peer.server_count(nsp).await? as u64),
            Member::Ours(ours) => ours.server_count(nsp).await,
        }
    }

    /// Waits until the server counts this many servers.
    pub async fn wait_server_count(&self, nsp: &str, count: u64) -> Result<()> {
        eventually(&format!("{count} servers in {nsp}"), || async {
            self.server_count(nsp).await.ok() == Some(count)
        })
        .await
    }

    /// Leaves the cluster.
    pub async fn close(self) -> Result<()> {
        match self {
            Member::Node(peer) => peer.close().await,
            Member::Ours(ours) => {
                ours.close().await;
                Ok(())
            }
        }
    }

    /// Dies without a word.
    pub async fn kill(self) {
        match self {
            Member::Node(peer) => peer.kill().await,
            Member::Ours(ours) => ours.vanish(),
        }
    }
}
