//! Namespaces that are on their way in, or out: who waits for it, and what happens if nobody does any more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sio_streams_core::{ByteString, CallError};
use tokio::sync::oneshot;

use crate::node::Error;
use crate::run::Run;

/// Tells one attempt to open a namespace from all others.
pub(crate) type Token = Arc<()>;

pub(crate) type Done = oneshot::Sender<Result<(), Error>>;

/// An attempt to open a namespace.
#[derive(Debug)]
struct Attempt {
    token: Token,
    done: Done,
    /// The node hears everything in it. What is left is to know that its streams may be read.
    heard: bool,
}

/// The namespaces that are neither closed nor simply open.
#[derive(Debug, Default)]
pub(crate) struct Comings {
    opening: HashMap<ByteString, Attempt>,
    /// Which attempt has opened each namespace that is open.
    opened: HashMap<ByteString, Token>,
    closing: HashMap<ByteString, Vec<Done>>,
    /// Attempts that wait for an earlier namespace of the name to be closed.
    queued: HashMap<ByteString, VecDeque<(Token, Done)>>,
}

impl Run {
    /// Opens a namespace, when it is closed.
    pub(crate) fn open(&mut self, nsp: ByteString, token: Token, done: Done) {
        match self.engine.open_namespace(self.now(), &nsp) {
            Ok(()) => drop(self.comings.opening.insert(nsp, Attempt { token, done, heard: false })),
            // An earlier one is on its way out.
            Err(CallError::NamespaceInUse(_)) if self.engine.rooms(&nsp).is_none() => {
                self.comings.queued.entry(nsp).or_default().push_back((token, done));
            }
            // Whoever asked may be gone.
            Err(error) => drop(done.send(Err(error.into()))),
        }
    }

    /// Nobody waits for this attempt any more, or has what came of it.
    pub(crate) fn abandon(&mut self, nsp: &ByteString, token: &Token) {
        if let Some(queued) = self.comings.queued.get_mut(nsp) {
            queued.retain(|(other, _)| !Arc::ptr_eq(other, token));
            if queued.is_empty() {
                self.comings.queued.remove(nsp);
            }
        }
        let opening = self.comings.opening.get(nsp).map(|attempt| &attempt.token);
        if opening.or(self.comings.opened.get(nsp)).is_some_and(|other| Arc::ptr_eq(other, token)) {
            // It is open, as far as the engine is concerned.
            let _ = self.leave(nsp);
        }
    }

    /// Closes a namespace. Whoever waits for it to open is told.
    fn leave(&mut self, nsp: &ByteString) -> Result<(), CallError> {
        self.engine.close_namespace(self.now(), nsp)?;
        self.comings.opened.remove(nsp);
        if let Some(attempt) = self.comings.opening.remove(nsp) {
            let _ = attempt.done.send(Err(Error::ClosedMeanwhile(nsp.clone())));
        }
        Ok(())
    }

    /// Closes a namespace, for somebody who waits until it is.
    pub(crate) fn close_namespace(&mut self, nsp: ByteString, done: Done) {
        match self.leave(&nsp) {
            Ok(()) => self.comings.closing.entry(nsp).or_default().push(done),
            Err(error) => drop(done.send(Err(error.into()))),
        }
    }

    /// The node hears everything in the namespace.
    pub(crate) fn is_heard(&mut self, nsp: &ByteString) {
        if let Some(attempt) = self.comings.opening.get_mut(nsp) {
            attempt.heard = true;
        }
        self.tell_the_opened();
    }

    /// Tells those whose namespaces are open: everything in them is heard, and the server has let their streams be read.
    pub(crate) fn tell_the_opened(&mut self) {
        let Run { engine, comings, readable, .. } = self;
        let readable = |stream: &ByteString| readable.contains(stream);
        let opened =
            |nsp: &ByteString, attempt: &mut Attempt| attempt.heard && engine.streams(nsp).all(readable);
        for (nsp, Attempt { token, done, .. }) in comings.opening.extract_if(opened) {
            comings.opened.insert(nsp, token);
            // If nobody waits any more, the attempt is abandoned just now.
            let _ = done.send(Ok(()));
        }
    }

    /// The namespace is closed.
    pub(crate) fn is_left(&mut self, nsp: &ByteString) {
        for done in self.comings.closing.remove(nsp).into_iter().flatten() {
            let _ = done.send(Ok(()));
        }
        for (token, done) in self.comings.queued.remove(nsp).into_iter().flatten() {
            self.open(nsp.clone(), token, done);
        }
    }
}
