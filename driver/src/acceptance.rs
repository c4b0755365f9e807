//! A session that was restored, on its way to the application.

use std::sync::{Arc, Mutex, PoisonError};

use sio_streams_core::{NotRecovered, Restored};
use tokio::sync::oneshot;

type Accept = Box<dyn FnOnce(Restored) + Send>;

/// What waits for a session to be restored.
pub(crate) struct Acceptance {
    /// Whether it was. It is in its place among the events then.
    told: oneshot::Sender<Result<(), NotRecovered>>,
    accept: Accept,
    place: Place,
}

/// Where a restored session waits among the events, until it is accepted or withdrawn.
#[derive(Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<(Restored, Accept)>>>);

impl Place {
    fn put(&self, waiting: Option<(Restored, Accept)>) -> Option<(Restored, Accept)> {
        core::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), waiting)
    }

    /// Takes back the session, if it has not been accepted. It will not be.
    pub(crate) fn withdraw(&self) -> Option<Restored> {
        self.put(None).map(|(restored, _)| restored)
    }
}

impl Acceptance {
    pub(crate) fn new(
        told: oneshot::Sender<Result<(), NotRecovered>>,
        accept: impl FnOnce(Restored) + Send + 'static,
        place: Place,
    ) -> Self {
        Acceptance { told, accept: Box::new(accept), place }
    }

    /// It is known what came of it: what is to be done where the events are taken.
    pub(crate) fn settle(self, result: Result<Restored, NotRecovered>) -> Option<Box<dyn FnOnce() + Send>> {
        let Acceptance { told, accept, place } = self;
        let restored = match result {
            Ok(restored) => restored,
            Err(reason) => {
                // Whoever asked may be gone.
                let _ = told.send(Err(reason));
                return None;
            }
        };
        place.put(Some((restored, accept)));
        let _ = told.send(Ok(()));
        Some(Box::new(move || {
            if let Some((restored, accept)) = place.put(None) {
                accept(restored);
            }
        }))
    }
}
