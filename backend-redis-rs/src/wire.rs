//! A connection on which the redis crate has logged in.

use sio_streams_core::CommandError;
use sio_streams_driver::wire::{Args, RespWire, Subscription, TaskWire, Value, Wire};

use crate::direct::Socket;

/// A connection to Redis. It is closed when it is dropped.
#[derive(Debug)]
pub struct RedisWire(pub(crate) Link);

#[derive(Debug)]
// There are few of them.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Link {
    Direct(RespWire<Socket>),
    Subscriber(TaskWire),
}

impl Wire for RedisWire {
    async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
        match &mut self.0 {
            Link::Direct(wire) => wire.send(commands).await,
            Link::Subscriber(wire) => wire.send(commands).await,
        }
    }

    async fn subscribe(&mut self, change: Subscription) -> Result<(), CommandError> {
        match &mut self.0 {
            Link::Direct(wire) => wire.subscribe(change).await,
            Link::Subscriber(wire) => wire.subscribe(change).await,
        }
    }

    async fn subscribe_all(&mut self, changes: Vec<Subscription>) -> Vec<Result<(), CommandError>> {
        match &mut self.0 {
            Link::Direct(wire) => wire.subscribe_all(changes).await,
            Link::Subscriber(wire) => wire.subscribe_all(changes).await,
        }
    }

    async fn lost(&mut self) -> String {
        match &mut self.0 {
            Link::Direct(wire) => wire.lost().await,
            Link::Subscriber(wire) => wire.lost().await,
        }
    }

    fn is_stalled(&self) -> bool {
        match &self.0 {
            Link::Direct(wire) => wire.is_stalled(),
            Link::Subscriber(wire) => wire.is_stalled(),
        }
    }

    fn replies(&self) -> Option<u64> {
        match &self.0 {
            Link::Direct(wire) => wire.replies(),
            Link::Subscriber(wire) => wire.replies(),
        }
    }
}
