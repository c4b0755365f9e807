//! A `sio-streams tail` that runs beside the test.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// The time limit for a line. It is generous: a loaded machine is no failure.
const BOUND: Duration = Duration::from_secs(120);

pub(crate) struct Tail {
    child: Child,
    output: Option<BufReader<std::process::ChildStdout>>,
    lines: Option<Receiver<String>>,
    notes: Receiver<String>,
    noted: Vec<String>,
}

/// Reads lines in the background.
fn read(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Tail {
    pub(crate) fn start(url: &str, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
        command.args(["tail", "--redis", url]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        let notes = read(child.stderr.take().unwrap());
        Tail { child, output, lines: None, notes, noted: Vec::new() }
    }

    /// The next line of the output.
    pub(crate) fn line(&mut self) -> String {
        let lines = match (&self.lines, self.output.take()) {
            (None, Some(output)) => self.lines.insert(read(output)),
            (Some(lines), _) => lines,
            (None, None) => panic!("the output is closed"),
        };
        match lines.recv_timeout(BOUND) {
            Ok(line) => line,
            Err(error) => panic!("no line: {error}; {:?}", self.noted),
        }
    }

    /// Waits for a line of stderr with this text, or finds it among those that came before.
    pub(crate) fn note(&mut self, text: &str) {
        while !self.noted.iter().any(|note| note.contains(text)) {
            match self.notes.recv_timeout(BOUND) {
                Ok(note) => self.noted.push(note),
                Err(error) => panic!("it did not say {text:?}: {error}; {:?}", self.noted),
            }
        }
    }

    /// Reads the first line, and closes the pipe.
    pub(crate) fn line_and_close(&mut self) -> String {
        let mut line = String::new();
        self.output.take().unwrap().read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    /// Waits for the end. Returns the exit code, and what was said on stderr.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let mut said = core::mem::take(&mut self.noted);
        loop {
            match self.notes.recv_timeout(BOUND) {
                Ok(note) => said.push(note),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end; {said:?}"),
            }
        }
        let code = self.child.wait().unwrap().code();
        (code, said.iter().map(|line| format!("{line}\n")).collect())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
