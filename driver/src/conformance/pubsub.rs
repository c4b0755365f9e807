//! Cases about subscriptions and messages, plain and sharded.

use core::slice;

use sio_streams_core::{ByteString, Bytes, Command, Lane};

use super::tools::{channels, count, counted, done, publish, same, subscribe, unsubscribe};
use super::{Outcome, Suite, one};
use crate::backend::{Backend, Connection as _, PushReceiver};

async fn next(messages: &mut PushReceiver) -> Result<(ByteString, Bytes), String> {
    let push = messages.recv().await.ok_or("the messages have ended")?;
    Ok((push.channel, push.payload))
}

/// Asks until the condition holds. A server may need a moment to notice that a connection is
/// closed, and a cluster to pass a message on.
async fn until_counted<B: Backend>(
    suite: &Suite<B>,
    channel: &ByteString,
    sharded: bool,
    expected: u64,
) -> Outcome {
    let mut writer = suite.connect(&Lane::Writer).await?;
    while counted(one(&mut writer, count(channel, sharded)).await)? != expected {
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn a_subscription_is_in_force_when_it_is_done<B: Backend>(suite: &Suite<B>) -> Outcome {
    in_force(suite, false).await
}

pub(super) async fn sharded_subscriptions_are_in_force_when_they_are_done<B: Backend>(
    suite: &Suite<B>,
) -> Outcome {
    in_force(suite, true).await
}

async fn in_force<B: Backend>(suite: &Suite<B>, sharded: bool) -> Outcome {
    // Sharded, these channels belong to different servers of a cluster.
    let names: Vec<ByteString> = (0..40).map(|_| suite.name("channel")).collect();
    let mut writer = suite.connect(&Lane::Writer).await?;
    let (mut listener, mut messages) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, subscribe(&names, sharded)).await)?;
    for name in &names {
        same("subscribers at once", counted(one(&mut writer, count(name, sharded)).await)?, 1)?;
        done(one(&mut writer, publish(name, "hello", sharded)).await)?;
        same("message", next(&mut messages).await?, (name.clone(), Bytes::from("hello")))?;
    }
    // Subscribing twice has the same effect as once.
    done(one(&mut listener, subscribe(&names[..2], sharded)).await)?;
    done(one(&mut writer, publish(&names[0], "once", sharded)).await)?;
    done(one(&mut writer, publish(&names[0], "twice", sharded)).await)?;
    same("message", next(&mut messages).await?.1, Bytes::from("once"))?;
    same("message", next(&mut messages).await?.1, Bytes::from("twice"))
}

pub(super) async fn messages_keep_their_order_and_their_bytes<B: Backend>(suite: &Suite<B>) -> Outcome {
    order(suite, false).await
}

pub(super) async fn sharded_messages_keep_their_order_and_their_bytes<B: Backend>(
    suite: &Suite<B>,
) -> Outcome {
    order(suite, true).await
}

async fn order<B: Backend>(suite: &Suite<B>, sharded: bool) -> Outcome {
    let channel = suite.name("channel");
    let (mut listener, mut messages) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, subscribe(slice::from_ref(&channel), sharded)).await)?;
    let mut writer = suite.connect(&Lane::Writer).await?;
    let payload = |number: u32| {
        let length = number as usize % 300;
        number.to_be_bytes().into_iter().cycle().take(length).collect::<Vec<u8>>()
    };
    for start in (0..1_000).step_by(100) {
        let batch = (start..start + 100).map(|number| publish(&channel, payload(number), sharded)).collect();
        for result in writer.execute(batch).await {
            done(result)?;
        }
    }
    for number in 0..1_000 {
        same("message", next(&mut messages).await?, (channel.clone(), payload(number).into()))?;
    }
    Ok(())
}

pub(super) async fn messages_arrive_while_commands_run<B: Backend>(suite: &Suite<B>) -> Outcome {
    let channel = suite.name("channel");
    let (mut listener, mut messages) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, subscribe(slice::from_ref(&channel), false)).await)?;
    let mut writer = suite.connect(&Lane::Writer).await?;
    let publishing = async {
        for number in 0..500_u32 {
            done(one(&mut writer, publish(&channel, number.to_string(), false)).await)?;
        }
        Outcome::Ok(())
    };
    let subscribing = async {
        for _ in 0..50 {
            done(one(&mut listener, subscribe(&[suite.name("other")], false)).await)?;
        }
        Outcome::Ok(())
    };
    let (published, subscribed) = tokio::join!(publishing, subscribing);
    published.and(subscribed)?;
    for number in 0..500_u32 {
        same("message", next(&mut messages).await?.1, Bytes::from(number.to_string()))?;
    }
    Ok(())
}

