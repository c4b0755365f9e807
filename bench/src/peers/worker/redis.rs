//! The redis crate alone.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use super::bare::{Connect, Read, TIME, Words, Write};
use crate::peers::Result;

pub(super) struct Client(redis::Client);

impl Client {
    pub(super) fn new(url: &str) -> Result<Self> {
        Ok(Client(redis::Client::open(url)?))
    }

    async fn connection(&self) -> Result<MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(self.0.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

impl Connect for Client {
    type Writer = Connection;
    type Reader = Connection;

    async fn writer(&self) -> Result<Connection> {
        Ok(Connection(self.connection().await?))
    }

    async fn reader(&self) -> Result<Connection> {
        Ok(Connection(self.connection().await?))
    }
}

pub(super) struct Connection(MultiplexedConnection);

fn command(words: Words) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(&word[..]);
    }
    command
}

impl Write for Connection {
    async fn pipeline(&self, commands: Vec<Words>) -> Result<()> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for words in commands {
            pipeline.add_command(command(words));
        }
        for reply in self.0.clone().send_packed_commands(&pipeline, 0, count).await? {
            reply.extract_error()?;
        }
        Ok(())
    }
}

impl Read for Connection {
    async fn read(&mut self, words: Words, mut each: impl FnMut(&[u8], &[u8]) + Send) -> Result<()> {
        let reply = self.0.send_packed_command(&command(words)).await?;
        let Value::Array(streams) = reply else { return Ok(()) };
        for stream in streams {
            let Value::Array(stream) = stream else { return Err("a stream is an array".into()) };
            let Some(Value::Array(entries)) = stream.get(1) else { return Err("without entries".into()) };
            for entry in entries {
                let Value::Array(entry) = entry else { return Err("an entry is an array".into()) };
                let [Value::BulkString(id), Value::Array(fields)] = &entry[..] else {
                    return Err("an entry is an id and fields".into());
                };
                let Some(Value::BulkString(time)) = fields.get(TIME) else {
                    return Err("without a time".into());
                };
                each(id, time);
            }
        }
        Ok(())
    }
}
