//! The proxy's habits, one by one.

use std::time::Duration;

use sio_streams_testkit::{Chaos, Client, Direction, Habit, RedisServer, Reply};

fn start(habits: Vec<Habit>) -> (RedisServer, Chaos) {
    let redis = RedisServer::start().expect("a server");
    let proxy = Chaos::start(redis.addr(), habits).expect("a proxy");
    (redis, proxy)
}

fn connect(proxy: &Chaos) -> Client {
    Client::connect(proxy.addr()).expect("a connection")
}

#[test]
fn replies_have_a_largest_size() {
    let (redis, proxy) = start(vec![Habit::LargestReply(1_000)]);
    redis.command(&["SET", "small", &"x".repeat(900)]);
    redis.command(&["SET", "large", &"x".repeat(1_000)]);
    for _ in 0..30 {
        redis.command(&["RPUSH", "list", &"x".repeat(90)]);
    }
    let mut client = connect(&proxy);
    assert_eq!(client.command(&["GET", "small"]).unwrap().as_str().map(str::len), Some(900));
    assert_eq!(client.command(&["LRANGE", "list", "0", "4"]).unwrap().items().len(), 5);
    client.command(&["LRANGE", "list", "0", "-1"]).expect_err("a list counts as a whole");
    let mut client = connect(&proxy);
    client.command(&["GET", "large"]).expect_err("it is too large");
    proxy.habits(Vec::new());
    assert_eq!(connect(&proxy).command(&["GET", "large"]).unwrap().as_str().map(str::len), Some(1_000));
}

#[test]
fn idle_connections_are_closed_and_others_are_not() {
    let (_redis, proxy) = start(vec![Habit::CloseIdle(Duration::from_millis(50))]);
    let mut client = connect(&proxy);
    client.command(&["PING"]).unwrap();
    assert!(client.read_reply().is_err(), "it ends, though nothing is asked");
    proxy.habits(Vec::new());
    let mut client = connect(&proxy);
    client.command(&["PING"]).unwrap();
    client.command(&["PING"]).unwrap();
}

#[test]
fn each_direction_falls_silent_by_itself() {
    let (redis, proxy) = start(Vec::new());
    for (direction, arrives) in [(Direction::Replies, true), (Direction::Requests, false)] {
        let mut client = connect(&proxy);
        client.command(&["PING"]).unwrap();
        redis.command(&["SET", "a", "0"]);
        proxy.silence(direction);
        let asked = std::thread::spawn(move || client.command(&["INCR", "a"]));
        let value = || redis.command(&["GET", "a"]).as_int();
        while arrives && value() != Some(1) {
            std::thread::yield_now();
        }
        assert!(!asked.is_finished());
        assert_eq!(value(), Some(i64::from(arrives)));
        proxy.speak();
        assert_eq!(asked.join().unwrap().unwrap(), Reply::Int(1));
    }
}

#[test]
fn commands_are_answered_in_its_own_words() {
    let answer = [":7"].map(String::from).to_vec();
    let (redis, proxy) = start(vec![Habit::Answer("CLIENT ID", answer)]);
    let mut client = connect(&proxy);
    assert_eq!(client.command(&["CLIENT", "ID"]).unwrap(), Reply::Int(7));
    assert!(!matches!(client.command(&["CLIENT", "GETNAME"]).unwrap(), Reply::Int(_)));
    let other = RedisServer::start().expect("a server");
    proxy.retarget(other.addr());
    connect(&proxy).command(&["SET", "a", "1"]).unwrap();
    assert_eq!(other.command(&["GET", "a"]).as_int(), Some(1));
    assert_eq!(redis.command(&["GET", "a"]), Reply::Nil);
}