pub(super) async fn subscribers_are_counted_and_listed<B: Backend>(suite: &Suite<B>) -> Outcome {
    counted_and_listed(suite, false).await
}

pub(super) async fn sharded_subscribers_are_counted_and_listed<B: Backend>(suite: &Suite<B>) -> Outcome {
    counted_and_listed(suite, true).await
}

async fn counted_and_listed<B: Backend>(suite: &Suite<B>, sharded: bool) -> Outcome {
    let common = suite.name("common");
    let mut writer = suite.connect(&Lane::Writer).await?;
    same("before", counted(one(&mut writer, count(&common, sharded)).await)?, 0)?;
    // In a cluster these connections may be to different servers.
    let mut listeners = Vec::new();
    let mut own = Vec::new();
    for number in 0..5 {
        let name: ByteString = format!("{common}#{number}#").into();
        let (mut listener, _) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
        done(one(&mut listener, subscribe(&[common.clone(), name.clone()], sharded)).await)?;
        listeners.push(listener);
        own.push(name);
    }
    same("subscribers", counted(one(&mut writer, count(&common, sharded)).await)?, 5)?;
    same("subscribers", counted(one(&mut writer, count(&own[0], sharded)).await)?, 1)?;
    let list = Command::PubSubChannels { pattern: format!("{common}#*#").into(), sharded };
    same("channels", channels(one(&mut writer, list).await)?, own)?;
    let none = Command::PubSubChannels { pattern: format!("{common}-none*").into(), sharded };
    same("channels", channels(one(&mut writer, none).await)?, vec![])
}

pub(super) async fn a_subscription_ends<B: Backend>(suite: &Suite<B>) -> Outcome {
    ends(suite, false).await
}

pub(super) async fn a_sharded_subscription_ends<B: Backend>(suite: &Suite<B>) -> Outcome {
    ends(suite, true).await
}

async fn ends<B: Backend>(suite: &Suite<B>, sharded: bool) -> Outcome {
    let names: Vec<ByteString> = (0..10).map(|_| suite.name("channel")).collect();
    let (mut listener, mut messages) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, subscribe(&names, sharded)).await)?;
    done(one(&mut listener, unsubscribe(&names[1..], sharded)).await)?;
    let mut writer = suite.connect(&Lane::Writer).await?;
    for name in &names[1..] {
        same("subscribers afterwards", counted(one(&mut writer, count(name, sharded)).await)?, 0)?;
        done(one(&mut writer, publish(name, "too late", sharded)).await)?;
    }
    done(one(&mut writer, publish(&names[0], "still", sharded)).await)?;
    same("message", next(&mut messages).await?, (names[0].clone(), Bytes::from("still")))
}

pub(super) async fn patterns_match_channels<B: Backend>(suite: &Suite<B>) -> Outcome {
    let common = suite.name("pattern");
    let channel = |end: &str| ByteString::from(format!("{common}#{end}"));
    let patterns: Vec<ByteString> = vec![format!("{common}#a*").into(), format!("{common}#[bc]").into()];
    let (mut listener, mut messages) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, Command::PSubscribe { patterns: patterns.clone() }).await)?;
    let mut writer = suite.connect(&Lane::Writer).await?;
    for (end, heard) in [("apple", true), ("x", false), ("b", true), ("bc", false), ("c", true)] {
        done(one(&mut writer, publish(&channel(end), end.to_owned(), false)).await)?;
        if heard {
            same("message", next(&mut messages).await?, (channel(end), Bytes::from(end.to_owned())))?;
        }
    }
    // Subscribers by patterns are not counted as the channel's subscribers.
    same("subscribers", counted(one(&mut writer, count(&channel("b"), false)).await)?, 0)?;
    done(one(&mut listener, Command::PUnsubscribe { patterns: patterns[..1].to_vec() }).await)?;
    done(one(&mut writer, publish(&channel("apple"), "too late", false)).await)?;
    done(one(&mut writer, publish(&channel("b"), "still", false)).await)?;
    same("message", next(&mut messages).await?, (channel("b"), Bytes::from("still")))
}

pub(super) async fn a_dropped_connection_has_no_subscriptions<B: Backend>(suite: &Suite<B>) -> Outcome {
    let channel = suite.name("channel");
    let (mut listener, _) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, subscribe(slice::from_ref(&channel), false)).await)?;
    until_counted(suite, &channel, false, 1).await?;
    drop(listener);
    until_counted(suite, &channel, false, 0).await
}
