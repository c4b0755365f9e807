//! Links that break, and the reported fates of commands.

use core::time::Duration;

use super::common::*;
use crate::{Backend, Connection};
use sio_streams_core::{CommandError, EntryId, Lane, Reply};
use sio_streams_driver::backend::Connection as _;
use sio_streams_testkit::{Proxy, RedisServer};

const LONG: Duration = Duration::from_secs(3600);

const SHORT: Duration = Duration::from_millis(50);

/// A connection whose heartbeat never comes, so that what is noticed is noticed without it.
async fn open_calm(url: &str, lane: Lane) -> Connection {
    let backend = Backend::builder(url).heartbeat(LONG, LONG).build().unwrap();
    within(backend.open(&lane, |_, _| {})).await.unwrap()
}

async fn open_lively(url: &str, lane: Lane) -> Connection {
    let backend = Backend::builder(url).heartbeat(SHORT, 4 * SHORT).build().unwrap();
    within(backend.open(&lane, |_, _| {})).await.unwrap()
}

fn is_lost(outcome: &Outcome) -> bool {
    matches!(outcome, Err(CommandError::Lost(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_link_is_cut_is_lost() {
    let redis = RedisServer::start().unwrap();
    for protocol in ["resp3", "resp2"] {
        let link = Proxy::start(redis.addr()).unwrap();
        let mut connection = open_calm(&format!("{}/?protocol={protocol}", link.url()), reader()).await;
        let cut = async {
            until_blocked(&redis).await;
            link.cut();
        };
        let (outcome, ()) = tokio::join!(run(&mut connection, xread(EntryId::ZERO, LONG)), cut);
        assert!(is_lost(&outcome), "{outcome:?}");
        // It is known now, so that nothing more is sent.
        let next = run(&mut connection, xread(EntryId::ZERO, LONG)).await;
        assert!(matches!(next, Err(CommandError::NotSent(_))), "{next:?}");
        within(connection.lost()).await;
        until(|| redis.command(&["INFO", "clients"]).as_str().unwrap().contains("blocked_clients:0")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_reply_is_lost_is_lost_and_not_repeated() {
    let redis = RedisServer::start().unwrap();
    let link = Proxy::start(redis.addr()).unwrap();
    let mut writer = open_calm(&link.url(), Lane::Writer).await;
    link.stall_replies();
    let cut = async {
        until(|| redis.command(&["XLEN", STREAM]).as_int() == Some(3)).await;
        link.cut();
    };
    let batch = (0..3).map(|_| xadd(&[("a", "b")])).collect();
    let (outcomes, ()) = tokio::join!(within(writer.execute(batch)), cut);
    assert!(outcomes.len() == 3 && outcomes.iter().all(is_lost), "{outcomes:?}");
    link.unstall();
    link.restore().unwrap();
    assert_eq!(redis.command(&["XLEN", STREAM]).as_int(), Some(3));
    assert_eq!(link.connections(), 0, "nothing reconnects by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_while_idle_is_noticed_at_once() {
    let redis = RedisServer::start().unwrap();
    for lane in [Lane::Writer, reader(), Lane::Subscriber] {
        let link = Proxy::start(redis.addr()).unwrap();
        let mut connection = open_calm(&link.url(), lane.clone()).await;
        if lane == Lane::Subscriber {
            assert_eq!(run(&mut connection, subscribe(&["a"], false)).await, Ok(Reply::Done));
        }
        // Dropped and called again.
        tokio::select! {
            biased;
            why = connection.lost() => panic!("{why}"),
            () = tokio::task::yield_now() => {}
        }
        let (why, ()) = tokio::join!(within(connection.lost()), async { link.cut() });
        assert!(!why.is_empty());
        let command = if lane == Lane::Subscriber { subscribe(&["b"], false) } else { xadd(&[("a", "b")]) };
        let outcome = run(&mut connection, command).await;
        assert!(matches!(outcome, Err(CommandError::NotSent(_))), "{lane}: {outcome:?}");
    }
    assert_eq!(redis.command(&["XLEN", STREAM]).as_int(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_resp2_a_link_that_is_cut_is_noticed_at_once() {
    let redis = RedisServer::start().unwrap();
    for lane in [Lane::Writer, reader(), Lane::Subscriber] {
        let link = Proxy::start(redis.addr()).unwrap();
        let url = format!("{}/?protocol=resp2", link.url());
        let mut connection = open_calm(&url, lane).await;
        link.cut();
        within(connection.lost()).await;
        let outcome = run(&mut connection, subscribe(&["a"], false)).await;
        assert!(matches!(outcome, Err(CommandError::NotSent(_))), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_falls_silent_is_noticed_by_the_heartbeat() {
    let redis = RedisServer::start().unwrap();
    // The link is silent in both directions, or in one of them.
    for stall in [Proxy::stall, Proxy::stall_requests, Proxy::stall_replies] {
        for protocol in ["resp3", "resp2"] {
            for lane in [Lane::Writer, reader(), Lane::Subscriber] {
                let link = Proxy::start(redis.addr()).unwrap();
                let url = format!("{}/?protocol={protocol}", link.url());
                let mut connection = open_lively(&url, lane).await;
                stall(&link);
                within(connection.lost()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_is_answered_disturbs_nothing() {
    let redis = RedisServer::builder().user("mute", "pw", "~* &* +@all -ping").start().unwrap();
    for url in [redis.url(), format!("{}/?protocol=resp2", redis.url()), redis.url_as("mute", "pw")] {
        for lane in [Lane::Writer, Lane::Subscriber] {
            let backend = Backend::builder(&url).heartbeat(Duration::from_millis(1), LONG).build().unwrap();
            let mut connection = within(backend.open(&lane, |_, _| {})).await.unwrap();
            // The pings that this leaves half done must not shift the replies.
            for n in 0..100 {
                let early = tokio::time::timeout(Duration::from_millis(n % 4), connection.lost()).await;
                assert_eq!(early.ok(), None);
                if lane == Lane::Subscriber {
                    assert_eq!(run(&mut connection, subscribe(&["a"], false)).await, Ok(Reply::Done));
                } else {
                    added(run(&mut connection, xadd(&[("a", "b")])).await);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_refuses_and_comes_back() {
    let redis = RedisServer::start().unwrap();
    let backend = Backend::new(&redis.url()).unwrap();
    let mut connection = open_calm(&redis.url(), Lane::Writer).await;
    redis.kill();
    within(connection.lost()).await;
    for lane in [Lane::Writer, reader(), Lane::Subscriber] {
        let why = refusal(&backend, lane).await;
        assert!(why.contains("refused"), "{why}");
    }
    redis.restart().unwrap();
    let mut connection = within(backend.open(&Lane::Writer, |_, _| {})).await.unwrap();
    added(run(&mut connection, xadd(&[("a", "b")])).await);
}
