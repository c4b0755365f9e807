//! A link that can be cut: a backend around another one.
//!
//! This cuts any backend in the same way, the one in memory and a real one, whatever lies between
//! it and its server.

use std::sync::Arc;

use sio_streams_driver::backend::{Backend, ConnectError, Connection, PushSender};
use sio_streams_driver::sio_streams_core::{Command, CommandError, Lane, Reply};
use tokio::sync::watch;

/// Words for a connection that this module has closed.
const CUT: &str = "the link is cut";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    cut: bool,
    /// The number of times that it was cut. A connection from before a cut stays dead when the link
    /// is restored.
    cuts: u64,
}

/// Cuts and restores.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: Arc<watch::Sender<State>>,
    refusal: Arc<watch::Sender<Option<String>>>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Link { state: Arc::new(watch::Sender::default()), refusal: Arc::new(watch::Sender::default()) }
    }

    /// Closes all connections, and refuses new ones.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| *state = State { cut: true, cuts: state.cuts + 1 });
    }

    /// Allows connections again.
    pub(crate) fn restore(&self) {
        self.state.send_modify(|state| state.cut = false);
    }

    /// Waits until a connection could not be opened. Returns the reason.
    pub(crate) async fn refused(&self) -> String {
        let mut refusal = self.refusal.subscribe();
        match refusal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => core::future::pending().await,
        }
    }

    /// `backend`, by way of this link.
    pub(crate) fn around<B>(&self, backend: B) -> Linked<B> {
        Linked { backend, link: self.clone() }
    }
}

/// A backend by way of a link.
#[derive(Debug)]
pub(crate) struct Linked<B> {
    backend: B,
    link: Link,
}

/// A connection by way of a link.
#[derive(Debug)]
pub(crate) struct LinkedConnection<C> {
    /// `None` once the link has been cut.
    connection: Option<C>,
    opened: State,
    state: watch::Receiver<State>,
}

impl<B: Backend> Backend for Linked<B> {
    type Connection = LinkedConnection<B::Connection>;

    async fn connect(&self, lane: &Lane, pushes: PushSender) -> Result<Self::Connection, ConnectError> {
        let mut state = self.link.state.subscribe();
        let opened = *state.borrow_and_update();
        if opened.cut {
            return Err(ConnectError(CUT.into()));
        }
        match self.backend.connect(lane, pushes).await {
            Ok(connection) => Ok(LinkedConnection { connection: Some(connection), opened, state }),
            Err(error) => {
                self.link.refusal.send_replace(Some(error.to_string()));
                Err(error)
            }
        }
    }
}

/// Completes when the link has been cut since.
async fn cut_since(opened: State, state: &mut watch::Receiver<State>) {
    if state.wait_for(|state| state.cuts != opened.cuts).await.is_err() {
        // No handle is left that could cut it.
        core::future::pending::<()>().await;
    }
}

impl<C: Connection> Connection for LinkedConnection<C> {
    async fn execute(&mut self, commands: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
        let count = commands.len();
        if self.state.borrow().cuts != self.opened.cuts {
            self.connection = None;
        }
        let Some(connection) = &mut self.connection else {
            return vec![Err(CommandError::NotSent(CUT.into())); count];
        };
        tokio::select! {
            biased;
            () = cut_since(self.opened, &mut self.state) => {}
            replies = connection.execute(commands) => return replies,
        }
        self.connection = None;
        vec![Err(CommandError::Lost(CUT.into())); count]
    }

    async fn lost(&mut self) -> String {
        let Some(connection) = &mut self.connection else { return CUT.into() };
        tokio::select! {
            biased;
            () = cut_since(self.opened, &mut self.state) => {}
            reason = connection.lost() => return reason,
        }
        self.connection = None;
        CUT.into()
    }
}
