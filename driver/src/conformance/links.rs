//! Cases about healthy and broken connections.

use core::slice;
use core::time::Duration;

use sio_streams_core::{CommandError, EntryId, Lane, Reply};
use tokio::time::timeout;

use super::tools::{
    LONG, SHORT, added, done, ensure, entries, numbered, numbers, publish, range, read, same, subscribe,
};
use super::{Outcome, Restore, Suite, one};
use crate::backend::{Backend, Connection as _};

type Answer = Result<Reply, CommandError>;

fn is_lost(answer: &Answer) -> Outcome {
    ensure(matches!(answer, Err(CommandError::Lost(_))), || format!("it is lost, and {answer:?} is said"))
}

fn is_not_sent(answer: &Answer) -> Outcome {
    ensure(matches!(answer, Err(CommandError::NotSent(_))), || {
        format!("it was certainly not sent, and {answer:?} is said")
    })
}

pub(super) async fn a_healthy_connection_is_not_lost<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    for lane in [Lane::Writer, Lane::Reader(stream.clone()), Lane::Subscriber] {
        let mut connection = suite.connect(&lane).await?;
        for number in 0..20 {
            // The future may be dropped, and this called again.
            if let Ok(why) = timeout(Duration::from_millis(number % 4), connection.lost()).await {
                return Err(format!("the {lane} is said to be lost: {why}"));
            }
            let command = match lane {
                Lane::Subscriber => subscribe(&[suite.name("channel")], false),
                _ => range(&stream, EntryId::ZERO, 1),
            };
            one(&mut connection, command).await.map_err(|error| format!("{lane}: {error}"))?;
        }
    }
    Ok(())
}

pub(super) async fn an_abandoned_command_disturbs_nobody<B: Backend>(suite: &Suite<B>) -> Outcome {
    let stream = suite.name("stream");
    let backend = suite.backend();
    for number in 0..3 {
        let (mut reader, _) = suite.listen(&backend, &Lane::Reader(stream.clone())).await?;
        let reading = one(&mut reader, read(&stream, EntryId::ZERO, LONG));
        ensure(timeout(SHORT, reading).await.is_err(), || "there was nothing to read".to_owned())?;
        // The driver drops the connection then. The next one must not be delayed by remains of the
        // last.
        drop(reader);
        let other = suite.name("other");
        let (mut reader, _) = suite.listen(&backend, &Lane::Reader(other.clone())).await?;
        let (mut writer, _) = suite.listen(&backend, &Lane::Writer).await?;
        added(one(&mut writer, numbered(&other, number)).await)?;
        let found = entries(one(&mut reader, read(&other, EntryId::ZERO, SHORT)).await)?;
        same("what was read", numbers(&found), vec![number.to_string()])?;
    }
    Ok(())
}

pub(super) async fn an_idle_link_that_is_cut_is_noticed<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    for lane in [Lane::Writer, Lane::Reader(suite.name("stream")), Lane::Subscriber] {
        let (mut connection, _) = suite.listen(&backend, &lane).await?;
        let _restore = Restore(faults);
        faults.cut();
        let why = connection.lost().await;
        ensure(!why.is_empty() && !why.contains('\n'), || format!("words for the log: {why:?}"))?;
    }
    Ok(())
}

pub(super) async fn a_blocked_read_whose_link_is_cut_is_lost<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    let stream = suite.name("stream");
    let (mut reader, _) = suite.listen(&backend, &Lane::Reader(stream.clone())).await?;
    let _restore = Restore(faults);
    {
        let reading = one(&mut reader, read(&stream, EntryId::ZERO, LONG));
        tokio::pin!(reading);
        ensure(timeout(SHORT, &mut reading).await.is_err(), || "there was nothing to read".to_owned())?;
        faults.cut();
        is_lost(&reading.await)?;
    }
    reader.lost().await;
    Ok(())
}

