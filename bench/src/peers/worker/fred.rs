//! The fred crate alone.

use fred::interfaces::ClientLike;
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, TcpConfig};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame as Frame, Value};

use super::bare::{Connect, Read, TIME, Words, Write};
use crate::peers::Result;

pub(super) struct Client(Config);

impl Client {
    pub(super) fn new(url: &str) -> Result<Self> {
        Ok(Client(Config::from_url(url)?))
    }

    async fn connection(&self) -> Result<Connection> {
        let connection = ConnectionConfig {
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let performance = PerformanceConfig::default();
        let client = fred::clients::Client::new(self.0.clone(), Some(performance), Some(connection), None);
        client.init().await?;
        Ok(Connection(client))
    }
}

impl Connect for Client {
    type Writer = Connection;
    type Reader = Connection;

    async fn writer(&self) -> Result<Connection> {
        self.connection().await
    }

    async fn reader(&self) -> Result<Connection> {
        self.connection().await
    }
}

pub(super) struct Connection(fred::clients::Client);

/// fred must know what blocks.
fn command(words: Words, blocking: bool) -> (CustomCommand, Vec<Value>) {
    let mut words = words.into_iter();
    let name = String::from_utf8_lossy(&words.next().unwrap_or_default()).into_owned();
    (CustomCommand::new(name, ClusterHash::FirstKey, blocking), words.map(Value::Bytes).collect())
}

impl Write for Connection {
    async fn pipeline(&self, commands: Vec<Words>) -> Result<()> {
        let pipeline = self.0.pipeline();
        for words in commands {
            let (command, words) = command(words, false);
            pipeline.custom::<(), _>(command, words).await?;
        }
        for reply in pipeline.try_all::<Value>().await {
            reply?;
        }
        Ok(())
    }
}

impl Read for Connection {
    async fn read(&mut self, words: Words, mut each: impl FnMut(&[u8], &[u8]) + Send) -> Result<()> {
        let (command, words) = command(words, true);
        let Frame::Array { data: streams, .. } = self.0.custom_raw(command, words).await? else {
            return Ok(());
        };
        for stream in streams {
            let Frame::Array { data: stream, .. } = stream else { return Err("a stream is an array".into()) };
            let Some(Frame::Array { data: entries, .. }) = stream.get(1) else {
                return Err("without entries".into());
            };
            for entry in entries {
                let Frame::Array { data: entry, .. } = entry else {
                    return Err("an entry is an array".into());
                };
                let [Frame::BlobString { data: id, .. }, Frame::Array { data: fields, .. }] = &entry[..]
                else {
                    return Err("an entry is an id and fields".into());
                };
                let Some(Frame::BlobString { data: time, .. }) = fields.get(TIME) else {
                    return Err("without a time".into());
                };
                each(id, time);
            }
        }
        Ok(())
    }
}
