//! A connection to one server of a cluster, in a task of its own. The task watches the connection,
//! whatever the lane does or drops meanwhile.

use sio_streams_core::{Command, CommandError, Reply};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::backend::Connection as _;
use crate::caught::caught;
use crate::wire::{Gone, Value, Wire, WireConnection};

pub(super) type Answer = Result<Reply, CommandError>;

enum Job {
    Execute(Vec<Command>, oneshot::Sender<Vec<Answer>>),
    /// A question about the cluster. The server has as much time for the answer as for the answer
    /// to a PING.
    Ask(&'static [&'static str], oneshot::Sender<Result<Value, CommandError>>),
}

/// A connection to one server. It is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    jobs: mpsc::UnboundedSender<Job>,
    gone: Gone,
    task: AbortHandle,
}

impl Link {
    pub(super) fn new<W: Wire>(connection: WireConnection<W>) -> Self {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let gone = Gone::new();
        let known = gone.clone();
        let task = tokio::spawn(async move {
            let ended = caught(serve(connection, inbox)).await;
            known.set(ended.unwrap_or_else(|panic| panic));
        });
        Link { jobs, gone, task: task.abort_handle() }
    }

    pub(super) async fn execute(&self, commands: Vec<Command>) -> Vec<Answer> {
        let count = commands.len();
        match self.give(|answer| Job::Execute(commands, answer)).await {
            Ok(mut answers) => {
                answers.resize_with(count, || Err(CommandError::Lost("a reply is missing".into())));
                answers
            }
            Err(error) => vec![Err(error); count],
        }
    }

    pub(super) async fn ask(&self, words: &'static [&'static str]) -> Result<Value, CommandError> {
        self.give(|answer| Job::Ask(words, answer)).await?
    }

    async fn give<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, CommandError> {
        if let Some(why) = self.gone.get() {
            return Err(CommandError::NotSent(why));
        }
        let (sender, answer) = oneshot::channel();
        if self.jobs.send(job(sender)).is_err() {
            return Err(CommandError::NotSent(self.gone.wait().await));
        }
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(CommandError::Lost(self.gone.wait().await)),
        }
    }

    /// Returns the reason if the connection is known to be lost.
    pub(super) fn end(&self) -> Option<String> {
        self.gone.get()
    }

    /// Completes when the connection is lost, and returns the reason.
    pub(super) async fn lost(&self) -> String {
        self.gone.wait().await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does the jobs until the connection is lost or not needed any more, and returns the reason.
async fn serve<W: Wire>(
    mut connection: WireConnection<W>,
    mut inbox: mpsc::UnboundedReceiver<Job>,
) -> String {
    let patience = connection.heartbeat().patience;
    loop {
        let job = tokio::select! {
            biased;
            why = connection.lost() => return why,
            job = inbox.recv() => job,
        };
        // The caller may have lost interest.
        match job {
            Some(Job::Execute(commands, answer)) => drop(answer.send(connection.execute(commands).await)),
            Some(Job::Ask(words, answer)) => match timeout(patience, connection.ask(words)).await {
                Ok(reply) => drop(answer.send(reply)),
                Err(_) => return format!("no answer to {} within {patience:?}", words.join(" ")),
            },
            None => return "it is not needed any more".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::pending;
    use core::time::Duration;

    use super::*;
    use crate::wire::{Args, Heartbeat, Subscription};

    /// Answers PING, and does with anything else what its name says.
    struct Scripted;

    impl Wire for Scripted {
        async fn send(&mut self, commands: Vec<Args>) -> Vec<Result<Value, CommandError>> {
            let mut results = Vec::new();
            for command in commands {
                results.push(match command.name() {
                    b"LOSE" => Err(CommandError::Lost("cut off".to_owned())),
                    b"PANIC" => panic!("so it was planned"),
                    b"HANG" => pending().await,
                    _ => Ok(Value::Nil),
                });
            }
            results
        }

        async fn subscribe(&mut self, _: Subscription) -> Result<(), CommandError> {
            Ok(())
        }

        async fn lost(&mut self) -> String {
            pending().await
        }
    }

    fn link() -> Link {
        let second = Duration::from_secs(1);
        Link::new(WireConnection::new(Scripted, Heartbeat { interval: second, patience: second }))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_is_done() {
        let link = link();
        assert_eq!(link.ask(&["PING"]).await, Ok(Value::Nil));
        assert_eq!(link.end(), None);
    }

    /// The server may have executed the commands that were under way when the connection ended. A
    /// command that is given later was certainly not sent. Both errors have the reason.
    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_lost_and_what_comes_later_is_not_sent() {
        for (words, reason) in [
            (&["LOSE"], "cut off"),
            (&["PANIC"], "the backend has panicked: so it was planned"),
            (&["HANG"], "no answer to HANG within 1s"),
        ] {
            let link = link();
            assert_eq!(link.ask(words).await, Err(CommandError::Lost(reason.to_owned())));
            assert_eq!(link.lost().await, reason);
            assert_eq!(link.end().as_deref(), Some(reason));
            assert_eq!(link.ask(&["PING"]).await, Err(CommandError::NotSent(reason.to_owned())));
        }
    }

    /// A job that was given and not begun when the connection ended is lost: the caller can't know
    /// that it was not begun.
    #[tokio::test(start_paused = true)]
    async fn what_waits_behind_it_is_lost_with_it() {
        let link = link();
        let (hung, waiting) = tokio::join!(link.ask(&["HANG"]), link.ask(&["PING"]));
        let lost = Err(CommandError::Lost("no answer to HANG within 1s".to_owned()));
        assert_eq!((hung, waiting), (lost.clone(), lost));
    }

    /// The task has ended, but has not noted the reason yet.
    #[tokio::test(start_paused = true)]
    async fn the_reason_is_waited_for() {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let gone = Gone::new();
        let link = Link { jobs, gone: gone.clone(), task: tokio::spawn(async {}).abort_handle() };
        drop(inbox);
        let noting = async {
            tokio::task::yield_now().await;
            gone.set("closed");
        };
        let (answer, ()) = tokio::join!(link.ask(&["PING"]), noting);
        assert_eq!(answer, Err(CommandError::NotSent("closed".to_owned())));
    }
}
