//! Nodes of a cluster on this backend.

use super::common::*;
use sio_streams_core::{BroadcastOptions, Config, Dialect, Packet, Payload};
use sio_streams_driver::{Event, Events, Node};
use sio_streams_testkit::{Proxy, RedisServer};
use tokio::sync::mpsc;

/// A node, and what it hears of broadcasts. Requests are answered with "pong".
fn node(config: &Config, url: &str) -> (Node, mpsc::UnboundedReceiver<String>) {
    let (node, events) = sio_streams_driver::start(options(config.clone()), steady(url)).unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(listen(events, sender));
    (node, receiver)
}

async fn listen(mut events: Events, heard: mpsc::UnboundedSender<String>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Broadcast(broadcast) => {
                drop(heard.send(broadcast.packet.data.as_json().unwrap().to_owned()))
            }
            Event::ServerSideEmit { reply: Some(reply), .. } => {
                reply.send(Payload::from_json(r#""pong""#).unwrap()).await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_hear_each_other_also_after_their_links_were_cut() {
    let redis = RedisServer::start().unwrap();
    for dialect in [Dialect::Streams02, Dialect::Streams03, Dialect::Bridge] {
        redis.command(&["FLUSHALL"]);
        let config = Config { dialect, ..Config::default() };
        let link = Proxy::start(redis.addr()).unwrap();
        let (one, _) = node(&config, &redis.url());
        let (two, mut heard) = node(&config, &link.url());
        let here = within(one.open("/chat")).await.unwrap();
        let there = within(two.open("/chat")).await.unwrap();
        there.add_socket("socket").await.unwrap();
        within(async {
            while here.server_count().await.unwrap_or_default() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;

        let send = async |n: u32| {
            let packet = Packet::event("n", &(n,)).unwrap();
            within(here.broadcast(packet, BroadcastOptions::all())).await.unwrap();
        };
        send(0).await;
        assert_eq!(within(heard.recv()).await.unwrap(), r#"["n",0]"#);
        link.cut();
        send(1).await;
        link.restore().unwrap();
        send(2).await;
        for n in 1..=2 {
            assert_eq!(within(heard.recv()).await.unwrap(), format!(r#"["n",{n}]"#), "{dialect:?}");
        }
        // Requests and answers get through again as well, by the channels where the dialect uses
        // them.
        within(async {
            loop {
                let ask = here.server_side_emit_with_ack(Payload::from_json(r#"["ping"]"#).unwrap());
                match &ask.await.unwrap().responses[..] {
                    [] => {}
                    [(from, answer)] => {
                        assert_eq!((from, &*answer.decode::<String>().unwrap()), (two.uid(), "pong"));
                        break;
                    }
                    more => panic!("{more:?}"),
                }
            }
        })
        .await;
    }
}
