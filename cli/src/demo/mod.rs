//! `sio-streams demo`.

mod cluster;
mod faults;
mod script;
mod server;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use redis::AsyncConnectionConfig;
use sio_streams_driver::StartError;
use sio_streams_driver::backend::Backend;
use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core::{self, Config, DecodeError, PayloadError};
use sio_streams_redis_rs::ConfigError;

use crate::timeline::Timeline;
use cluster::Cluster;
use script::Script;

/// The contents of the demo, and the Redis for it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dialect: Dialect,
    /// A real server's URL.
    pub(crate) redis: Option<String>,
    /// The stream's name; `None` if the demo chooses it.
    pub(crate) stream: Option<String>,
    /// The factor by which anything may take longer than usual.
    pub(crate) patience: u32,
}

/// The reason why the demo can't go on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Url(#[from] ConfigError),
    #[error("{0}")]
    Unreachable(String),
    #[error(transparent)]
    Driver(#[from] sio_streams_driver::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("can't start: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("no randomness for the stream's name: {0}; give one with --stream")]
    Randomness(getrandom::Error),
    #[error("it is not over after {} s; is Redis gone?", .0.as_secs())]
    TooLong(Duration),
    #[error("interrupted")]
    Interrupted,
}

/// The address of a real server.
struct Target<'a> {
    url: &'a str,
    /// The URL as it may be shown.
    shown: String,
}

/// The generation of the protocol that the servers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// @socket.io/redis-streams-adapter 0.2: everything on the stream, heartbeats
    #[value(name = "streams-0.2")]
    Streams02,
    /// @socket.io/redis-streams-adapter 0.3: questions and answers by Pub/Sub
    #[default]
    #[value(name = "streams-0.3")]
    Streams03,
    /// Both in one cluster, as during a rolling upgrade
    #[value(name = "bridge")]
    Bridge,
}

impl From<Dialect> for sio_streams_core::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Streams02 => Self::Streams02,
            Dialect::Streams03 => Self::Streams03,
            Dialect::Bridge => Self::Bridge,
        }
    }
}

/// The time limit on a real server. Most servers need a few seconds; without a limit, a server that
/// is gone would be waited for without end.
const LIMIT: Duration = Duration::from_secs(60);

/// The time limit for cleaning up.
const TIDY: Duration = Duration::from_secs(3);

/// The usual time until an idle connection is tested, and the usual limit for a connection, a reply
/// or an answer.
const USUAL: Duration = Duration::from_secs(5);

/// Plays the demo.
pub(crate) fn run(plan: Plan) -> ExitCode {
    let target = plan.redis.as_deref().map(|url| Target { url, shown: without_password(url) });
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
        .and_then(|runtime| runtime.block_on(play(&plan, target.as_ref())));
    match (result, target) {
        (Ok(true), _) => ExitCode::SUCCESS,
        (Ok(false), _) => ExitCode::FAILURE,
        (Err(Error::Url(error)), Some(target)) => {
            crate::complain(&format!("--redis {}: {error}", target.shown), 2)
        }
        (Err(Error::Unreachable(reason)), Some(target)) => {
            crate::complain(&format!("{}: {reason}", target.shown), 1)
        }
        (Err(Error::Interrupted), _) => ExitCode::from(130),
        (Err(error), _) => crate::complain(&format!("the demo can't go on: {error}"), 1),
    }
}

async fn play(plan: &Plan, target: Option<&Target<'_>>) -> Result<bool, Error> {
    let config = config(plan)?;
    let Some(target) = target else {
        let redis = MemoryRedis::new();
        return show(plan, &config, "a Redis that is simulated in memory", || redis.backend()).await;
    };
    let backend = crate::server::backend(target.url).heartbeat(USUAL, USUAL * plan.patience).build()?;
    let limit = LIMIT * plan.patience;
    let result = tokio::select! {
        result = show(plan, &config, &target.shown, || backend.clone()) => result,
        () = tokio::time::sleep(limit) => Err(Error::TooLong(limit)),
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    };
    if plan.stream.is_none() && !matches!(result, Err(Error::Unreachable(_))) {
        delete(target, &config.stream_name, TIDY * plan.patience).await;
    }
    result
}

async fn show<B: Backend>(
    plan: &Plan,
    config: &Config,
    place: &str,
    backend: impl Fn() -> B,
) -> Result<bool, Error> {
    let timeline = Arc::new(Timeline::new());
    let cluster = Cluster::start(config, plan.patience, &timeline, backend)?;
    Script::new(cluster, timeline.clone(), plan.dialect).play(config, place).await?;
    Ok(timeline.summary())
}

fn config(plan: &Plan) -> Result<Config, Error> {
    let name = match (&plan.stream, &plan.redis) {
        (Some(name), _) => name.clone(),
        // Nobody else is there.
        (None, None) => "socket.io".to_owned(),
        (None, Some(_)) => {
            let chance = getrandom::u32().map_err(Error::Randomness)?;
            format!("sio-streams-demo-{chance:08x}")
        }
    };
    Ok(Config {
        dialect: plan.dialect.into(),
        stream_name: name.as_str().into(),
        channel_prefix: name.into(),
        // A tenth of the usual times, so that the demo is short.
        heartbeat_interval: Duration::from_millis(500),
        heartbeat_timeout: Duration::from_millis(1_500) * plan.patience,
        request_timeout: USUAL * plan.patience,
        ..Config::default()
    })
}

/// Deletes the demo's own stream. If that fails it stays behind: a few hundred entries, under a
/// name that nobody uses.
async fn delete(target: &Target<'_>, stream: &str, limit: Duration) {
    let deleted = tokio::time::timeout(limit, async {
        // Without limits of the crate's own, which are short.
        let unlimited = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut info = redis::IntoConnectionInfo::into_connection_info(target.url)?;
        if let Some(password) = crate::server::password(target.url) {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let client = redis::Client::open(info)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&unlimited).await?;
        redis::cmd("DEL").arg(stream).query_async::<()>(&mut connection).await
    });
    let reason = match deleted.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    crate::complain(&format!("the stream {stream} could not be deleted: {reason}"), 0);
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let start = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    // Options may hold a password too (`pass=` of unix:// URLs).
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.rsplit_once('@') {
        None => format!("{start}{rest}"),
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{start}{user}:…@{host}"),
            None => format!("{start}{user}@{host}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://ann:secret@host", "redis://ann:…@host"),
            ("redis://:sec@ret@host:1/2?protocol=resp3", "redis://:…@host:1/2"),
            ("rediss://ann@host", "rediss://ann@host"),
            ("unix:///run/redis.sock?user=ann&pass=secret", "unix:///run/redis.sock"),
            ("ann:secret@host", "ann:…@host"),
            ("", ""),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