pub(super) async fn a_write_whose_reply_is_lost_is_lost_and_not_repeated<B: Backend>(
    suite: &Suite<B>,
) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    let (stream, channel) = (suite.name("stream"), suite.name("channel"));
    let (mut listener, mut messages) = suite.listen(&suite.backend(), &Lane::Subscriber).await?;
    done(one(&mut listener, subscribe(slice::from_ref(&channel), false)).await)?;
    let mut other = suite.connect(&Lane::Writer).await?;
    let (mut writer, _) = suite.listen(&backend, &Lane::Writer).await?;
    {
        let _restore = Restore(faults);
        faults.hold_replies();
        let writing = one(&mut writer, numbered(&stream, 1));
        // The server has executed it. Only then is the link cut.
        let cutting = async {
            while entries(one(&mut other, range(&stream, EntryId::ZERO, 10)).await)?.is_empty() {
                tokio::task::yield_now().await;
            }
            faults.cut();
            Outcome::Ok(())
        };
        let (answer, cut) = tokio::join!(writing, cutting);
        cut?;
        is_lost(&answer)?;
    }
    // The command was executed once, and the backend has not sent it again.
    let (mut writer, _) = suite.listen(&backend, &Lane::Writer).await?;
    added(one(&mut writer, numbered(&stream, 2)).await)?;
    done(one(&mut writer, publish(&channel, "behind", false)).await)?;
    ensure(messages.recv().await.is_some(), || "the messages have ended".to_owned())?;
    let found = entries(one(&mut other, range(&stream, EntryId::ZERO, 10)).await)?;
    same("what is there", numbers(&found), vec!["1".into(), "2".into()])
}

pub(super) async fn what_is_given_to_a_lost_connection_is_not_sent<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    let stream = suite.name("stream");
    let (mut writer, _) = suite.listen(&backend, &Lane::Writer).await?;
    {
        let _restore = Restore(faults);
        faults.cut();
        writer.lost().await;
    }
    // The link works again, but this connection does not: it must not be reopened without the
    // driver.
    for answer in writer.execute(vec![numbered(&stream, 1), numbered(&stream, 2)]).await {
        is_not_sent(&answer)?;
    }
    let mut other = suite.connect(&Lane::Writer).await?;
    let found = entries(one(&mut other, range(&stream, EntryId::ZERO, 10)).await)?;
    same("what is there", numbers(&found), vec![])
}

/// A command must not wait forever, whether or not it is known already that the link is cut.
pub(super) async fn what_is_given_to_a_link_that_is_cut_ends<B: Backend>(suite: &Suite<B>) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    let stream = suite.name("stream");
    for _ in 0..5 {
        let (mut writer, _) = suite.listen(&backend, &Lane::Writer).await?;
        let _restore = Restore(faults);
        faults.cut();
        let first = one(&mut writer, numbered(&stream, 1)).await;
        ensure(matches!(first, Err(CommandError::Lost(_) | CommandError::NotSent(_))), || {
            format!("the link is cut, and {first:?} is said")
        })?;
        is_not_sent(&one(&mut writer, numbered(&stream, 2)).await)?;
    }
    Ok(())
}

pub(super) async fn a_server_that_cannot_be_reached_is_told_and_reached_later<B: Backend>(
    suite: &Suite<B>,
) -> Outcome {
    let (backend, faults) = suite.fragile()?;
    let lanes = [Lane::Writer, Lane::Reader(suite.name("stream")), Lane::Subscriber];
    {
        let _restore = Restore(faults);
        faults.cut();
        for lane in &lanes {
            let (pushes, _) = crate::backend::PushSender::channel(1);
            match backend.connect(lane, pushes).await {
                Ok(_) => return Err(format!("there is a connection for the {lane} without a server")),
                Err(error) => ensure(!error.0.contains('\n'), || format!("on one line: {error:?}"))?,
            }
        }
    }
    for lane in &lanes {
        suite.listen(&backend, lane).await?;
    }
    Ok(())
}
