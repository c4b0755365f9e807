//! The loss of a connection.

use tokio::sync::watch;

/// The reason that a connection is lost, once it is. A client crate's task sets it, and its
/// [`Wire`](super::Wire) reads it. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Gone(watch::Sender<Option<String>>);

impl Gone {
    /// Creates one for a connection that is not lost.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the connection is lost. Only the first reason is kept.
    pub fn set(&self, why: impl Into<String>) {
        self.0.send_if_modified(|known| {
            let news = known.is_none();
            known.get_or_insert_with(|| why.into());
            news
        });
    }

    /// Returns the reason, if the connection is lost.
    pub fn get(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Completes when the connection is lost, and returns the reason.
    pub async fn wait(&self) -> String {
        let mut changes = self.0.subscribe();
        // The sender lives as long as `self`, so that waiting can't fail.
        match changes.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the connection was closed".to_owned(),
        }
    }
}
