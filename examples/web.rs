//! A web server that is no member of the cluster: a handler emits into it. And metrics of a node, for
//! Prometheus.
//!
//! `cargo run -p sio-streams-examples --example web -- redis://127.0.0.1:6379 8080`, then
//! `curl -d '{"room":"news","text":"hello"}' -H 'content-type: application/json' localhost:8080/announce`
//! and `curl localhost:8080/metrics`

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sio_streams_driver::backend::Backend;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, Packet};
use sio_streams_driver::{Emitter, Error};
use sio_streams_redis_rs::RedisBackend;

/// The recorder must be there before the node is started: what is counted before is lost.
pub(crate) fn recorder() -> Result<PrometheusHandle, Box<dyn std::error::Error>> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}

pub(crate) fn router<B: Backend>(emitter: Emitter<B>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/announce", post(announce::<B>))
        .with_state(Arc::new(emitter))
        .route("/metrics", get(move || std::future::ready(metrics.render())))
}

#[derive(serde::Deserialize)]
struct Announcement {
    room: String,
    text: String,
}

/// Answers when Redis has the message.
async fn announce<B: Backend>(
    State(emitter): State<Arc<Emitter<B>>>,
    Json(Announcement { room, text }): Json<Announcement>,
) -> Result<String, (StatusCode, String)> {
    let packet = Packet::event("announcement", &[text]);
    let packet = packet.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    match emitter.broadcast("/", packet, BroadcastOptions::to(room)).await {
        Ok(entry) => Ok(entry.map(|id| id.to_string()).unwrap_or_default()),
        Err(error @ Error::Call(_)) => Err((StatusCode::BAD_REQUEST, error.to_string())),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

#[allow(dead_code, reason = "a test includes this file as a module")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().ok_or("expected: the URL of a Redis server, and a port to listen on");
    let (redis, port) = (arg()?, arg()?.parse()?);
    let metrics = recorder()?;
    // A node whose metrics are worth a look: it reads all that is emitted.
    let (node, mut events) = sio_streams_driver::start(Config::default(), RedisBackend::new(&redis)?)?;
    let _namespace = node.open("/").await?;
    tokio::spawn(async move { while events.next().await.is_some() {} });
    let emitter = Emitter::new(Config::default(), RedisBackend::new(&redis)?)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, router(emitter, metrics)).await?;
    Ok(())
}
