//! Many events, from a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use sio_streams_driver::backend::{Backend as _, BoxedBackend, BoxedConnection, Connection as _, PushSender};
use sio_streams_driver::sio_streams_core::{
    BroadcastOptions, Command, Config, Emitter, Lane, Packet, Payload,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Error, names};

/// The largest number of events that are sent at once.
const BATCH: usize = 200;

/// The time limit for a connection, and for the replies to a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// An event as a line has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    event: String,
    #[serde(default)]
    args: Vec<Value>,
    nsp: Option<String>,
    to: Option<Vec<String>>,
    except: Option<Vec<String>>,
    volatile: Option<bool>,
    compress: Option<bool>,
}

/// The lines that come from the thread that reads the file.
type Lines = mpsc::Receiver<io::Result<(u64, String)>>;

/// Reads lines in a thread of their own, since standard input blocks.
fn read(file: &str) -> Result<Lines, Error> {
    let reader: Box<dyn BufRead + Send> = match file {
        "-" => Box::new(BufReader::new(io::stdin())),
        file => {
            let opened = File::open(file).map_err(|error| Error::File(file.to_owned(), error))?;
            Box::new(BufReader::new(opened))
        }
    };
    let (sender, lines) = mpsc::channel(BATCH);
    std::thread::spawn(move || {
        for (number, line) in (1..).zip(reader.lines()) {
            if sender.blocking_send(line.map(|line| (number, line))).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}

/// Makes the command that a line asks for. Returns `None` for an empty line.
fn command(
    emitter: &Emitter,
    nsp: &str,
    opts: &BroadcastOptions,
    line: &str,
) -> Result<Option<Command>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut opts = opts.clone();
    if let Some(rooms) = line.to {
        opts.rooms = names(rooms);
    }
    if let Some(rooms) = line.except {
        opts.except = names(rooms);
    }
    opts.flags.volatile = line.volatile.or(opts.flags.volatile);
    opts.flags.compress = line.compress.or(opts.flags.compress);
    let packet = Payload::event(&line.event, &line.args).and_then(Packet::new);
    let packet = packet.map_err(|error| error.to_string())?;
    let nsp = line.nsp.as_deref().unwrap_or(nsp);
    emitter.broadcast(nsp, packet, opts).map(Some).map_err(|error| error.to_string())
}

/// Sends what the file has.
pub(super) async fn send(
    backend: BoxedBackend,
    nsp: &str,
    config: Config,
    opts: BroadcastOptions,
    file: &str,
    rate: Option<u32>,
) -> Result<(), Error> {
    let emitter = Emitter::new(config)?;
    let mut lines = read(file)?;
    let connecting = backend.connect(&Lane::Writer, PushSender::to(|_, _| {}));
    let mut connection = timeout(PATIENCE, connecting).await.map_err(|_| Error::Silent(PATIENCE))??;
    let began = Instant::now();
    let mut sent = 0;
    // With a rate, no batch has more than a twentieth of a second's events.
    let most = rate.map_or(BATCH, |rate| (rate as usize / 20).clamp(1, BATCH));
    let mut batch = Vec::with_capacity(most);
    while let Some(line) = lines.recv().await {
        let mut next = Some(line);
        let mut wrong = None;
        while let Some(line) = next.take() {
            let (number, line) = line.map_err(|error| Error::File(file.to_owned(), error))?;
            match command(&emitter, nsp, &opts, &line) {
                Ok(Some(command)) => batch.push((number, command)),
                Ok(None) => {}
                // The lines before it are sent.
                Err(reason) => wrong = Some((number, reason)),
            }
            if wrong.is_none() && batch.len() < most {
                next = lines.try_recv().ok();
            }
        }
        publish(&mut connection, &mut batch, &mut sent).await?;
        if let Some((number, reason)) = wrong {
            return Err(Error::Line { number, reason, sent });
        }
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        }
    }
    let took = began.elapsed().as_secs_f64();
    writeln!(io::stdout(), "emitted {sent} events in {took:.1} s")?;
    Ok(())
}

/// Sends a batch. The first failure ends it: what comes behind would be out of order.
async fn publish(
    connection: &mut BoxedConnection,
    batch: &mut Vec<(u64, Command)>,
    sent: &mut u64,
) -> Result<(), Error> {
    let (numbers, commands): (Vec<_>, Vec<_>) = core::mem::take(batch).into_iter().unzip();
    if commands.is_empty() {
        return Ok(());
    }
    let executed = timeout(PATIENCE, connection.execute(commands)).await;
    let replies = executed.map_err(|_| Error::Silent(PATIENCE))?;
    for (number, reply) in numbers.into_iter().zip(replies) {
        reply.map_err(|error| Error::Sending { number, error, sent: *sent })?;
        *sent += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_does_not_say_is_what_the_options_say() {
        let emitter = Emitter::new(Config::default()).unwrap();
        let opts = BroadcastOptions::to("default");
        let made = |line: &str| command(&emitter, "/chat", &opts, line);
        let fields = |line: &str| match made(line) {
            Ok(Some(Command::XAdd { fields, .. })) => fields,
            other => panic!("{other:?}"),
        };
        let plain = fields(r#"{"event":"news","args":[1,{"a":null}]}"#);
        assert_eq!(plain.get("nsp").unwrap(), "/chat");
        let data = String::from_utf8(plain.get("data").unwrap().to_vec()).unwrap();
        assert!(data.contains(r#"["news",1,{"a":null}]"#) && data.contains(r#"["default"]"#), "{data}");
        let other = fields(r#"{"event":"e","nsp":"/","to":[],"except":["x"],"compress":false}"#);
        assert_eq!(other.get("nsp").unwrap(), "/");
        let data = String::from_utf8(other.get("data").unwrap().to_vec()).unwrap();
        assert!(data.contains(r#""compress":false"#) && !data.contains("default"), "{data}");
        assert_eq!(made("  ").unwrap(), None);
        for bad in ["news", "[]", "{}", r#"{"event":"e","rooms":[]}"#, r#"{"event":"e","nsp":"chat"}"#] {
            assert!(made(bad).is_err(), "{bad}");
        }
    }
}
