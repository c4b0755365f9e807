//! The results of a node's calls.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use sio_streams_core::{Answer, ByteString, EntryId, NodeId, Outcome, Payload, RemoteSocket};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;

use crate::error::Error;
use crate::observe;

/// The fate of a message: its id in the stream, if it has a place in one, or the reason that it was
/// not published.
pub(crate) type Fate = Result<Option<EntryId>, Error>;

/// The sockets that were found.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    /// The sockets of all nodes that answered, including this one.
    pub sockets: Vec<RemoteSocket>,
    /// The nodes that answered, and those that did not.
    pub outcome: Outcome,
}

/// The other servers' answers.
#[derive(Clone, Debug, Default)]
pub struct Responses {
    /// The value of each server, with the server's name. In the classic dialect answers have none.
    pub responses: Vec<(Option<NodeId>, Payload)>,
    /// The servers that answered, and those that did not.
    pub outcome: Outcome,
}

/// Names from all nodes that answered. Each name stands here once, and they are sorted.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The ids of sockets, or the names of rooms.
    pub names: Vec<ByteString>,
    /// The nodes that answered, and those that did not.
    pub outcome: Outcome,
}

/// A stream of clients' acknowledgements, in the order of their arrival. It ends when all have
/// arrived, or the time is up.
#[derive(Debug)]
pub struct Acks {
    pub(crate) answers: mpsc::UnboundedReceiver<(Option<NodeId>, Answer)>,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
}

impl Acks {
    /// Returns the next client's value, or `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Payload> {
        poll_fn(|context| self.poll_value(context)).await
    }

    /// Returns the next answer of a server, or `None` when there will be no more:
    /// [`Answer::ClientCount`], once from each server, with the number of its clients that were
    /// asked, and [`Answer::Ack`], one client's value. Values that this returns are not returned by
    /// [`next`](Acks::next), and counts that `next` has passed over are not returned by this.
    ///
    /// ```
    /// # use sio_streams_driver::{Event, memory::MemoryRedis, start};
    /// # use sio_streams_core::{Answer, BroadcastOptions, Config, Packet, Payload};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (node, mut events) = start(Config::default(), MemoryRedis::new().backend())?;
    /// # let chat = node.open("/chat").await?;
    /// chat.add_socket("ann");
    /// let packet = Packet::event("are you there?", &())?;
    /// let mut acks = chat.broadcast_with_ack(packet, BroadcastOptions::all()).await?;
    /// # tokio::spawn(async move {
    /// #     while let Some(event) = events.next().await {
    /// #         let Event::Broadcast(broadcast) = event else { continue };
    /// #         let _ = broadcast.responder.unwrap().send(Payload::encode("yes").unwrap()).await;
    /// #     }
    /// # });
    /// assert_eq!(acks.next_answer().await, Some((Some(node.uid().clone()), Answer::ClientCount(1))));
    /// assert_eq!(acks.next().await, Some(Payload::encode("yes")?));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next_answer(&mut self) -> Option<(Option<NodeId>, Answer)> {
        self.answers.recv().await
    }

    fn poll_value(&mut self, context: &mut Context<'_>) -> Poll<Option<Payload>> {
        loop {
            match ready!(self.answers.poll_recv(context)) {
                Some((_, Answer::Ack(value))) => return Poll::Ready(Some(value)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }

    /// Returns a stream with one item for each client that was asked, for frameworks whose users
    /// count them: the values, in the order of their arrival, and at the end `None` for each client
    /// whose value has not come in time.
    ///
    /// A server says how many clients it has asked, and may say anything: after the first
    /// [`MAX_MISSING`](Acks::MAX_MISSING) missing clients the stream ends. If the request could not
    /// be published, nobody was asked; that is logged.
    pub fn with_missing(self) -> impl Stream<Item = Option<Payload>> + Send {
        let Acks { answers, outcome } = self;
        let values = stream::unfold(answers, async |mut answers| {
            loop {
                if let Answer::Ack(value) = answers.recv().await?.1 {
                    return Some((Some(value), answers));
                }
            }
        });
        let missing = outcome.map(|outcome| {
            let outcome = outcome.unwrap_or_default();
            outcome.error.iter().for_each(observe::not_asked);
            let missing = outcome.clients.saturating_sub(outcome.acks);
            stream::iter((0..missing.min(Acks::MAX_MISSING)).map(|_| None))
        });
        values.chain(missing.flatten_stream())
    }

    /// The number of missing clients that [`with_missing`](Acks::with_missing) tells at most.
    pub const MAX_MISSING: u64 = 100_000;

    /// Waits for the end, and returns all values with the outcome.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn all(mut self) -> Result<(Vec<Payload>, Outcome), Error> {
        let mut values = Vec::new();
        while let Some(value) = self.next().await {
            values.push(value);
        }
        Ok((values, self.outcome().await?))
    }

    /// Waits for the end, and returns the outcome.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn outcome(self) -> Result<Outcome, Error> {
        self.outcome.await.map_err(|_| Error::Closed)
    }
}

impl Stream for Acks {
    type Item = Payload;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Payload>> {
        self.poll_value(cx)
    }
}
