//! Calls keep their order.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use core::future::poll_fn;
use core::task::Poll;

use sio_streams_core::{BroadcastOptions, Config, Packet};
use sio_streams_driver::Event;
use sio_streams_driver::memory::MemoryRedis;

/// More than a task may do in one go, and more than are taken in one go.
const COUNT: u32 = 3_000;

#[tokio::test]
async fn broadcasts_are_published_in_the_order_of_their_first_polls() {
    let (node, mut events) =
        sio_streams_driver::start(Config::default(), MemoryRedis::new().backend()).unwrap();
    let nsp = node.open("/").await.unwrap();
    nsp.add_socket("socket").await.unwrap();
    let numbers = tokio::spawn(async move {
        let mut numbers = Vec::new();
        while numbers.len() < COUNT as usize {
            if let Some(Event::Broadcast(broadcast)) = events.next().await {
                numbers.push(broadcast.packet.data.decode::<(String, u32)>().unwrap().1);
            }
        }
        numbers
    });
    let mut calls: Vec<_> = (0..COUNT)
        .map(|number| {
            let packet = Packet::event("number", &(number,)).unwrap();
            Box::pin(nsp.broadcast(packet, BroadcastOptions::all()))
        })
        .collect();
    poll_fn(|context| {
        for call in &mut calls {
            assert!(call.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    for call in calls.into_iter().rev() {
        call.await.unwrap();
    }
    assert_eq!(numbers.await.unwrap(), Vec::from_iter(0..COUNT));
}
