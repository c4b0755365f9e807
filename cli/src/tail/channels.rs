//! Follows the channels of Pub/Sub.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sio_streams_driver::backend::{BoxedBackend, BoxedConnection, Connection as _, PushReceiver, PushSender};
use sio_streams_driver::sio_streams_core::{ByteString, Command, CommandError, Lane, Reply, escape_glob};
use tokio::sync::mpsc::Sender;
use tokio::time::MissedTickBehavior;

use super::Item;
use super::record::Language;
use super::retry::{Link, Over, execute};
use super::when::{When, now};

/// The number of messages, and of their bytes, that wait for the printer. What comes beyond is
/// skipped, so that the server need not keep it.
const WAITING: (usize, usize) = (50_000, 64 << 20);

/// The number of messages in a batch.
const BATCH: usize = 256;

/// The interval at which sharded channels are looked for. No pattern subscribes to them.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    pub(super) backend: Arc<BoxedBackend>,
    pub(super) language: Language,
    pub(super) prefix: String,
    pub(super) sharded: bool,
    /// The channels whose subscribers are counted are followed, too.
    pub(super) counted: bool,
    pub(super) until: Option<When>,
    pub(super) items: Sender<Item>,
}

impl Follower {
    fn patterns(&self) -> Vec<ByteString> {
        let prefix = escape_glob(&self.prefix);
        let kinds: &[&str] = match self.language {
            Language::Classic => &["", "-request", "-response"],
            _ => &[""],
        };
        kinds.iter().map(|kind| format!("{prefix}{kind}#*").into()).collect()
    }

    /// Returns `true` if servers count the subscribers of this channel: it belongs to a namespace,
    /// and to no room or server in it.
    fn is_counted(&self, channel: &str) -> bool {
        let rest = channel.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('#'));
        rest.and_then(|rest| rest.strip_suffix('#')).is_none_or(|nsp| !nsp.contains('#'))
    }

    /// Follows the channels until the end, or until nobody listens any more.
    pub(super) async fn run(self) {
        let end = async {
            match self.until {
                Some(until) => {
                    let left = until.last().ms.saturating_add(1).saturating_sub(now());
                    tokio::time::sleep(Duration::from_millis(left)).await;
                }
                None => core::future::pending().await,
            }
        };
        tokio::select! {
            // It has told the printer why.
            Err(Over) = self.follow() => {}
            () = end => {}
        }
    }

    async fn follow(&self) -> Result<(), Over> {
        let (queue, mut pushes) = PushSender::bounded(WAITING.0, WAITING.1);
        let skipped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&skipped);
        let sender = PushSender::to(move |channel, payload| match queue.has_room() {
            true => queue.send(channel, payload),
            false => drop(counter.fetch_add(1, Ordering::Relaxed)),
        });
        let patterns = self.patterns().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let subject = format!("channels {patterns}");
        let mut link = Link::new(Arc::clone(&self.backend), subject.clone(), self.items.clone());
        let keep = self.keep(&mut link, &sender, subject);
        tokio::select! {
            result = keep => result,
            result = pass_on(&self.items, &mut pushes, &skipped) => result,
        }
    }

    /// Keeps a connection with the subscriptions.
    async fn keep(&self, link: &mut Link, sender: &PushSender, subject: String) -> Result<(), Over> {
        let mut announced = Some(subject);
        loop {
            let mut connection = link.open(&Lane::Subscriber, sender).await?;
            let lost = match self.sharded {
                true => self.keep_sharded(link, &mut connection, &mut announced).await?,
                false => self.keep_patterns(link, &mut connection, &mut announced).await?,
            };
            link.failed(lost).await?;
        }
    }

    async fn ready(&self, link: &mut Link, announced: &mut Option<String>) -> Result<(), Over> {
        link.works(", without what was published meanwhile").await?;
        match announced.take() {
            Some(mut subject) => {
                if self.sharded && !self.counted {
                    subject.push_str(" (of rooms and single servers only: see --counted)");
                }
                link.send(Item::Ready(subject)).await
            }
            None => Ok(()),
        }
    }

    /// Subscribes by patterns. Returns the reason for which the connection is of no use any more.
    async fn keep_patterns(
        &self,
        link: &mut Link,
        connection: &mut BoxedConnection,
        announced: &mut Option<String>,
    ) -> Result<CommandError, Over> {
        let subscribe = Command::PSubscribe { patterns: self.patterns() };
        if let Err(error) = execute(connection, vec![subscribe], Duration::ZERO).await {
            return Ok(error);
        }
        self.ready(link, announced).await?;
        Ok(CommandError::Lost(connection.lost().await))
    }

    /// Subscribes to the sharded channels that there are, and looks for others. Returns the reason
    /// for which the connection is of no use any more.
    async fn keep_sharded(
        &self,
        link: &mut Link,
        connection: &mut BoxedConnection,
        announced: &mut Option<String>,
    ) -> Result<CommandError, Over> {
        let mut asking = link.open(&Lane::Writer, &PushSender::to(|_, _| {})).await?;
        let mut followed = HashSet::new();
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reason = connection.lost() => return Ok(CommandError::Lost(reason)),
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.look(&mut asking, connection, &mut followed).await {
                return Ok(error);
            }
            self.ready(link, announced).await?;
        }
    }

    /// Subscribes to the channels that are new, and leaves those that nobody else hears.
    async fn look(
        &self,
        asking: &mut BoxedConnection,
        connection: &mut BoxedConnection,
        followed: &mut HashSet<ByteString>,
    ) -> Result<(), CommandError> {
        let pattern = format!("{}#*", escape_glob(&self.prefix)).into();
        let channels = Command::PubSubChannels { pattern, sharded: true };
        let mut new = Vec::new();
        if let [Reply::Channels(channels)] = &execute(asking, vec![channels], Duration::ZERO).await?[..] {
            let wanted = |channel: &&ByteString| self.counted || !self.is_counted(channel);
            new.extend(channels.iter().filter(wanted).filter(|name| !followed.contains(*name)).cloned());
        }
        let known: Vec<ByteString> = followed.iter().cloned().collect();
        let mut left = Vec::new();
        if !known.is_empty() {
            let count = Command::PubSubNumSub { channels: known.clone(), sharded: true };
            if let [Reply::Counts(counts)] = &execute(asking, vec![count], Duration::ZERO).await?[..] {
                left.extend(
                    known.into_iter().zip(counts).filter(|(_, count)| **count <= 1).map(|(name, _)| name),
                );
            }
        }
        let mut changes = Vec::new();
        if !new.is_empty() {
            changes.push(Command::Subscribe { channels: new.clone(), sharded: true });
        }
        if !left.is_empty() {
            changes.push(Command::Unsubscribe { channels: left.clone(), sharded: true });
        }
        if !changes.is_empty() {
            execute(connection, changes, Duration::ZERO).await?;
        }
        followed.extend(new);
        followed.retain(|name| !left.contains(name));
        Ok(())
    }
}

