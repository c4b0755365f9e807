//! The example of a web server, as an HTTP client sees it.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core::Config;
use sio_streams_driver::{Emitter, Event, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[path = "../web.rs"]
mod example;

/// Returns the response to a request.
async fn request(port: u16, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = body.len();
    let text = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn what_a_handler_emits_reaches_clients_and_is_counted() {
    let metrics = example::recorder().unwrap();
    let redis = MemoryRedis::new();
    let (node, mut events) = start(Config::default(), redis.backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    nsp.add_socket("ann").await.unwrap();
    nsp.join("ann", vec!["news".into()]).await.unwrap();
    let emitter = Emitter::new(Config::default(), redis.backend()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, example::router(emitter, metrics)).await });

    let response = request(port, "POST /announce", r#"{"room":"news","text":"hello"}"#).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let broadcast = loop {
        match events.next().await.unwrap() {
            Event::Broadcast(broadcast) => break broadcast,
            _ => continue,
        }
    };
    assert_eq!(
        (&*broadcast.sockets, &*broadcast.frames().text),
        (&["ann".into()][..], r#"2["announcement","hello"]"#)
    );
    assert!(response.ends_with(&broadcast.entry.unwrap().to_string()), "{response}");
    let response = request(port, "POST /announce", "{}").await;
    assert!(response.starts_with("HTTP/1.1 422"), "{response}");
    // The node counts in passing.
    loop {
        let response = request(port, "GET /metrics", "").await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        if response.contains("sio_streams_delivered_total 1") {
            break;
        }
        tokio::task::yield_now().await;
    }
}
