//! The common parts of the Rust processes: they take jobs, and report the results.

#[cfg(feature = "peers")]
mod bare;
#[cfg(feature = "peers")]
mod fred;
#[cfg(feature = "peers")]
mod kind;
#[cfg(feature = "peers")]
mod node;
#[cfg(feature = "peers")]
mod redis;
#[cfg(feature = "peers")]
mod socket;

use core::future::{Future, poll_fn};
use core::task::Poll;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cpu_time::ProcessTime;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::oneshot;

#[cfg(feature = "peers")]
pub use self::kind::{Kind, run};
use super::Result;
use super::job::{Job, Line};

/// Messages of one sender that wait for Redis, of as many bytes as a node takes: as many as Node's
/// sender has under way (tests/interop/peers/bench.mjs).
pub const IN_FLIGHT: usize = 2_000;

/// A length with which no reader falls behind the stream's beginning.
pub const MAX_LEN: u64 = 50_000_000;

/// Does one job after the other, until there are no more.
///
/// # Errors
///
/// If a job fails, or the input is not what it should be.
pub async fn serve(mut work: impl AsyncFnMut(Job) -> Result<Line>) -> Result<()> {
    let mut jobs: Lines<BufReader<Stdin>> = BufReader::new(tokio::io::stdin()).lines();
    say(&Line { ready: true, ..Line::default() })?;
    while let Some(job) = jobs.next_line().await? {
        let done = match serde_json::from_str(&job)? {
            Job::Tell => tell()?,
            job => work(job).await?,
        };
        say(&done)?;
    }
    Ok(())
}

/// Sends as fast as is answered. Each piece of work is one message, or several of them.
///
/// # Errors
///
/// If one can't be sent.
pub async fn send<F: Future<Output = Result<()>>>(
    work: impl Iterator<Item = F>,
    at_a_time: usize,
) -> Result<Line> {
    let mut sent = core::pin::pin!(futures_util::stream::iter(work).buffer_unordered(at_a_time));
    while let Some(done) = sent.next().await {
        done?;
    }
    Ok(Line::default())
}

/// Sends `count` messages, `rate` in a second. Each is told the time just before it goes, which it
/// is to bear.
///
/// # Errors
///
/// If one can't be sent.
pub async fn pace<F: Future<Output = Result<()>>>(
    count: u64,
    rate: u64,
    mut one: impl FnMut(u64) -> Result<F>,
) -> Result<Line> {
    let began = Instant::now();
    let mut open = FuturesUnordered::new();
    for at in 0..count {
        due(began + Duration::from_nanos(at * 1_000_000_000 / rate)).await;
        open.push(one(micros())?);
        // This is what sends it; and what is done is done with.
        while let Poll::Ready(Some(done)) = poll_fn(|cx| Poll::Ready(open.poll_next_unpin(cx))).await {
            done?;
        }
    }
    while let Some(done) = open.next().await {
        done?;
    }
    Ok(Line::default())
}

/// Sleeps, a millisecond at least: that is how fine the runtime's timer is, and Node's too. What
/// has become due meanwhile goes at once.
async fn due(time: Instant) {
    if Instant::now() < time {
        tokio::time::sleep_until(time.into()).await;
    }
}

/// Counts what comes, wherever in the process that is.
#[derive(Clone, Debug, Default)]
pub struct Ear(Arc<Mutex<Option<Listening>>>);

#[derive(Debug)]
struct Listening {
    tally: Tally,
    timed: bool,
    done: oneshot::Sender<Tally>,
}

impl Ear {
    /// Waits until this many messages have been heard.
    ///
    /// # Errors
    ///
    /// If nobody is left who could hear them.
    pub async fn listen(&self, count: u64, timed: bool) -> Result<Line> {
        let (done, all) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Listening { tally: Tally::new(count), timed, done });
        say(&Line { listening: true, ..Line::default() })?;
        Ok(all.await?.line())
    }

    /// One message is there. When it was sent is looked up only if that is asked for.
    pub fn heard(&self, sent: impl FnOnce() -> u64) {
        let mut listening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = listening.as_mut() else { return };
        let sent = open.timed.then(sent);
        if open.tally.heard(sent)
            && let Some(Listening { tally, done, .. }) = listening.take()
        {
            // The listener may be gone.
            let _ = done.send(tally);
        }
    }
}

/// The messages that have been heard.
#[derive(Debug)]
pub struct Tally {
    first: Option<Instant>,
    left: u64,
    delays: Vec<u64>,
}

impl Tally {
    /// Counts up to this many.
    pub fn new(count: u64) -> Self {
        Tally { first: None, left: count, delays: Vec::new() }
    }

    /// One more; whether that was the last. `sent`: when it was sent, if delays are asked for.
    pub fn heard(&mut self, sent: Option<u64>) -> bool {
        if self.first.is_none() {
            self.first = Some(Instant::now());
        }
        self.delays.extend(sent.map(|sent| micros().saturating_sub(sent)));
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    /// The result as a line.
    pub fn line(self) -> Line {
        let micros = self.first.map(|first| whole(first.elapsed())).unwrap_or_default();
        Line { micros, delays: self.delays, ..Line::default() }
    }
}

/// The time that stands behind the event's name in `["m",<time>,…`.
pub fn stamp(json: &[u8]) -> u64 {
    let mark: &[u8] = br#"["m","#;
    let at = json.windows(mark.len()).position(|window| window == mark);
    let digits = at.map_or(&json[..0], |at| &json[at + mark.len()..]);
    number(digits)
}

/// The number that the bytes begin with.
pub fn number(digits: &[u8]) -> u64 {
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// The resources that the process has used since it was started.
fn tell() -> Result<Line> {
    let cpu = whole(ProcessTime::now().as_duration());
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default();
    Ok(Line { cpu, rss: kib << 10, ..Line::default() })
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A clock that all processes of the machine share: microseconds.
pub fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(whole).unwrap_or_default()
}

/// Says something to whom the process belongs.
///
/// # Errors
///
/// If nobody listens.
pub fn say(line: &impl Serialize) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Says what went wrong where nobody waits for it.
#[cfg(feature = "peers")]
#[allow(clippy::print_stderr, reason = "a program for people at a terminal")]
fn complain(error: &super::Error) {
    eprintln!("{error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_found_behind_the_name() {
        assert_eq!(stamp(br#"{"packet":{"data":["m",1700000000000001,"xx"]}}"#), 1_700_000_000_000_001);
        assert_eq!(stamp(br#"["n",1]"#), 0);
    }

    #[test]
    fn a_tally_is_full_at_the_last() {
        let mut tally = Tally::new(2);
        assert!(!tally.heard(None));
        assert!(tally.heard(Some(micros())));
        assert_eq!(tally.line().delays.len(), 1);
    }
}
