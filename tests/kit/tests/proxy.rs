//! Breaks a link in every supported way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sio_streams_testkit::{Client, Direction, Fault, Proxy, RedisServer, Reply, Trouble};

fn pair() -> (RedisServer, Proxy) {
    let redis = RedisServer::start().expect("a server");
    let proxy = Proxy::start(redis.addr()).expect("a proxy");
    (redis, proxy)
}

#[test]
fn a_cut_link_refuses_until_it_is_restored() {
    let (_redis, proxy) = pair();
    let mut client = Client::connect(proxy.addr()).unwrap();
    client.command(&["SET", "a", "1"]).unwrap();
    assert_eq!(proxy.connections(), 1);

    proxy.cut();
    assert!(client.command(&["GET", "a"]).is_err());
    assert!(Client::connect(proxy.addr()).is_err());
    assert_eq!(proxy.connections(), 0);

    proxy.restore().unwrap();
    let mut client = Client::connect(proxy.addr()).unwrap();
    assert_eq!(client.command(&["GET", "a"]).unwrap(), Reply::Bulk(b"1".to_vec()));
}

#[test]
fn a_stalled_link_holds_back_and_delivers_later() {
    let (redis, proxy) = pair();
    let mut client = Client::connect(proxy.addr()).unwrap();
    client.command(&["PING"]).unwrap();
    proxy.stall();
    let answer = std::thread::spawn(move || client.command(&["INCR", "a"]).unwrap());
    assert_eq!(redis.command(&["GET", "a"]), Reply::Nil);
    assert!(!answer.is_finished());
    proxy.unstall();
    assert_eq!(answer.join().unwrap(), Reply::Int(1));
}

#[test]
fn a_reply_can_be_lost_after_its_command_was_carried_out() {
    let (redis, proxy) = pair();
    let mut client = Client::connect(proxy.addr()).unwrap();
    client.command(&["PING"]).unwrap();
    proxy.stall_replies();
    let answer = std::thread::spawn(move || client.command(&["INCR", "a"]));
    while redis.command(&["GET", "a"]) == Reply::Nil {
        std::thread::yield_now();
    }
    proxy.cut();
    assert!(answer.join().unwrap().is_err());
}

fn fault(direction: Direction, after: u64, what: Trouble) -> Fault {
    Fault { direction, after, what }
}

/// `GET a`, as it goes over the wire.
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";

#[test]
fn a_link_breaks_in_the_middle_of_a_reply() {
    let (redis, proxy) = pair();
    redis.command(&["SET", "a", "0123456789"]);
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    proxy.inject(fault(Direction::Replies, 7, Trouble::Cut));
    client.write_all(GET).unwrap();
    let mut reply = Vec::new();
    // A reset is an end as well.
    let _ = client.read_to_end(&mut reply);
    assert_eq!(reply, b"$10\r\n01");
    assert_eq!(proxy.faults(), 0);
}

#[test]
fn a_truncated_link_stays_open_and_is_silent() {
    let (redis, proxy) = pair();
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    proxy.inject(fault(Direction::Requests, GET.len() as u64 - 1, Trouble::Truncate));
    client.write_all(GET).unwrap();
    client.write_all(GET).unwrap();
    while proxy.faults() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(proxy.connections(), 1);
    let mut other = Client::connect(proxy.addr()).unwrap();
    other.command(&["INCR", "b"]).unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(redis.command(&["GET", "b"]), Reply::Bulk(b"1".to_vec()));
}

#[test]
fn what_a_link_held_back_arrives_late_though_its_sender_has_gone() {
    let (redis, proxy) = pair();
    let mut client = TcpStream::connect(proxy.addr()).unwrap();
    proxy.inject(fault(Direction::Requests, 5, Trouble::Stall(Duration::from_millis(200))));
    client.write_all(b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n").unwrap();
    drop(client);
    while redis.command(&["GET", "a"]) == Reply::Nil {
        std::thread::yield_now();
    }
    assert_eq!(redis.command(&["GET", "a"]), Reply::Bulk(b"1".to_vec()));
}

#[test]
fn a_delayed_link_is_slow_until_it_is_calm() {
    let (_redis, proxy) = pair();
    let mut client = Client::connect(proxy.addr()).unwrap();
    let delay = Duration::from_millis(50);
    proxy.inject(fault(Direction::Replies, 0, Trouble::Delay(delay)));
    client.command(&["PING"]).unwrap();
    let started = Instant::now();
    client.command(&["PING"]).unwrap();
    assert!(started.elapsed() >= delay);
    proxy.inject(fault(Direction::Replies, 0, Trouble::Delay(Duration::from_secs(3_600))));
    proxy.calm();
    client.command(&["PING"]).unwrap();
}

#[test]
fn new_connections_go_to_the_new_target() {
    let (one, proxy) = pair();
    let two = RedisServer::start().expect("a server");
    let mut old = Client::connect(proxy.addr()).unwrap();
    old.command(&["INCR", "a"]).unwrap();
    proxy.retarget(two.addr());
    let mut new = Client::connect(proxy.addr()).unwrap();
    for _ in 0..3 {
        new.command(&["INCR", "a"]).unwrap();
    }
    assert_eq!(old.command(&["GET", "a"]).unwrap(), Reply::Bulk(b"1".to_vec()));
    assert_eq!(one.command(&["GET", "a"]), Reply::Bulk(b"1".to_vec()));
    assert_eq!(two.command(&["GET", "a"]), Reply::Bulk(b"3".to_vec()));
}
