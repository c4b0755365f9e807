//! Transactions: what a client has queued, to be executed at once or not at all.

use std::collections::BTreeSet;

use bytestring::ByteString;
use sio_streams_core::{Command, CommandError, Reply};

use crate::{ClientId, Executed, RedisModel, errors};

/// The replies to the commands of a transaction, in order.
pub type Replies = Vec<Result<Reply, CommandError>>;

/// The transaction that a client has begun.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    /// The commands since `MULTI`.
    queued: Option<Vec<Command>>,
    /// One was refused when it was to be queued.
    spoilt: bool,
    watched: BTreeSet<ByteString>,
    /// One of the watched keys has changed.
    changed: bool,
}

impl RedisModel {
    /// `MULTI`: what the client [executes](Self::execute) from now on is only queued, which is
    /// answered by [`Reply::Done`], until [`exec`](Self::exec) or [`discard`](Self::discard). What
    /// would block then has no entries at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sio_streams_core::{Command, Reply};
    /// use sio_streams_redis_model::{Executed, RedisModel};
    ///
    /// let mut redis = RedisModel::new();
    /// let (client, other) = (redis.connect(), redis.connect());
    /// let set = Command::Set { key: "key".into(), value: "value".into(), px: Duration::from_secs(60) };
    /// let get = Command::GetDel { key: "key".into() };
    /// redis.multi(client).unwrap();
    /// for command in [&set, &get] {
    ///     assert_eq!(redis.execute(1_000, client, command), Executed::Reply(Ok(Reply::Done)));
    /// }
    /// // Nothing has happened yet.
    /// assert_eq!(redis.execute(1_000, other, &get), Executed::Reply(Ok(Reply::Value(None))));
    /// let replies = redis.exec(1_000, client).unwrap().unwrap();
    /// assert_eq!(replies, [Ok(Reply::Done), Ok(Reply::Value(Some("value".into())))]);
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] if the client has begun a transaction already, which goes on then;
    /// [`CommandError::NotSent`] as for any command.
    pub fn multi(&mut self, client: ClientId) -> Result<(), CommandError> {
        self.hears(client)?;
        let transaction = self.transactions.entry(client).or_default();
        if transaction.queued.is_some() {
            return Err(errors::generic("MULTI calls can not be nested"));
        }
        transaction.queued = Some(Vec::new());
        Ok(())
    }

    /// `WATCH`: the client's next transaction is executed only if these keys do not change before.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] in a transaction, which goes on then; [`CommandError::NotSent`] as
    /// for any command.
    pub fn watch(&mut self, now_ms: u64, client: ClientId, keys: &[ByteString]) -> Result<(), CommandError> {
        self.hears(client)?;
        if self.is_queueing(client) {
            return Err(errors::generic("WATCH inside MULTI is not allowed"));
        }
        for key in keys {
            self.expire(now_ms, key);
        }
        self.transactions.entry(client).or_default().watched.extend(keys.iter().cloned());
        Ok(())
    }

    /// `DISCARD`: what is queued is forgotten, and what is watched.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] without a transaction; [`CommandError::NotSent`] as for any
    /// command.
    pub fn discard(&mut self, client: ClientId) -> Result<(), CommandError> {
        self.hears(client)?;
        if !self.is_queueing(client) {
            return Err(errors::generic("DISCARD without MULTI"));
        }
        self.transactions.remove(&client);
        Ok(())
    }

    /// `EXEC`: executes what is queued, with nothing in between. Each command has its own reply,
    /// which may be an error: the others are executed all the same. `None`: nothing was executed,
    /// because a watched key had changed.
    ///
    /// # Errors
    ///
    /// [`CommandError::Server`] without a transaction, and with `EXECABORT` if a command was
    /// refused when it was to be queued, or would be [refused](Self::refuse_with) now: then nothing
    /// was executed. [`CommandError::NotSent`] as for any command.
    pub fn exec(&mut self, now_ms: u64, client: ClientId) -> Result<Option<Replies>, CommandError> {
        self.handle_timeout(now_ms);
        self.hears(client)?;
        let watched = self.transactions.get(&client).map(|transaction| transaction.watched.clone());
        for key in watched.iter().flatten() {
            self.expire(now_ms, key);
        }
        if !self.is_queueing(client) {
            return Err(errors::generic("EXEC without MULTI"));
        }
        let Transaction { queued, spoilt, changed, .. } =
            self.transactions.remove(&client).unwrap_or_default();
        let queued = queued.unwrap_or_default();
        if let Some(refusal) = queued.iter().find_map(|command| self.refusal_of(command)) {
            return Err(errors::aborted(&format!("because of: {}", errors::words(refusal))));
        }
        if spoilt {
            return Err(errors::aborted("because of previous errors."));
        }
        if changed {
            return Ok(None);
        }
        self.unserved = Some(Vec::new());
        let mut replies = Vec::new();
        for command in &queued {
            // Nothing blocks while there are streams to be served.
            if let Executed::Reply(reply) = self.run(now_ms, client, command) {
                replies.push(reply);
            }
        }
        for stream in self.unserved.take().into_iter().flatten() {
            self.serve(&stream);
        }
        Ok(Some(replies))
    }

    fn is_queueing(&self, client: ClientId) -> bool {
        self.transactions.get(&client).is_some_and(|transaction| transaction.queued.is_some())
    }

    /// Queues a command, if the client has begun a transaction.
    pub(crate) fn queue(&mut self, client: ClientId, command: &Command) -> bool {
        let queued = self.transactions.get_mut(&client).and_then(|transaction| transaction.queued.as_mut());
        // A command that is not the server's is for the owner of the connections.
        let Some(queued) = queued.filter(|_| !matches!(command, Command::Release { .. })) else {
            return false;
        };
        queued.push(command.clone());
        true
    }

    /// A command of the client's was refused.
    pub(crate) fn spoil(&mut self, client: ClientId) {
        if let Some(transaction) = self.transactions.get_mut(&client) {
            transaction.spoilt |= transaction.queued.is_some();
        }
    }

    /// A key has changed.
    pub(crate) fn touched(&mut self, key: &str) {
        for transaction in self.transactions.values_mut() {
            transaction.changed |= transaction.watched.contains(key);
        }
    }
}
