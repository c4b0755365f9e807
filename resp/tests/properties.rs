//! Whatever a server sends, in whatever pieces: the reader reads the same, and holds its limits.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sio_streams_resp::sio_streams_core::{Entry, EntryId, Fields};
use sio_streams_resp::{
    Args, Bytes, Came, Expected, Pipeline, ReadLimits, Reader, Received, Reply, RespError, Value,
};

/// A value as a server writes it.
#[derive(Clone, Debug)]
enum Sent {
    Nil,
    Int(i64),
    Bool(bool),
    Double(f64),
    Big(u128, bool),
    Bulk(Vec<u8>),
    Simple(String),
    Verbatim(String),
    Error(String),
    BulkError(String),
    Array(Vec<Sent>),
    Set(Vec<Sent>),
    Map(Vec<(Sent, Sent)>),
    Attributed(Vec<(Sent, Sent)>, Box<Sent>),
}

impl Sent {
    /// Writes the value. RESP2 has lists for maps and sets, and no other types.
    fn write(&self, resp3: bool, out: &mut Vec<u8>) {
        let mut line = |mark: char, text: &dyn core::fmt::Display| {
            out.extend_from_slice(format!("{mark}{text}\r\n").as_bytes());
        };
        match self {
            Sent::Nil if resp3 => line('_', &""),
            Sent::Nil => line('$', &-1),
            Sent::Int(number) => line(':', number),
            Sent::Bool(truth) if resp3 => line('#', if *truth { &"t" } else { &"f" }),
            Sent::Bool(truth) => line(':', &i64::from(*truth)),
            Sent::Double(number) if resp3 => line(',', number),
            Sent::Big(number, negative) if resp3 => line('(', &big(*number, *negative)),
            Sent::Double(number) => bulk('$', number.to_string().as_bytes(), out),
            Sent::Big(number, negative) => bulk('$', big(*number, *negative).as_bytes(), out),
            Sent::Bulk(bytes) => bulk('$', bytes, out),
            Sent::Simple(text) => line('+', text),
            Sent::Verbatim(text) if resp3 => bulk('=', format!("txt:{text}").as_bytes(), out),
            Sent::Verbatim(text) => bulk('$', text.as_bytes(), out),
            Sent::BulkError(text) if resp3 => bulk('!', text.as_bytes(), out),
            Sent::Error(text) | Sent::BulkError(text) => line('-', text),
            Sent::Array(items) | Sent::Set(items) => {
                let mark = if resp3 && matches!(self, Sent::Set(_)) { '~' } else { '*' };
                line(mark, &items.len());
                items.iter().for_each(|item| item.write(resp3, out));
            }
            Sent::Map(pairs) => {
                if resp3 {
                    line('%', &pairs.len())
                } else {
                    line('*', &(2 * pairs.len()))
                }
                write_pairs(pairs, resp3, out);
            }
            Sent::Attributed(pairs, value) => {
                if resp3 {
                    line('|', &pairs.len());
                    write_pairs(pairs, resp3, out);
                }
                value.write(resp3, out);
            }
        }
    }

    fn value(&self, resp3: bool) -> Value {
        let text = |text: String| Value::Bytes(text.into());
        match self {
            Sent::Nil => Value::Nil,
            Sent::Int(number) => Value::Int(*number),
            Sent::Bool(truth) => Value::Int((*truth).into()),
            Sent::Double(number) => text(number.to_string()),
            Sent::Big(number, negative) => text(big(*number, *negative)),
            Sent::Bulk(bytes) => Value::Bytes(bytes.clone().into()),
            Sent::Simple(words) | Sent::Verbatim(words) => text(words.clone()),
            Sent::Error(words) | Sent::BulkError(words) => Value::error(words),
            Sent::Array(items) | Sent::Set(items) => {
                Value::List(items.iter().map(|item| item.value(resp3)).collect())
            }
            Sent::Map(pairs) if resp3 => {
                Value::Map(pairs.iter().map(|(key, value)| (key.value(resp3), value.value(resp3))).collect())
            }
            Sent::Map(pairs) => Value::List(
                pairs.iter().flat_map(|(key, value)| [key.value(false), value.value(false)]).collect(),
            ),
            Sent::Attributed(_, value) => value.value(resp3),
        }
    }

