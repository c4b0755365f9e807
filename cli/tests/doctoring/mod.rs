//! Runs `sio-streams doctor`, and a way to a server that says something else than the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::Value;

/// The output of a run of the doctor.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) code: Option<i32>,
    pub(crate) findings: Vec<Value>,
    pub(crate) summary: Value,
}

impl Diagnosis {
    /// The findings of this kind.
    pub(crate) fn of(&self, code: &str) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["code"] == code).collect()
    }

    /// The kinds of findings, each once.
    pub(crate) fn codes(&self) -> Vec<&str> {
        let mut codes: Vec<_> =
            self.findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// The only finding of this kind, with this severity, whose text has these words.
    #[track_caller]
    pub(crate) fn has(&self, code: &str, severity: &str, words: &str) {
        let found = self.of(code);
        let [finding] = found[..] else { panic!("{} times {code}: {self:#?}", found.len()) };
        assert_eq!(finding["severity"], severity, "{finding:#}");
        assert!(finding["seen"].as_str().unwrap().contains(words), "{finding:#}");
        assert!(
            !finding["todo"].as_str().unwrap().is_empty() && !finding["means"].as_str().unwrap().is_empty()
        );
    }
}

/// Runs the doctor.
#[track_caller]
pub(crate) fn doctor(url: &str, args: &[&str]) -> Diagnosis {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio-streams"));
    let output = command.args(["doctor", "--json", "--redis", url]).args(args).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut findings: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    findings.iter().for_each(|line| crate::schema::check("doctor", line));
    let summary = findings.pop().unwrap();
    assert_eq!(summary["kind"], "diagnosis", "{summary}");
    let expected = match summary["worst"].as_str() {
        Some("error") => 4,
        Some("warning") => 3,
        _ => 0,
    };
    let code = output.status.code();
    assert_eq!(code, Some(expected), "{summary}");
    Diagnosis { code, findings, summary }
}

/// Starts a way to a server on which each piece of what the server says is changed. Returns the URL.
pub(crate) fn changed(server: SocketAddr, change: fn(Vec<u8>) -> Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(server).unwrap();
            pass(client.try_clone().unwrap(), server.try_clone().unwrap(), |bytes| bytes);
            pass(server, client, change);
        }
    });
    url
}

fn pass(mut from: TcpStream, mut to: TcpStream, change: fn(Vec<u8>) -> Vec<u8>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&change(buffer[..count].to_vec())).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}
