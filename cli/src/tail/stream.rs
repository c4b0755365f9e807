//! Follows a stream.

use std::sync::Arc;
use std::time::Duration;

use sio_streams_driver::backend::{BoxedBackend, BoxedConnection, PushSender};
use sio_streams_driver::sio_streams_core::{ByteString, Command, Entry, EntryId, Lane, Reply, StreamInfo};
use tokio::sync::mpsc::Sender;

use super::Item;
use super::place::Place;
use super::retry::{Link, Over, execute};
use super::when::{When, now};

/// The time for which a read waits for an entry.
const BLOCK: Duration = Duration::from_secs(5);

/// The size of a reply that is aimed at, in bytes.
const REPLY: usize = 2 << 20;

/// The first number of entries that is asked for. Later ones follow from the entries' sizes.
const FIRST: u32 = 100;

/// The largest number of entries that is asked for at once.
const MOST: u32 = 5_000;

/// The reason to give up a connection whose replies don't fit the commands.
const UNEXPECTED: &str = "the replies are not those of the commands";

pub(super) struct Follower {
    link: Link,
    stream: Arc<str>,
    key: ByteString,
    from: Option<When>,
    until: Option<EntryId>,
    place: Option<Place>,
    count: u32,
}

impl Follower {
    pub(super) fn new(
        backend: Arc<BoxedBackend>,
        name: &str,
        from: Option<When>,
        until: Option<When>,
        items: Sender<Item>,
    ) -> Self {
        Follower {
            link: Link::new(backend, name.to_owned(), items),
            stream: name.into(),
            key: name.into(),
            from,
            until: until.map(When::last),
            place: None,
            count: FIRST,
        }
    }

    /// Follows the stream to its end, or until nobody listens any more.
    pub(super) async fn run(mut self) {
        // It has told the printer why.
        let (Ok(()) | Err(Over)) = self.follow().await;
    }

    async fn follow(&mut self) -> Result<(), Over> {
        let lane = Lane::Reader(self.key.clone());
        // A reader is sent no messages.
        let pushes = PushSender::to(|_, _| {});
        loop {
            let mut connection = self.link.open(&lane, &pushes).await?;
            let mut place = match self.place {
                Some(place) => place,
                None => match self.begin(&mut connection).await? {
                    Some(place) => place,
                    None => continue,
                },
            };
            loop {
                let block = match self.until {
                    Some(until) => BLOCK.min(Duration::from_millis(until.ms.saturating_sub(now()).max(1))),
                    None => BLOCK,
                };
                let read =
                    Command::XRead { stream: self.key.clone(), after: place.after, count: self.count, block };
                let info = Command::XInfoStream { stream: self.key.clone() };
                let replies = match execute(&mut connection, vec![read, info], block).await {
                    Ok(replies) => replies,
                    Err(error) => {
                        // The reply may have been too large for something on the way.
                        self.count = 1;
                        self.link.failed(error).await?;
                        break;
                    }
                };
                let Ok([Reply::Entries(entries), Reply::Stream(info)]) = <[Reply; 2]>::try_from(replies)
                else {
                    self.link.lost(UNEXPECTED).await?;
                    break;
                };
                self.link.works("").await?;
                if self.pass_on(&mut place, entries, info.as_ref()).await? {
                    return Ok(());
                }
                self.place = Some(place);
            }
        }
    }

    /// Finds the place to start at. Returns `None` if the connection is of no use.
    async fn begin(&mut self, connection: &mut BoxedConnection) -> Result<Option<Place>, Over> {
        let info = Command::XInfoStream { stream: self.key.clone() };
        let info = match execute(connection, vec![info], Duration::ZERO).await.as_deref() {
            Ok([Reply::Stream(info)]) => *info,
            Ok(_) => {
                self.link.lost(UNEXPECTED).await?;
                return Ok(None);
            }
            Err(error) => {
                self.link.failed(error.clone()).await?;
                return Ok(None);
            }
        };
        self.link.works("").await?;
        let place = match self.from {
            Some(from) => Place::behind(from.before()),
            None => Place::end_of(info.as_ref()),
        };
        self.place = Some(place);
        let absent = if info.is_none() { " (which does not exist yet)" } else { "" };
        self.link.send(Item::Ready(format!("{}{absent}", self.stream))).await?;
        Ok(Some(place))
    }

    /// Passes entries on, and says what is missing before them. Returns `true` at the end.
    async fn pass_on(
        &mut self,
        place: &mut Place,
        mut entries: Vec<Entry>,
        info: Option<&StreamInfo>,
    ) -> Result<bool, Over> {
        if entries.is_empty() {
            if place.is_ahead_of(info) {
                place.restart();
                let text = "the stream was deleted, or went back: reading it from its beginning";
                self.link.say(format!("{}: {text}", self.stream)).await?;
                return Ok(false);
            }
            return Ok(self.until.is_some_and(|until| now() > until.ms));
        }
        let size: usize = entries.iter().map(|entry| entry.fields.size()).sum();
        let fits = REPLY / (size / entries.len()).max(1);
        self.count = u32::try_from(fits).unwrap_or(MOST).clamp(1, MOST);
        if let Some(gap) = place.advance(&entries, info) {
            self.link.send(Item::Gap { stream: Arc::clone(&self.stream), gap }).await?;
        }
        let mut over = false;
        if let Some(until) = self.until {
            entries.retain(|entry| entry.id <= until);
            let at_end = info.is_none_or(|info| info.last_generated_id <= place.after) && now() > until.ms;
            over = place.after >= until || at_end;
        }
        self.link.send(Item::Entries { stream: Arc::clone(&self.stream), entries }).await?;
        Ok(over)
    }
}
