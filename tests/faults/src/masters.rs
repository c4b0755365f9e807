//! Two masters live at once, and each takes entries of its own.

use std::collections::BTreeSet;

use fastrand::Rng;
use sio_streams_driver::sio_streams_core::{Dialect, EntryId};
use sio_streams_testkit::RedisServer;

use crate::cluster::{Books, until};
use crate::loss::Replica;
use crate::server::quick;
use crate::{Client, Cluster, Fate, Report, Server};

/// Waits until everything that the server has said so far is published.
async fn published(server: &Server) {
    until("all is published", async || {
        let fates = server.fates();
        fates.len() == server.said() as usize && fates.iter().all(|fate| matches!(fate, Fate::Published(_)))
    })
    .await;
}

/// Promotes a replica while the old master lives on. One server goes over to the new master at once
/// and talks there, another talks at the old one, and a third listens there. Then the old master
/// dies, and they follow. Everything that the new master has must reach them, and what only the old
/// one had must be reported to its sender.
///
/// # Errors
///
/// Says what did not come, or was not reported.
///
/// # Panics
///
/// If something never comes that is only waited for.
pub async fn two_masters<C: Client>(rng: &mut Rng) -> Result<Books, String> {
    let old = RedisServer::start().unwrap();
    let replica = Replica::start(&old);
    let cluster = Cluster::<C>::start(&old, &quick(Dialect::Streams03), 3, None).await;
    let [early, late, listener] = &cluster.servers[..] else { unreachable!() };
    for server in [early, late] {
        server.say(rng.u32(1..100)).await;
        published(server).await;
    }
    cluster.settle().await;
    replica.in_sync(&old).await;

    let new = replica.promote();
    early.links().cut();
    early.links().retarget(new.addr());
    early.links().restore().unwrap();
    let before = [early, late].map(|server| server.published().len());
    let talk = async |server: &Server, rounds: u32, count: u32| {
        for _ in 0..rounds {
            server.say(count).await;
            published(server).await;
        }
    };
    let rounds = [rng.u32(1..10), rng.u32(1..10)];
    tokio::join!(talk(early, rounds[0], rng.u32(1..60)), talk(late, rounds[1], rng.u32(1..60)));
    // The listener's place is behind everything that the new master has taken.
    talk(late, 1, 1).await;
    until("the listener has come to it", async || listener.has_come_to(late.name(), late.said() - 1)).await;
    let passed = early.published().len() - before[0];
    // The new master may have given some of these ids to others.
    let at_the_old = late.published().split_off(before[1]);

    old.kill();
    for server in [late, listener] {
        server.links().cut();
        server.links().retarget(new.addr());
        server.links().restore().unwrap();
    }
    cluster.alive().await;
    cluster.settle().await;

    for server in [late, listener] {
        let rewound = server.reports().into_iter().find_map(|report| match report {
            Report::Rewound { last, .. } => Some(last),
            _ => None,
        });
        if rewound.is_none_or(|last| at_the_old.first().is_some_and(|first| last >= *first)) {
            return Err(format!("{} was told {rewound:?} of {at_the_old:?}", server.name()));
        }
    }
    let gone: BTreeSet<EntryId> = at_the_old.into_iter().collect();
    let books = cluster.judge(|_, id| gone.contains(&id)).await?;
    let heard = [late, listener].map(|server| server.count_heard(early.name()));
    match heard == [early.said() as usize; 2] && passed > 0 {
        true => Ok(books),
        false => Err(format!("{heard:?} of {} came, {passed} of them below their place", early.said())),
    }
}
