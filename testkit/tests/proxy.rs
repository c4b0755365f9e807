//! Breaks a link in every way it can be broken.

use sio_streams_testkit::{Client, Proxy, RedisServer, Reply};

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