/// Passes messages on in batches, and says how many were skipped.
async fn pass_on(items: &Sender<Item>, pushes: &mut PushReceiver, skipped: &AtomicU64) -> Result<(), Over> {
    while let Some(push) = pushes.recv().await {
        let mut batch = vec![push];
        while batch.len() < BATCH
            && let Some(push) = pushes.try_recv()
        {
            batch.push(push);
        }
        items.send(Item::Pushes(batch, now())).await.map_err(|_| Over)?;
        let missed = skipped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let text = format!("{missed} messages were skipped: they came faster than they were shown");
            items.send(Item::Notice(text)).await.map_err(|_| Over)?;
        }
    }
    Err(Over)
}

#[cfg(test)]
mod tests {
    use sio_streams_redis_rs::RedisBackend;

    use super::*;

    #[tokio::test]
    async fn what_was_skipped_is_counted() {
        let (sender, mut pushes) = PushSender::bounded(10, 1_000);
        for _ in 0..2 {
            sender.send("c".into(), "m".into());
        }
        let (items, mut received) = tokio::sync::mpsc::channel(2);
        let skipped = AtomicU64::new(3);
        drop(sender);
        assert!(pass_on(&items, &mut pushes, &skipped).await.is_err());
        assert!(matches!(received.recv().await, Some(Item::Pushes(pushes, _)) if pushes.len() == 2));
        assert!(matches!(received.recv().await, Some(Item::Notice(text)) if text.starts_with("3 messages")));
    }

    #[test]
    fn the_channels_of_namespaces_are_those_that_are_counted() {
        let (items, _) = tokio::sync::mpsc::channel(1);
        let backend = Arc::new(BoxedBackend::new(RedisBackend::new("redis://127.0.0.1:1").unwrap()));
        let prefix = "so*cket".to_owned();
        let language = Language::Sharded;
        let follower =
            Follower { backend, language, prefix, sharded: true, counted: false, until: None, items };
        assert!(follower.is_counted("so*cket#/#") && follower.is_counted("so*cket#/chat#"));
        assert!(!follower.is_counted("so*cket#/#room#") && !follower.is_counted("so*cket#/#a#b#"));
        assert!(follower.is_counted("other"));
        assert_eq!(follower.patterns(), ["so\\*cket#*"]);
    }
}
