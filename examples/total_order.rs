//! An auction on several servers. All of them must agree on the winner, although bids are made on all
//! of them at the same time. With `LocalDelivery::StreamOrder` every server processes all messages,
//! its own included, in the order of the stream. So each decides alone, and all decide alike.
//!
//! `cargo run -p sio-streams-examples --example total_order`

#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use sio_streams_driver::memory::MemoryRedis;
use sio_streams_driver::sio_streams_core::{BroadcastOptions, Config, LocalDelivery, Packet, Payload};
use sio_streams_driver::{Event, Events, start};

/// The state of the auction on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Auction {
    pub(crate) best: Option<(String, u32)>,
    /// The number of bids that were too low when their turn came.
    pub(crate) refused: u32,
}

impl Auction {
    /// Processes a bid. The first one of two that are equal wins.
    pub(crate) fn bid(&mut self, bid: &Payload) {
        let (Ok(who), Ok(price)) = (bid.arg::<String>(0), bid.arg::<u32>(1)) else { return };
        match &self.best {
            Some((_, best)) if *best >= price => self.refused += 1,
            _ => self.best = Some((who, price)),
        }
    }
}

/// Follows the auction until there were so many bids.
async fn follow(mut events: Events, bids: u32) -> Auction {
    let (mut auction, mut count) = (Auction::default(), 0);
    while count < bids {
        match events.next().await {
            Some(Event::Broadcast(it)) if it.packet.data().event_name().as_deref() == Some("bid") => {
                auction.bid(it.packet.data());
                count += 1;
            }
            Some(_) => {}
            None => break,
        }
    }
    auction
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let redis = MemoryRedis::new();
    let (mut servers, mut following) = (Vec::new(), Vec::new());
    for name in ["ann", "ben", "cat"] {
        let config = Config { local_delivery: LocalDelivery::StreamOrder, ..Config::default() };
        let (node, events) = start(config, redis.backend())?;
        let auction = node.open("/auction").await?;
        auction.add_socket(name).await?;
        following.push(tokio::spawn(follow(events, 300)));
        servers.push((name, auction));
    }
    let bidding = servers.iter().map(|(name, auction)| async move {
        for price in 1..=100_u32 {
            auction.broadcast(Packet::event("bid", &(name, price))?, BroadcastOptions::all()).await?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    });
    futures_util::future::try_join_all(bidding).await?;
    let mut results = Vec::new();
    for following in following {
        results.push(following.await?);
    }
    println!("{results:?}");
    assert!(results.iter().all(|result| *result == results[0]), "all decide alike");
    Ok(())
}