    /// Returns how deep lists are nested in what is written.
    fn depth(&self, resp3: bool) -> usize {
        let deepest = |items: &[&Sent]| items.iter().map(|item| 1 + item.depth(resp3)).max().unwrap_or(0);
        let of_pairs = |pairs: &[(Sent, Sent)]| {
            deepest(&pairs.iter().flat_map(|(key, value)| [key, value]).collect::<Vec<_>>())
        };
        match self {
            Sent::Array(items) | Sent::Set(items) => deepest(&items.iter().collect::<Vec<_>>()),
            Sent::Map(pairs) => of_pairs(pairs),
            Sent::Attributed(pairs, value) if resp3 => of_pairs(pairs).max(value.depth(resp3)),
            Sent::Attributed(_, value) => value.depth(resp3),
            _ => 0,
        }
    }
}

fn big(number: u128, negative: bool) -> String {
    format!("{}{number}", if negative { "-" } else { "" })
}

fn bulk(mark: char, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{mark}{}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_pairs(pairs: &[(Sent, Sent)], resp3: bool, out: &mut Vec<u8>) {
    for (key, value) in pairs {
        key.write(resp3, out);
        value.write(resp3, out);
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let words = || "[A-Z]{1,8} [a-z ]{0,20}[a-z]";
    let leaf = prop_oneof![
        Just(Sent::Nil),
        any::<i64>().prop_map(Sent::Int),
        any::<bool>().prop_map(Sent::Bool),
        any::<f64>().prop_map(Sent::Double),
        any::<(u128, bool)>().prop_map(|(number, negative)| Sent::Big(number, negative)),
        vec(any::<u8>(), 0..200).prop_map(Sent::Bulk),
        "[ -~]{0,20}".prop_map(Sent::Simple),
        "\\PC{0,20}".prop_map(Sent::Verbatim),
        words().prop_map(Sent::Error),
        words().prop_map(Sent::BulkError),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let pairs = || vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Sent::Array),
            vec(inner.clone(), 0..8).prop_map(Sent::Set),
            pairs().prop_map(Sent::Map),
            (pairs(), inner.clone()).prop_map(|(pairs, value)| Sent::Attributed(pairs, value.into())),
        ]
    })
}

/// Reads all values of the bytes, which come in pieces of these sizes, over and over.
fn read(bytes: &[u8], sizes: &[usize], limits: ReadLimits) -> (Vec<Received>, Option<RespError>) {
    let mut reader = Reader::new(limits);
    let mut values = Vec::new();
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    loop {
        match reader.read() {
            Ok(Some(value)) => values.push(value),
            Ok(None) if rest.is_empty() => return (values, None),
            Ok(None) => {
                let (piece, behind) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
                reader.feed(piece);
                rest = behind;
            }
            Err(error) => return (values, Some(error)),
        }
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1_usize..50, 1..20)
}

