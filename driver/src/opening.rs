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
            Err(CallError::NamespaceInUse(_))
                if !self.opening.contains_key(&nsp) && !self.opened.contains_key(&nsp) =>
            {
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

#[cfg(test)]
mod tests {
    use sio_streams_core::Config;

    use super::*;

    type Told = oneshot::Receiver<Result<(), Error>>;

    struct Node {
        engine: Engine,
        openings: Openings,
    }

    impl Node {
        fn new() -> Self {
            let engine = Engine::new(Config::default(), 1, Time::ZERO).unwrap();
            Node { engine, openings: Openings::default() }
        }

        fn open(&mut self) -> (Token, Told) {
            let (token, (done, told)) = (Token::default(), oneshot::channel());
            self.openings.open(&mut self.engine, Time::ZERO, "/".into(), Arc::clone(&token), done);
            (token, told)
        }

        fn close(&mut self) -> Told {
            let (done, told) = oneshot::channel();
            self.openings.close(&mut self.engine, Time::ZERO, "/".into(), done);
            told
        }

        fn stream(&self) -> ByteString {
            self.engine.streams("/").next().unwrap().clone()
        }

        fn is_open(&self) -> bool {
            self.engine.rooms("/").is_some()
        }
    }

    fn is_waiting(told: &mut Told) -> bool {
        matches!(told.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn a_namespace_is_open_when_it_is_heard_and_may_be_read() {
        for heard_first in [true, false] {
            let mut node = Node::new();
            let (_, mut told) = node.open();
            let stream = node.stream();
            for heard in [heard_first, !heard_first] {
                assert!(is_waiting(&mut told));
                match heard {
                    true => node.openings.ready(&node.engine, &"/".into()),
                    false => node.openings.readable(&node.engine, stream.clone(), true),
                }
            }
            assert!(matches!(told.try_recv(), Ok(Ok(()))));
        }
    }

    #[test]
    fn a_stream_that_may_not_be_read_any_more_does_not_count() {
        let mut node = Node::new();
        let (_, mut told) = node.open();
        let stream = node.stream();
        node.openings.readable(&node.engine, stream.clone(), true);
        node.openings.readable(&node.engine, stream.clone(), false);
        node.openings.ready(&node.engine, &"/".into());
        assert!(is_waiting(&mut told));
        node.openings.readable(&node.engine, stream.clone(), true);
        assert!(matches!(told.try_recv(), Ok(Ok(()))));
    }

    #[test]
    fn only_the_attempt_that_opened_a_namespace_takes_it_back() {
        let mut node = Node::new();
        let (token, mut told) = node.open();
        let (second, mut refused) = node.open();
        assert!(matches!(refused.try_recv(), Ok(Err(Error::Call(_)))));
        node.openings.abandon(&mut node.engine, Time::ZERO, &"/".into(), &second);
        assert!(node.is_open() && is_waiting(&mut told));
        node.openings.abandon(&mut node.engine, Time::ZERO, &"/".into(), &token);
        assert!(!node.is_open());
        assert!(matches!(told.try_recv(), Ok(Err(Error::ClosedMeanwhile(_)))));
    }

    #[test]
    fn an_attempt_waits_for_an_earlier_namespace_of_the_name() {
        let mut node = Node::new();
        let (_, mut first) = node.open();
        let mut closed = node.close();
        assert!(matches!(first.try_recv(), Ok(Err(Error::ClosedMeanwhile(_)))));
        let ((_, mut second), (given_up, mut third)) = (node.open(), node.open());
        assert!(is_waiting(&mut second) && is_waiting(&mut third) && is_waiting(&mut closed));
        node.openings.abandon(&mut node.engine, Time::ZERO, &"/".into(), &given_up);
        assert!(matches!(third.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        // The engine would tell that the namespace is closed.
        let mut fresh = Engine::new(Config::default(), 2, Time::ZERO).unwrap();
        node.openings.closed(&mut fresh, Time::ZERO, &"/".into());
        assert!(matches!(closed.try_recv(), Ok(Ok(()))));
        assert!(is_waiting(&mut second) && fresh.rooms("/").is_some());
    }
}
