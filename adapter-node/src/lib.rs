//! The native part of the adapter for Socket.IO's own server on Node.js.
//!
//! JavaScript makes one call for each turn of its loop, with all that it has to say, and takes what
//! there is for it, a part at a time. `docs/decisions/0019-one-call-for-each-turn.md` has the reasons.

mod calls;
mod fates;
mod fields;
mod options;
mod queue;
mod records;
mod shared;
mod told;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use napi::bindgen_prelude::{Buffer, Function, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::calls::{Calls, Input};
use crate::options::Settings;
use crate::queue::Queue;
use crate::shared::Shared;

/// A part of what waits for JavaScript: records, and the binary values that belong to them.
#[napi(object)]
#[allow(missing_debug_implementations, reason = "a buffer of JavaScript has none")]
pub struct Part {
    /// The records.
    pub text: String,
    /// The binary values.
    pub attachments: Vec<Buffer>,
}

/// A node of the cluster.
#[napi(js_name = "Node")]
#[derive(Debug)]
pub struct NativeNode {
    uid: String,
    inputs: UnboundedSender<Input>,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[napi]
impl NativeNode {
    /// Starts a node. `wake` is called when there is something to take again.
    #[napi(constructor)]
    pub fn new(options: String, wake: Function<'_, (), ()>) -> napi::Result<Self> {
        let settings = Settings::read(&options).map_err(error)?;
        let wake = wake.build_threadsafe_function::<()>().build()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sio-streams")
            .enable_all()
            .build()
            .map_err(error)?;
        let inside = runtime.enter();
        let (node, events) = settings.start().map_err(error)?;
        let queue = Queue::new(Box::new(move || {
            // If JavaScript's loop has ended, nobody is left to be woken.
            let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }));
        let shared = Arc::new(Shared::new(queue, &node));
        let accepted = told::Accepted::default();
        tokio::spawn(told::take(events, Arc::clone(&shared), Arc::clone(&accepted)));
        let (inputs, taken) = unbounded_channel();
        let uid = node.uid().to_string();
        tokio::spawn(Calls::new(node, Arc::clone(&shared), accepted).take(taken));
        drop(inside);
        Ok(NativeNode { uid, inputs, shared, runtime: Some(runtime) })
    }

    /// Returns the node's name in the cluster.
    #[napi(getter)]
    pub fn uid(&self) -> String {
        self.uid.clone()
    }

    /// Makes the calls of a batch, in their order.
    #[napi]
    pub fn send(&self, text: String, attachments: Vec<Uint8Array>) {
        let attachments = attachments.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
        // A node that is closed takes nothing more.
        let _ = self.inputs.send(Input::Batch(text, attachments));
    }

    /// Takes the next part of what waits, if there is any. Otherwise `wake` will be called.
    #[napi]
    pub fn take(&self) -> Option<Part> {
        let records = self.shared.queue.take()?;
        let attachments = records.attachments.iter().map(|bytes| bytes.to_vec().into()).collect();
        let text = String::from_utf8(records.text);
        let text = text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Some(Part { text, attachments })
    }

    /// Waits until everything that was said has its fate, or the time is up. It blocks the thread: it is
    /// for a process that is about to exit.
    #[napi]
    pub fn drain(&self, millis: u32) {
        let (mark, done) = std::sync::mpsc::channel();
        if self.inputs.send(Input::Drain(mark)).is_ok() {
            // Nothing is ever sent: the channel only ends.
            let _ = done.recv_timeout(Duration::from_millis(millis.into()));
        }
    }

    /// Ends all tasks, and lets go of JavaScript's function. A node that has not been closed leaves
    /// the cluster without a word.
    #[napi]
    pub fn stop(&mut self) {
        self.shared.queue.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for NativeNode {
    fn drop(&mut self) {
        self.stop();
    }
}

fn error(reason: impl core::fmt::Display) -> napi::Error {
    napi::Error::from_reason(reason.to_string())
}
