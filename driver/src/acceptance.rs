//! Restored sessions on their way to the application.

use std::sync::{Arc, Mutex, PoisonError};

use sio_streams_core::{NotRecovered, Restored};
use tokio::sync::oneshot;

use crate::event::Event;

/// An action that is taken among the events, in its place. It may have an event as its result.
pub(crate) type Act = Box<dyn FnOnce() -> Option<Event> + Send>;

/// Hands a client over to the application. Returns `false` if the application has panicked.
type Accept = Box<dyn FnOnce(Restored) -> bool + Send>;

/// A caller that waits for a session to be restored.
pub(crate) struct Acceptance {
    /// Tells the caller whether the session was restored. If so, it has its place among the events
    /// by then.
    told: oneshot::Sender<Result<(), NotRecovered>>,
    accept: Accept,
    place: Place,
}

/// The place of a restored session among the events. It waits there until it is accepted or
/// withdrawn.
#[derive(Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<(Restored, Accept)>>>);

impl Place {
    fn replace(&self, waiting: Option<(Restored, Accept)>) -> Option<(Restored, Accept)> {
        core::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), waiting)
    }

    /// Takes the session back, unless it has been accepted. It will not be accepted then.
    pub(crate) fn withdraw(&self) -> Option<Restored> {
        self.replace(None).map(|(restored, _)| restored)
    }
}

impl Acceptance {
    pub(crate) fn new(
        told: oneshot::Sender<Result<(), NotRecovered>>,
        accept: impl FnOnce(Restored) -> bool + Send + 'static,
        place: Place,
    ) -> Self {
        Acceptance { told, accept: Box::new(accept), place }
    }

    /// Tells the caller the result. If the session was restored, this returns the action that
    /// accepts it.
    pub(crate) fn settle(self, result: Result<Restored, NotRecovered>) -> Option<Act> {
        let Acceptance { told, accept, place } = self;
        let restored = match result {
            Ok(restored) => restored,
            Err(reason) => {
                // The caller may have lost interest.
                let _ = told.send(Err(reason));
                return None;
            }
        };
        place.replace(Some((restored, accept)));
        let _ = told.send(Ok(()));
        Some(Box::new(move || {
            let (restored, accept) = place.replace(None)?;
            let (nsp, socket) = (restored.nsp.clone(), restored.session.sid.clone());
            accept(restored).then_some(Event::Accepted { nsp, socket })
        }))
    }
}
