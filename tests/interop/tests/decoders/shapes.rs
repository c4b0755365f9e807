//! Compares the adapters' and this project's handling of messages in shapes that the adapters do
//! not write themselves. It is the same, unless that harms a client.
//!
//! In a message of each kind every place gets every odd value, in every dialect and encoding.
//! Node's side is played by the real adapters, and the frames of both are read by the real parser
//! of clients.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use sio_streams_driver::sio_streams_core::wire::classic::{self, Request};
use sio_streams_driver::sio_streams_core::wire::{Frames, WireError, entry, pubsub};
use sio_streams_driver::sio_streams_core::{Body, BroadcastOptions, ByteString, Bytes, EntryId, Fields};

use crate::node::{self, Theirs};
use crate::tree::{Tree, odd};
use crate::{made_up, rng, value, value_of};

/// The same as in `adapters.mjs`.
const SOCKETS: [(&str, &[&str]); 3] =
    [("s1", &["s1", "r1", "a"]), ("s2", &["s2", "r2", "b"]), ("s3", &["s3", "r1", "r2"])];
const OFFSET: EntryId = EntryId { ms: 7, seq: 7 };

/// The intended differences, and the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Node's encoder writes a frame that ends connections for a packet of type 5, which it would
    /// choose by itself, and for one without a type. The meaning is plain: an event.
    TypeIsRepaired,
    /// By a type that is the text "2", Node doesn't look for binary values, and gives no offset. It
    /// is an event like others here.
    TypeIsText,
    /// Node gives an event without a name its offset for a name. It is refused here.
    NoName,
    /// Node puts any id into the frame that JavaScript makes a number of: a list of one, a text
    /// with blanks. Here only digits are one.
    OddId,
    /// Node answers with a `requestId` of null, or with none. Nobody can have asked so: here nobody
    /// is answered.
    NoRequestId,
    /// A request that Node answers by what was no text is answered by its text.
    RequestIdIsNoText,
    /// Node makes a room of what is no name, which nobody can name again. It is refused here.
    NonsenseRoom,
    /// `undefined` in a list of rooms is a room of that name in Node, and `null` here, as in JSON.
    /// Nobody can name either.
    UndefinedRoom,
    /// By its older requests, Node joins no room or several at once if the one is a list.
    ListForOneRoom,
    /// Node can make no set of an `ArrayBuffer`, and fails. It is a binary value like others here.
    BufferIsSet,
    /// Node counts the clients of a broadcast that none of its clients would survive, and finds
    /// none. It is refused here before.
    NobodyHarmed,
    /// Node emits to its listeners what has a length, or nothing. Here an event is an array.
    EmitWithoutArray,
}

/// The way by which a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Entry02,
    Entry03,
    Push03,
    Sharded,
    Classic,
    Request,
}

use Way::{Classic, Entry02, Entry03, Push03, Request as Asked, Sharded};

impl Way {
    fn name(self) -> &'static str {
        match self {
            Entry02 => "entry02",
            Entry03 => "entry03",
            Push03 => "push03",
            Sharded => "sharded",
            Classic => "classic",
            Asked => "request",
        }
    }
}

/// One message: how it comes, which kind it is, its value, and which place of it is odd.
struct Case {
    way: Way,
    kind: u8,
    place: String,
    tree: Tree,
    bytes: Vec<u8>,
}

fn opts() -> Tree {
    Tree::map([
        ("rooms", Tree::list(["r1".into(), "b".into()])),
        ("except", Tree::list(["s3".into()])),
        ("flags", Tree::map([("compress", Tree::Bool(true))])),
    ])
}

fn packet() -> Tree {
    let data = Tree::list(["e".into(), Tree::map([("x", 1.into()), ("y", Tree::list(["z".into()]))])]);
    Tree::map([("type", 2.into()), ("data", data), ("nsp", "/".into())])
}

fn with(tree: &Tree, key: &str, value: Tree) -> Tree {
    let Tree::Map(entries) = tree else { panic!("{tree:?}") };
    Tree::Map([&entries[..], &[(key.to_owned(), value)]].concat())
}

/// The data of a message of the streams adapters.
fn data(kind: u8) -> Vec<Tree> {
    let rooms = || ("rooms", Tree::list(["a".into(), "x".into()]));
    let asked = || ("requestId", "r".into());
    match kind {
        3 => {
            let plain = Tree::map([("packet", packet()), ("opts", opts())]);
            let with_id = Tree::map([("packet", with(&packet(), "id", 5.into())), ("opts", opts())]);
            vec![with(&plain, "requestId", "r".into()), with_id, plain]
        }
        4 | 5 => vec![Tree::map([("opts", opts()), rooms()])],
        6 => vec![Tree::map([("opts", opts()), ("close", Tree::Bool(true))])],
        7 => vec![Tree::map([("opts", opts()), asked()])],
        _ => {
            let packet = ("packet", Tree::list(["x".into(), 1.into()]));
            vec![Tree::map([packet.clone()]), Tree::map([packet, asked()])]
        }
    }
}

