//! Adds and reads the same entries by bare clients: a lower bound for a node's input and output.
//!
//! An entry's data is made once, by the same encoder as a node's. Nothing of what is read is
//! decoded but the field that numbers a node's entries, which bears the time here.

use core::future::Future;

use sio_streams_core::wire::entry::{SEQUENCE_FIELD, encode};
use sio_streams_core::{Body, BroadcastOptions, ByteString, Bytes, Message, NodeId};

use super::{Ear, IN_FLIGHT, MAX_LEN, pace, send, serve};
use crate::peers::job::{Job, Payload};
use crate::peers::{Result, packet};

/// The stream that is added to and read from.
const STREAM: &str = "socket.io";

/// Entries that are added by one pipeline.
const PIPELINE: usize = 500;

/// Entries that are read at a time, at most.
const READ: usize = 1_000;

/// A command: its words.
pub(super) type Words = Vec<Bytes>;

/// Opens connections.
pub(super) trait Connect {
    /// Adds.
    type Writer: Write;
    /// Reads.
    type Reader: Read;

    /// A connection to add by.
    fn writer(&self) -> impl Future<Output = Result<Self::Writer>>;

    /// Another to read by.
    fn reader(&self) -> impl Future<Output = Result<Self::Reader>>;
}

/// Adds entries.
pub(super) trait Write {
    /// Sends commands together, and waits for all replies.
    fn pipeline(&self, commands: Vec<Words>) -> impl Future<Output = Result<()>>;
}

/// Reads entries.
pub(super) trait Read: Send + 'static {
    /// Sends XREAD, and waits for its reply. `each` is given the id and the time of every entry.
    fn read(
        &mut self,
        command: Words,
        each: impl FnMut(&[u8], &[u8]) + Send,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The position of the time among the arguments of an entry.
pub(super) const TIME: usize = 9;

/// `reads_all`: from the start, as a node reads its own entries back; otherwise from the first time
/// on that it is told to receive.
pub(super) async fn run<C: Connect>(client: &C, reads_all: bool) -> Result<()> {
    let writer = client.writer().await?;
    let ear = Ear::default();
    let mut reads = false;
    if reads_all {
        follow(client, &ear).await?;
        reads = true;
    }
    serve(async |job| match job {
        Job::Tell => Err("not for a client".into()),
        Job::Receive { count, timed } => {
            if !reads {
                follow(client, &ear).await?;
                reads = true;
            }
            ear.listen(count, timed).await
        }
        Job::Send { count, payload } => {
            let add = add(payload)?;
            let count = usize::try_from(count)?;
            let sizes = (0..count.div_ceil(PIPELINE)).map(|at| PIPELINE.min(count - at * PIPELINE));
            let work = sizes.map(|size| writer.pipeline((0..size).map(|_| add(0)).collect()));
            send(work, IN_FLIGHT / PIPELINE).await
        }
        Job::Pace { count, rate, payload } => {
            let add = add(payload)?;
            pace(count, rate, |now| Ok(writer.pipeline(vec![add(now)]))).await
        }
    })
    .await
}

/// Makes the XADD that a node would send.
fn add(payload: Payload) -> Result<impl Fn(u64) -> Words> {
    let message = Message {
        uid: NodeId::new("d0a1b2c3d4e5f607"),
        nsp: "/".into(),
        body: Body::Broadcast {
            packet: packet(0, payload)?,
            opts: BroadcastOptions::all(),
            request_id: None,
        },
    };
    let fields = encode(&message)?;
    let mut words: Words = ["XADD", STREAM, "MAXLEN", "~"].map(Bytes::from_static_str).into();
    words.extend([Bytes::from(MAX_LEN.to_string()), Bytes::from_static(b"*")]);
    words.extend(fields.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
    words.push(Bytes::from_static(SEQUENCE_FIELD.as_bytes()));
    Ok(move |now: u64| {
        let mut words = words.clone();
        words.push(Bytes::from(now.to_string()));
        words
    })
}

/// Reads the stream from its beginning to the end of the process.
async fn follow(client: &impl Connect, ear: &Ear) -> Result<()> {
    let (mut reader, ear) = (client.reader().await?, ear.clone());
    tokio::spawn(async move {
        let mut cursor = ByteString::from_static("0-0");
        loop {
            let command = ["XREAD", "BLOCK", "5000", "COUNT"].map(Bytes::from_static_str).into_iter();
            let command = command.chain([Bytes::from(READ.to_string())]);
            let command = command.chain(["STREAMS", STREAM].map(Bytes::from_static_str));
            let command = command.chain([cursor.as_bytes().clone()]).collect();
            let mut last = Vec::new();
            let read = reader.read(command, |id, time| {
                last.clear();
                last.extend_from_slice(id);
                ear.heard(|| super::number(time));
            });
            match read.await {
                Ok(()) => {}
                // The listener waits in vain, and reports it.
                Err(error) => return super::complain(&error),
            }
            if !last.is_empty() {
                cursor = String::from_utf8_lossy(&last).into_owned().into();
            }
        }
    });
    Ok(())
}

/// [`Bytes::from_static`] of a text, as a function that can be mapped.
trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes())
    }
}
