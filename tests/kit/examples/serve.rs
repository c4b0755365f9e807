//! Redis for tests in other languages: it starts servers, writes their addresses as a line of JSON,
//! and follows the lines that it reads. The servers end with its standard input.
//!
//! ```console
//! $ cargo run -p sio-streams-testkit --example serve -- cluster
//! {"url": "redis://127.0.0.1:40001", "also": ["127.0.0.1:40002", …]}
//! fail over
//! {"done": "fail over"}
//! ```
//!
//! The kinds are `tls` (one server), `cluster` (three masters, each with a replica) and `sentinel`
//! (a master with a replica, and three sentinels). `fail over` kills a master, and waits until its
//! replica has taken its place.

use std::io::{self, BufRead, Write};

use sio_streams_testkit::{RedisCluster, RedisSentinel, RedisServer};

enum Redis {
    Tls(Box<RedisServer>),
    Cluster(RedisCluster),
    Sentinel(Box<RedisSentinel>),
}

fn main() -> io::Result<()> {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let redis = match &*kind {
        "tls" => Redis::Tls(Box::new(RedisServer::builder().requirepass("secret").tls().start()?)),
        "cluster" => Redis::Cluster(RedisCluster::start(3)?),
        "sentinel" => Redis::Sentinel(Box::new(RedisSentinel::start()?)),
        _ => return Err(io::Error::other(format!("{kind:?} is none of tls, cluster and sentinel"))),
    };
    say(&redis.addresses()?)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match &*line {
            "fail over" => match redis.fail_over() {
                Ok(()) => object(&[("done", text(&line))]),
                Err(error) => object(&[("error", text(&error.to_string()))]),
            },
            _ => object(&[("error", text(&format!("{line:?} is not known")))]),
        };
        say(&answer)?;
    }
    Ok(())
}

impl Redis {
    fn addresses(&self) -> io::Result<String> {
        Ok(match self {
            Redis::Tls(server) => {
                let missing = || io::Error::other("the server has no TLS");
                let (url, files) = (server.tls_url(), server.tls_files().ok_or_else(missing)?);
                let path = |path: &std::path::Path| text(&path.display().to_string());
                object(&[
                    ("url", text(&url.ok_or_else(missing)?)),
                    ("plain", text(&server.url())),
                    ("ca", path(&files.ca)),
                    ("cert", path(&files.cert)),
                    ("key", path(&files.key)),
                ])
            }
            Redis::Cluster(cluster) => {
                object(&[("url", text(&cluster.url())), ("also", others(cluster.nodes()))])
            }
            Redis::Sentinel(sentinel) => object(&[
                ("url", text(&sentinel.sentinels()[0].url())),
                ("also", others(sentinel.sentinels())),
                ("name", text(sentinel.master_name())),
            ]),
        })
    }

    fn fail_over(&self) -> io::Result<()> {
        match self {
            Redis::Tls(_) => Err(io::Error::other("a single server has no replica")),
            // The owner of the stream.
            Redis::Cluster(cluster) => cluster.fail_over(cluster.owner("socket.io")),
            Redis::Sentinel(sentinel) => sentinel.fail_over(),
        }
    }
}

/// The addresses of all servers but the first.
fn others(servers: &[RedisServer]) -> String {
    let others: Vec<String> = servers[1..].iter().map(|server| text(&server.addr().to_string())).collect();
    format!("[{}]", others.join(", "))
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}: {value}", text(name))).collect();
    format!("{{{}}}", members.join(", "))
}

/// A text as JSON has it.
fn text(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            _ if character.is_control() => json += &format!("\\u{:04x}", u32::from(character)),
            _ => json.push(character),
        }
    }
    json + "\""
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
