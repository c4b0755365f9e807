//! The server dies, and comes back with all of its data, with less, or with nothing; or it trims
//! unread entries. Or all of that happens at once.

use sio_streams_faults::loss::{self, Crash};
use sio_streams_faults::seed::{is_full, rng, rounds};
use sio_streams_faults::{Client, masters, storm};

scenarios!(
    killed_with_every_write_on_disk,
    killed_with_the_last_writes_not_on_disk,
    killed_with_nothing_on_disk,
    a_lagging_replica_is_promoted,
    two_masters_live_at_once,
    trimmed_before_it_was_read,
    a_short_storm,
);

async fn crash<C: Client>(crash: Crash) {
    let mut rng = rng();
    for _ in 0..rounds(1, 10) {
        let cost = loss::crash::<C>(crash, &mut rng).await.unwrap();
        eprintln!("{crash:?}: {cost:?}");
        if is_full() {
            cost.in_time().unwrap();
        }
    }
}

async fn killed_with_every_write_on_disk<C: Client>() {
    crash::<C>(Crash::AppendAlways).await;
}

async fn killed_with_the_last_writes_not_on_disk<C: Client>() {
    crash::<C>(Crash::AppendEverySecond).await;
}

async fn killed_with_nothing_on_disk<C: Client>() {
    crash::<C>(Crash::NoPersistence).await;
}

async fn a_lagging_replica_is_promoted<C: Client>() {
    crash::<C>(Crash::LaggingReplica).await;
}

async fn two_masters_live_at_once<C: Client>() {
    let mut rng = rng();
    for _ in 0..rounds(2, 20) {
        eprintln!("{:?}", masters::two_masters::<C>(&mut rng).await.unwrap());
    }
}

async fn trimmed_before_it_was_read<C: Client>() {
    let missed = loss::gap::<C>(100, 5_000).await.unwrap();
    eprintln!("{missed} of 5000 missed, and reported");
    assert!(missed > 4_000);
}

async fn a_short_storm<C: Client>() {
    let mut rng = rng();
    eprintln!("{:?}", storm::storm::<C>(rounds(4, 60), &mut rng).await.unwrap());
}
