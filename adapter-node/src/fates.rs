//! The fates of messages that nobody waits for.

use std::sync::Arc;

use sio_streams_driver::Publishing;
use tokio::sync::mpsc;

use crate::shared::Shared;

enum Item {
    Message(u32, &'static str, Publishing),
    /// Everything before it has its fate when the sender is dropped.
    Mark(std::sync::mpsc::Sender<()>),
}

/// Watches messages in their order, which is that of their fates as a rule. JavaScript is told of those
/// that were not published, or may not have been.
pub(crate) struct Fates(mpsc::UnboundedSender<Item>);

impl Fates {
    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let (watch, mut items) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(item) = items.recv().await {
                match item {
                    Item::Message(number, what, publishing) => {
                        if let Err(error) = publishing.await {
                            shared.refused(number, what, &error.to_string());
                        }
                    }
                    Item::Mark(mark) => drop(mark),
                }
            }
        });
        Fates(watch)
    }

    pub(crate) fn watch(&self, number: u32, what: &'static str, publishing: Publishing) {
        // The task ends with this, and not before.
        let _ = self.0.send(Item::Message(number, what, publishing));
    }

    pub(crate) fn known(&self, mark: std::sync::mpsc::Sender<()>) {
        let _ = self.0.send(Item::Mark(mark));
    }
}
