//! The real `@socket.io/admin-ui`, on a server on Node.js, and a page of it, which is an ordinary
//! client in its namespace.

// Tests may panic: a panic is a failure.
#![allow(clippy::unwrap_used)]

mod servers;

use serde_json::{Value, json};
use servers::{Oxide, counts, node};
use sio_streams_driver::admin_ui;
use sio_streams_driver::sio_streams_core::Dialect;
use sio_streams_interop::{Generation, Peer, Result, eventually, quick};
use sio_streams_socketioxide::sio_streams_driver;
use sio_streams_testkit::RedisServer;

/// The first arguments of the events that a page has got, the last one first.
async fn shown(node: &Peer, page: &str, event: &str) -> Vec<Value> {
    let received = node.client_received(page).await.unwrap().into_iter().rev();
    received.filter(|received| received.event == event).map(|received| received.args[0].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_ui_shows_this_server_and_its_sockets_and_disconnects_them() -> Result<()> {
    let redis = RedisServer::start()?;
    let node = Peer::start(node(Generation::V03, &redis.url()).admin_ui("node")).await?;
    let oxide = Oxide::start(quick(Dialect::Streams03), &redis.url(), false).await;
    let client = oxide.connect(&node, "/").await?;
    let kept = oxide.connect(&node, "/dynamic/1").await?;

    let (admin, io) = (oxide.cluster.node().open("/admin").await.unwrap(), oxide.io.clone());
    tokio::spawn(async move { admin_ui::report(&admin, "oxide", || counts(&io)).await });
    eventually("two servers", async || matches!(node.server_count("/admin").await, Ok(2))).await?;
    let page = node.connect("/admin").await?.sid;

    let statistics = async |clients: u64, sockets: u64| {
        eventually("the statistics of both servers", async || {
            let statistics = shown(&node, &page, "server_stats").await;
            let Some(of_oxide) = statistics.iter().find(|it| it["serverId"] == "oxide") else { return false };
            assert_eq!(of_oxide["pid"], std::process::id());
            assert!(of_oxide["hostname"].is_string() && of_oxide["uptime"].is_number(), "{of_oxide}");
            let mut namespaces = of_oxide["namespaces"].as_array().unwrap().clone();
            namespaces.sort_by_key(ToString::to_string);
            let expected = [
                json!({ "name": "/", "socketsCount": sockets }),
                json!({ "name": "/dynamic/1", "socketsCount": 1 }),
            ];
            let of_node = statistics.iter().any(|it| it["serverId"] == "node");
            of_node
                && of_oxide["clientsCount"] == clients
                && of_oxide["pollingClientsCount"] == 0
                && namespaces == expected
        })
        .await
    };
    statistics(2, 1).await?;

    let all = node.wait_client_event(&page, "all_sockets", 1).await?.remove(0).args.remove(0);
    let socket = all.as_array().unwrap().iter().find(|socket| socket["id"] == json!(client)).unwrap();
    assert_eq!((&socket["nsp"], &socket["transport"]), (&json!("/"), &json!("websocket")));
    assert_eq!(socket["clientId"], client[..12]);
    assert_eq!(socket["data"], json!({ "name": client }));
    assert_eq!(socket["rooms"], json!([client]));
    let headers = &socket["handshake"]["headers"];
    assert!(headers["host"].as_str().unwrap().ends_with(&oxide.port.to_string()), "{headers}");

    // The page sends what its button sends.
    node.client_emit(&page, "_disconnect", &[json!("/"), json!(false), json!(client)]).await?;
    let end = node.client_disconnected(&client, 60_000).await?;
    assert_eq!((end.disconnected, end.reason.as_deref()), (true, Some("io server disconnect")));
    statistics(1, 0).await?;
    assert!(!node.client_disconnected(&kept, 0).await?.disconnected);
    Ok(())
}
