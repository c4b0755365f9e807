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