/// Uses the same cases in every run. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` select others, and
/// more of them.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let rng_seed = match given.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed => fixed,
    };
    ProptestConfig { rng_seed, failure_persistence: None, ..given }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_a_server_writes_is_read_however_it_comes(
        sent in vec(sent(), 1..5), resp3: bool, sizes in sizes(),
    ) {
        let mut bytes = Vec::new();
        sent.iter().for_each(|value| value.write(resp3, &mut bytes));
        let expected: Vec<_> = sent.iter().map(|value| value.value(resp3)).collect();
        for sizes in [&[usize::MAX][..], &[1], &sizes] {
            let (values, error) = read(&bytes, sizes, ReadLimits::default());
            prop_assert_eq!(error, None);
            let values: Vec<_> = values.into_iter().map(|received| received.value).collect();
            prop_assert_eq!(&values, &expected);
        }
    }

    #[test]
    fn damaged_bytes_are_read_the_same_however_they_come(
        sent in vec(sent(), 1..3), resp3: bool, sizes in sizes(),
        damage in vec((any::<prop::sample::Index>(), prop::sample::select(b"0129$*%|>~+-:,(#_=!\r\nx".to_vec())), 0..4),
        depth in 0_usize..8, length in 0_usize..400,
    ) {
        let mut bytes = Vec::new();
        sent.iter().for_each(|value| value.write(resp3, &mut bytes));
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for limits in [ReadLimits::default(), ReadLimits::default().with_depth(depth).with_bytes(length)] {
            let whole = read(&bytes, &[usize::MAX], limits);
            prop_assert_eq!(&read(&bytes, &[1], limits), &whole);
            prop_assert_eq!(&read(&bytes, &sizes, limits), &whole);
        }
    }

    #[test]
    fn limits_are_exact(sent in sent(), resp3: bool, sizes in sizes()) {
        let mut bytes = Vec::new();
        sent.write(resp3, &mut bytes);
        let (depth, length) = (sent.depth(resp3), bytes.len());
        let fitting = ReadLimits::default().with_depth(depth).with_bytes(length);
        prop_assert_eq!(read(&bytes, &sizes, fitting).1, None);
        let short = read(&bytes, &sizes, fitting.with_bytes(length - 1));
        prop_assert_eq!(short, (vec![], Some(RespError::TooLong { limit: length - 1 })));
        if depth > 0 {
            let shallow = read(&bytes, &sizes, fitting.with_depth(depth - 1));
            prop_assert_eq!(shallow, (vec![], Some(RespError::TooDeep { limit: depth - 1 })));
        }
    }

    #[test]
    fn a_command_is_read_as_it_was_written(args in vec(vec(any::<u8>(), 0..300), 1..20), sizes in sizes()) {
        let args: Vec<Bytes> = args.into_iter().map(Bytes::from).collect();
        let mut request = Vec::new();
        Args::from(args.clone()).encode(&mut request);
        let (values, error) = read(&request, &sizes, ReadLimits::default());
        prop_assert_eq!(error, None);
        let expected = Value::List(args.into_iter().map(Value::Bytes).collect());
        prop_assert_eq!(values, vec![Received { value: expected, is_push: false }]);
    }

    #[test]
    fn entries_are_read_from_every_form(
        entries in vec((any::<(u64, u64)>(), vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..99)), 0..7)), 0..9),
        resp3: bool, plain: bool,
    ) {
        let mut list = Vec::new();
        let mut expected = Vec::new();
        for ((ms, seq), fields) in &entries {
            let id = EntryId { ms: *ms, seq: *seq };
            let flat = fields.iter().flat_map(|(name, value)| [Sent::Bulk(name.clone()), Sent::Bulk(value.clone())]);
            let id_sent = if plain { Sent::Simple(id.to_string()) } else { Sent::Bulk(id.to_string().into()) };
            list.push(Sent::Array(vec![id_sent, Sent::Array(flat.collect())]));
            expected.push(Entry { id, fields: Fields::from_iter(fields.clone()) });
        }
        let list = Sent::Array(list);
        let name = || Sent::Bulk(b"s".to_vec());
        let wrapped = match resp3 {
            true => Sent::Map(vec![(name(), list.clone())]),
            false => Sent::Array(vec![Sent::Array(vec![name(), list.clone()])]),
        };
        for (command, sent, form) in [("XREAD", wrapped, Expected::Entries), ("XRANGE", list, Expected::Range)] {
            let mut bytes = Vec::new();
            sent.write(resp3, &mut bytes);
            let mut pipeline = Pipeline::default();
            pipeline.ask(&[Bytes::from(command)].into());
            pipeline.feed(&bytes);
            let Some(Came::Reply(value)) = pipeline.poll().unwrap() else { panic!() };
            // Both decoders read the same.
            prop_assert!(plain || matches!(value, Value::Entries(_)));
            prop_assert_eq!(form.parse(value), Ok(Reply::Entries(expected.clone())));
            prop_assert_eq!(form.parse(sent.value(resp3)), Ok(Reply::Entries(expected.clone())));
        }
    }
}
