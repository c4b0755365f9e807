//! Namespaces that are being opened or closed, and the callers that wait for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use sio_streams_core::{ByteString, CallError, Engine, Time};
use tokio::sync::oneshot;

use crate::error::Error;

/// Identifies one attempt to open a namespace.
pub(crate) type Token = Arc<()>;

pub(crate) type Done = oneshot::Sender<Result<(), Error>>;

/// An attempt to open a namespace.
#[derive(Debug)]
struct Attempt {
    token: Token,
    done: Done,
    /// The node hears everything in the namespace. It remains to be seen that its streams may be
    /// read.
    ready: bool,
}

/// The state of the namespaces that are being opened or closed.
///
/// A caller may have lost interest by the time it is told. So it does not matter whether sending to
/// it succeeds.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    opening: HashMap<ByteString, Attempt>,
    /// The attempts that have opened the namespaces that are open.
    opened: HashMap<ByteString, Token>,
    closing: HashMap<ByteString, Vec<Done>>,
    /// Attempts that wait until an earlier namespace of the same name is closed.
    queued: HashMap<ByteString, VecDeque<(Token, Done)>>,
    /// The streams that the server has let be read.
    readable: BTreeSet<ByteString>,
}

impl Openings {
    /// Opens a namespace. If an earlier one of the name is being closed, this waits for it.
    pub(crate) fn open(&mut self, engine: &mut Engine, now: Time, nsp: ByteString, token: Token, done: Done) {
        match engine.open_namespace(now, &nsp) {
            Ok(()) => drop(self.opening.insert(nsp, Attempt { token, done, ready: false })),
            Err(CallError::NamespaceInUse(_)) if engine.rooms(&nsp).is_none() => {
                self.queued.entry(nsp).or_default().push_back((token, done));
            }
            Err(error) => drop(done.send(Err(error.into()))),
        }
    }

    /// Takes an attempt back: its caller waits no longer, or has dropped the namespace that it got.
    pub(crate) fn abandon(&mut self, engine: &mut Engine, now: Time, nsp: &ByteString, token: &Token) {
        if let Some(queued) = self.queued.get_mut(nsp) {
            queued.retain(|(other, _)| !Arc::ptr_eq(other, token));
            if queued.is_empty() {
                self.queued.remove(nsp);
            }
        }
        let opening = self.opening.get(nsp).map(|attempt| &attempt.token);
        if opening.or(self.opened.get(nsp)).is_some_and(|other| Arc::ptr_eq(other, token)) {
            // For the engine it is open, so that this can't fail.
            let _ = self.leave(engine, now, nsp);
        }
    }

    /// Closes a namespace. The caller is told when it is closed.
    pub(crate) fn close(&mut self, engine: &mut Engine, now: Time, nsp: ByteString, done: Done) {
        match self.leave(engine, now, &nsp) {
            Ok(()) => self.closing.entry(nsp).or_default().push(done),
            Err(error) => drop(done.send(Err(error.into()))),
        }
    }

    fn leave(&mut self, engine: &mut Engine, now: Time, nsp: &ByteString) -> Result<(), CallError> {
        engine.close_namespace(now, nsp)?;
        self.opened.remove(nsp);
        if let Some(attempt) = self.opening.remove(nsp) {
            let _ = attempt.done.send(Err(Error::ClosedMeanwhile(nsp.clone())));
        }
        Ok(())
    }

    /// Notes that the node hears everything in a namespace.
    pub(crate) fn ready(&mut self, engine: &Engine, nsp: &ByteString) {
        if let Some(attempt) = self.opening.get_mut(nsp) {
            attempt.ready = true;
        }
        self.tell_opened(engine);
    }

    /// Notes whether the server lets a stream be read.
    pub(crate) fn readable(&mut self, engine: &Engine, stream: ByteString, readable: bool) {
        match readable {
            true => drop(self.readable.insert(stream)),
            false => drop(self.readable.remove(&stream)),
        }
        self.tell_opened(engine);
    }

    /// Forgets a stream that is not read any more.
    pub(crate) fn forget(&mut self, stream: &ByteString) {
        self.readable.remove(stream);
    }

    /// Tells the callers whose namespaces are open now.
    fn tell_opened(&mut self, engine: &Engine) {
        let Openings { opening, opened, readable, .. } = self;
        let readable = |stream: &ByteString| readable.contains(stream);
        let is_open =
            |nsp: &ByteString, attempt: &mut Attempt| attempt.ready && engine.streams(nsp).all(readable);
        for (nsp, Attempt { token, done, .. }) in opening.extract_if(is_open) {
            opened.insert(nsp, token);
            // If this fails, the call that abandons the attempt is on its way.
            let _ = done.send(Ok(()));
        }
    }

    /// Notes that a namespace is closed.
    pub(crate) fn closed(&mut self, engine: &mut Engine, now: Time, nsp: &ByteString) {
        for done in self.closing.remove(nsp).into_iter().flatten() {
            let _ = done.send(Ok(()));
        }
        for (token, done) in self.queued.remove(nsp).into_iter().flatten() {
            self.open(engine, now, nsp.clone(), token, done);
        }
    }
}