/// The messages that come by a way, with their kinds and where their odd places may be.
fn messages(way: Way) -> Vec<(u8, Tree)> {
    let kinds = [3, 4, 5, 6, 7, 9];
    match way {
        Entry02 | Entry03 => {
            kinds.into_iter().flat_map(|kind| data(kind).into_iter().map(move |data| (kind, data))).collect()
        }
        Push03 | Sharded => {
            let wrapped = |kind: u8, data| {
                let kind = ("type", Tree::Number(kind.into()));
                Tree::map([("uid", "u".into()), ("nsp", "/".into()), kind, ("data", data)])
            };
            kinds
                .into_iter()
                .flat_map(|kind| data(kind).into_iter().map(move |data| (kind, wrapped(kind, data))))
                .collect()
        }
        Classic => vec![(3, Tree::list(["emitter".into(), packet(), opts()]))],
        Asked => {
            let request = |kind: u8, rest: &[(&str, Tree)]| {
                let all = [&[("type", Tree::Number(kind.into())), ("uid", "u".into())], rest].concat();
                (kind, Tree::Map(all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
            };
            let (id, rooms) = (("requestId", "r".into()), ("rooms", Tree::list(["a".into(), "x".into()])));
            let (sid, room) = (("sid", "s1".into()), ("room", "x".into()));
            let (opts, close) = (("opts", opts()), ("close", Tree::Bool(true)));
            let args = ("data", Tree::list(["x".into(), 1.into()]));
            vec![
                request(0, &[id.clone(), rooms.clone()]),
                request(1, std::slice::from_ref(&id)),
                request(2, &[opts.clone(), rooms.clone()]),
                request(2, &[id.clone(), sid.clone(), room.clone()]),
                request(3, &[opts.clone(), rooms]),
                request(3, &[id.clone(), sid.clone(), ("room", "a".into())]),
                request(4, &[opts.clone(), close.clone()]),
                request(4, &[id.clone(), sid, close]),
                request(5, &[id.clone(), opts.clone()]),
                request(6, std::slice::from_ref(&args)),
                request(6, &[id.clone(), args]),
                request(7, &[id, ("packet", packet()), opts]),
            ]
        }
    }
}

/// The bytes as they come, in each encoding that the value has.
fn encoded(way: Way, kind: u8, tree: &Tree) -> Vec<Vec<u8>> {
    let mut packed = Vec::new();
    tree.packed(&mut packed);
    let json = tree.json().map(String::into_bytes).filter(|text| text.starts_with(b"{"));
    match way {
        Entry02 | Entry03 => {
            let packed = STANDARD.encode(packed).into_bytes();
            let head = format!("{kind:<2}").into_bytes();
            json.into_iter().chain([packed]).map(|data| [head.clone(), data].concat()).collect()
        }
        Push03 | Classic => vec![packed],
        Sharded | Asked => json.into_iter().chain([packed]).collect(),
    }
}

fn cases(rng: &mut Rng) -> Vec<Case> {
    let (mut cases, odd) = (Vec::new(), odd());
    let mut add = |way, kind, place: String, tree: Tree| {
        for bytes in encoded(way, kind, &tree) {
            cases.push(Case { way, kind, place: place.clone(), tree: tree.clone(), bytes });
        }
    };
    for way in [Entry02, Entry03, Push03, Sharded, Classic, Asked] {
        let messages = messages(way);
        for (kind, tree) in &messages {
            for place in tree.places() {
                let values = odd.iter().map(Some).chain([None]);
                for changed in values.filter_map(|value| tree.with(&place, value)) {
                    add(way, *kind, place.join("."), changed);
                }
            }
        }
        // Two odd places at once.
        for _ in 0..made_up() / 4 {
            let (kind, tree) = rng.choice(&messages).unwrap();
            let mut changed = tree.clone();
            let mut places = Vec::new();
            for _ in 0..2 {
                let place = rng.choice(changed.places()).unwrap();
                let value = rng.choice(&odd);
                changed = changed.with(&place, value).unwrap_or(changed);
                places.push(place.join("."));
            }
            add(way, *kind, places.join(" "), changed);
        }
    }
    cases
}

// -- What is done here
// --------------------------------------------------------------------------------------------

/// The effect of a message. Frames for clients are still to be read by their parser.
#[derive(Debug)]
enum Effect {
    Gets(&'static str, Frames),
    Other(String),
}

fn matched(opts: &BroadcastOptions) -> Vec<(&'static str, &'static [&'static str])> {
    let in_any = |rooms: &[&str], names: &[ByteString]| names.iter().any(|name| rooms.contains(&&**name));
    let meant = |(_, rooms): &(&str, &[&str])| {
        (opts.rooms.is_empty() || in_any(rooms, &opts.rooms)) && !in_any(rooms, &opts.except)
    };
    SOCKETS.into_iter().filter(meant).collect()
}

fn sids(opts: &BroadcastOptions) -> String {
    matched(opts).into_iter().map(|(sid, _)| sid).collect::<Vec<_>>().join(",")
}

fn answer(request_id: &str, what: impl ToString) -> Effect {
    Effect::Other(format!("answer {} {}", value::text(request_id), what.to_string()).trim().to_owned())
}

fn moves(opts: &BroadcastOptions, rooms: &[ByteString], join: bool) -> Vec<Effect> {
    let rooms: BTreeSet<&ByteString> = rooms.iter().collect();
    let mut effects = Vec::new();
    for (sid, held) in matched(opts) {
        for room in rooms.iter().filter(|room| held.contains(&&****room) != join) {
            let verb = if join { "joins" } else { "leaves" };
            effects.push(Effect::Other(format!("{sid} {verb} {}", value::text(room))));
        }
    }
    effects
}

fn disconnected(opts: &BroadcastOptions, close: bool) -> Vec<Effect> {
    matched(opts).into_iter().map(|(sid, _)| Effect::Other(format!("{sid} disconnected {close}"))).collect()
}

fn effects_of(body: Body, recovery: bool) -> Result<Vec<Effect>, String> {
    Ok(match body {
        Body::Broadcast { packet, opts, request_id } => {
            let volatile =
                opts.flags.volatile.is_some() || opts.flags.other.iter().any(|(key, _)| key == "volatile");
            let offset =
                (recovery && !volatile && packet.id().is_none() && request_id.is_none()).then_some(OFFSET);
            // The server gives the first of its own ids where acknowledgements are wanted.
            let packet = if request_id.is_some() { packet.with_id(0) } else { packet };
            let frames = packet.frames("/", offset);
            let clients = matched(&opts);
            let count = request_id.map(|id| answer(id.as_str(), clients.len()));
            clients.into_iter().map(|(sid, _)| Effect::Gets(sid, frames.clone())).chain(count).collect()
        }
        Body::SocketsJoin { opts, rooms } => moves(&opts, &rooms, true),
        Body::SocketsLeave { opts, rooms } => moves(&opts, &rooms, false),
        Body::DisconnectSockets { opts, close } => disconnected(&opts, close),
        Body::FetchSockets { opts, request_id } => vec![answer(request_id.as_str(), sids(&opts))],
        Body::ServerSideEmit { packet, request_id } => {
            vec![Effect::Other(format!("emit {} {}", request_id.is_some(), value_of(&packet)?))]
        }
        // An answer to nothing that was asked, or a heartbeat.
        _ => Vec::new(),
    })
}

fn request_effects(request: Request) -> Result<Vec<Effect>, String> {
    let to = |socket: &ByteString| BroadcastOptions::to(socket.clone());
    let done = |effects: Vec<Effect>, socket: &ByteString, id: &str| match SOCKETS
        .iter()
        .any(|(sid, _)| *sid == &**socket)
    {
        true => effects.into_iter().chain([answer(id, "")]).collect(),
        false => Vec::new(),
    };
    Ok(match request {
        Request::Common(body) => effects_of(body, false)?,
        Request::SocketIds { rooms, request_id } => {
            let opts = BroadcastOptions { rooms, ..BroadcastOptions::all() };
            vec![answer(request_id.as_str(), sids(&opts))]
        }
        Request::AllRooms { request_id } => {
            let rooms: BTreeSet<&str> = SOCKETS.iter().flat_map(|(_, rooms)| rooms.iter().copied()).collect();
            vec![answer(request_id.as_str(), rooms.len())]
        }
        Request::RemoteJoin { socket, room, request_id } => {
            done(moves(&to(&socket), &[room], true), &socket, request_id.as_str())
        }
        Request::RemoteLeave { socket, room, request_id } => {
            done(moves(&to(&socket), &[room], false), &socket, request_id.as_str())
        }
        Request::RemoteDisconnect { socket, close, request_id } => {
            done(disconnected(&to(&socket), close), &socket, request_id.as_str())
        }
    })
}

fn ours(case: &Case) -> Result<Vec<Effect>, String> {
    let bytes = Bytes::copy_from_slice(&case.bytes);
    let text = |error: WireError| error.to_string();
    let message = match case.way {
        Entry02 | Entry03 => {
            let mut fields: Fields = [("uid", "u"), ("nsp", "/")].into_iter().collect();
            fields.push("type", case.kind.to_string());
            fields.push("data", bytes.slice(2..));
            entry::decode(&fields)
        }
        Push03 => pubsub::decode(&bytes),
        Sharded => pubsub::decode_sharded(&bytes),
        Classic => classic::decode_broadcast(&bytes),
        Asked => return request_effects(classic::decode_request(&bytes).map_err(text)?.1),
    }
    .map_err(text)?;
    match &*message.nsp {
        "/" => effects_of(message.body, matches!(case.way, Entry02 | Entry03)),
        _ => Ok(Vec::new()),
    }
}

/// The result of the clients' parser for each message's frames.
fn read_by_clients(all: Vec<Result<Vec<Effect>, String>>) -> Vec<Result<Vec<String>, String>> {
    let mut frames = Vec::new();
    for effect in all.iter().flatten().flatten() {
        if let Effect::Gets(_, Frames { text, attachments }) = effect {
            let attachments: Vec<String> = attachments.iter().map(|bytes| STANDARD.encode(bytes)).collect();
            let value = serde_json::json!({ "text": &**text, "attachments": attachments });
            frames.push(value.to_string().into_bytes());
        }
    }
    let mut read = node::decode_all("frames", &frames).into_iter();
    let mut line = |effect| match effect {
        Effect::Gets(sid, _) => format!("{sid} {}", read.next().unwrap().unwrap()),
        Effect::Other(text) => text,
    };
    all.into_iter()
        .map(|effects| {
            let mut lines: Vec<String> = effects?.into_iter().map(&mut line).collect();
            lines.sort();
            Ok(lines)
        })
        .collect()
}

// -- The comparison
// -----------------------------------------------------------------------------------------------

enum Verdict {
    Same,
    Spared,
    Known(Known),
    Differs,
}

fn judge(case: &Case, ours: &Result<Vec<String>, String>, theirs: &str) -> Verdict {
    let theirs: Vec<&str> = theirs.split("; ").filter(|effect| !effect.is_empty()).collect();
    let harms = theirs.iter().any(|effect| effect.contains("HARM"));
    let nobody = theirs.len() == 1 && theirs[0].starts_with("answer") && theirs[0].ends_with(" 0");
    let throws = theirs.iter().any(|effect| effect.starts_with("throws"));
    let equal = match ours {
        Ok(ours) => !harms && !throws && *ours == theirs,
        Err(_) => throws || theirs.is_empty(),
    };
    if equal || ours.as_ref().is_ok_and(Vec::is_empty) && theirs.is_empty() {
        return Verdict::Same;
    }
    if ours.is_err() && harms {
        return Verdict::Spared;
    }
    known(case, ours, harms, throws, nobody).map_or(Verdict::Differs, Verdict::Known)
}

/// The known difference that explains this one.
fn known(
    case: &Case,
    ours: &Result<Vec<String>, String>,
    harms: bool,
    throws: bool,
    nobody: bool,
) -> Option<Known> {
    let tree = match case.way {
        Push03 | Sharded => case.tree.get("data")?,
        _ => &case.tree,
    };
    let packet = if case.way == Classic { tree.get("1") } else { tree.get("packet") };
    let of_packet = |key| packet.and_then(|packet| packet.get(key));
    let opts = if case.way == Classic { tree.get("2") } else { tree.get("opts") };
    let request_id = tree.get("requestId");
    let typed = match case.tree.get("type") {
        Some(Tree::Number(kind)) => *kind,
        _ => case.kind.into(),
    };
    let undefined_room = matches!(tree.get("rooms"), Some(Tree::List(list))
        if list.iter().any(|room| matches!(room, Tree::Undefined)));
    let is_null = matches!(request_id, Some(Tree::Null));
    let asks = match case.way {
        Asked => matches!(typed, 0.0 | 1.0 | 5.0 | 7.0) || tree.get("opts").is_none(),
        _ => typed == 7.0,
    };
    let takes_rooms = if case.way == Asked { typed == 2.0 || typed == 3.0 } else { typed == 4.0 };
    let rooms = tree.get("room").or(tree.get("rooms"));
    let sets = [
        tree.get("rooms"),
        opts.and_then(|opts| opts.get("rooms")),
        opts.and_then(|opts| opts.get("except")),
    ];
    let event = if case.way == Asked { tree.get("data") } else { packet };
    let emits = typed == if case.way == Asked { 6.0 } else { 9.0 };
    let is_text =
        |value: Option<&Tree>, text: &str| matches!(value, Some(Tree::Text(other)) if other == text);
    let kind = of_packet("type");
    let five = is_text(kind, "5") || matches!(kind, Some(Tree::Number(5.0)));
    let nothing = |value: Option<&Tree>| matches!(value, None | Some(Tree::Null | Tree::Undefined));
    let all = [
        (ours.is_ok() && takes_rooms && undefined_room, Known::UndefinedRoom),
        (harms && ours.is_ok() && (five || nothing(kind)), Known::TypeIsRepaired),
        (ours.is_ok() && is_text(kind, "2"), Known::TypeIsText),
        (
            ours.is_err() && matches!(of_packet("data"), Some(Tree::List(list)) if list.is_empty()),
            Known::NoName,
        ),
        (ours.is_err() && matches!(of_packet("id"), Some(Tree::List(_) | Tree::Text(_))), Known::OddId),
        (!throws && (is_null || asks && nothing(request_id)), Known::NoRequestId),
        (ours.is_ok() && !matches!(request_id, None | Some(Tree::Text(_))), Known::RequestIdIsNoText),
        (
            ours.is_err() && takes_rooms && matches!(tree.get("room"), Some(Tree::List(_))),
            Known::ListForOneRoom,
        ),
        (ours.is_err() && takes_rooms && !matches!(rooms, Some(Tree::List(_))), Known::NonsenseRoom),
        (
            throws && ours.is_ok() && sets.iter().any(|set| matches!(set, Some(Tree::Ext(0, _)))),
            Known::BufferIsSet,
        ),
        (ours.is_err() && nobody && packet.is_some(), Known::NobodyHarmed),
        (ours.is_err() && emits && !matches!(event, Some(Tree::List(_))), Known::EmitWithoutArray),
    ];
    all.into_iter().find_map(|(is, known)| is.then_some(known))
}

#[test]
fn every_shape_is_taken_as_node_takes_it_unless_it_harms_a_client() {
    let cases = cases(&mut rng());
    let ours = read_by_clients(cases.iter().map(ours).collect());
    let mut theirs: BTreeMap<Way, std::vec::IntoIter<Theirs>> = BTreeMap::new();
    for way in [Entry02, Entry03, Push03, Sharded, Classic, Asked] {
        let bytes: Vec<Vec<u8>> =
            cases.iter().filter(|case| case.way == way).map(|case| case.bytes.clone()).collect();
        theirs.insert(way, node::decode_all(way.name(), &bytes).into_iter());
    }
    let (mut same, mut spared, mut met, mut failed) = (0, 0, BTreeMap::<Known, usize>::new(), Vec::new());
    for (case, ours) in cases.iter().zip(&ours) {
        let theirs = theirs.get_mut(&case.way).unwrap().next().unwrap().unwrap();
        // Everything that a client gets from here, it takes for an event.
        assert!(!ours.iter().flatten().any(|effect| effect.contains("HARM")), "{:?}: {ours:?}", case.tree);
        match judge(case, ours, &theirs) {
            Verdict::Same => same += 1,
            Verdict::Spared => spared += 1,
            Verdict::Known(known) => *met.entry(known).or_default() += 1,
            Verdict::Differs => failed.push((case, ours, theirs)),
        }
    }
    println!(
        "{same} the same, {spared} that harm clients of Node's and are refused; known differences: {met:?}"
    );
    let mut by_place = BTreeMap::<String, usize>::new();
    let shown: Vec<String> = failed
        .iter()
        .filter(|(case, ..)| {
            let seen = by_place.entry(format!("{:?} {} {}", case.way, case.kind, case.place)).or_default();
            *seen += 1;
            *seen <= 2
        })
        .take(60)
        .map(|(case, ours, theirs)| {
            let Case { way, kind, place, bytes, .. } = case;
            let bytes = Bytes::copy_from_slice(bytes);
            format!("{way:?} {kind} {place}\n  {bytes:?}\n  ours   {ours:?}\n  theirs {theirs}")
        })
        .collect();
    assert!(shown.is_empty(), "{} differences:\n{}", failed.len(), shown.join("\n"));
}
