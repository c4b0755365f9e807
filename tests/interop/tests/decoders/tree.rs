//! Values of JavaScript, to be written as JSON and as MessagePack, and their variants with one
//! changed place.

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Null,
    /// `undefined`, as version 2 of notepack.io wrote it.
    Undefined,
    Bool(bool),
    Number(f64),
    Text(String),
    Bin(Vec<u8>),
    /// Any extension, in its shortest form.
    Ext(i8, Vec<u8>),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Tree::Text(text.into())
    }
}

impl From<i32> for Tree {
    fn from(number: i32) -> Self {
        Tree::Number(number.into())
    }
}

impl Tree {
    pub(crate) fn list<const N: usize>(values: [Tree; N]) -> Self {
        Tree::List(values.into())
    }

    pub(crate) fn map<const N: usize>(entries: [(&str, Tree); N]) -> Self {
        Tree::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The JSON text, if the value has one.
    pub(crate) fn json(&self) -> Option<String> {
        let all = |values: Vec<Option<String>>| values.into_iter().collect::<Option<Vec<_>>>();
        Some(match self {
            Tree::Null => "null".into(),
            Tree::Bool(value) => value.to_string(),
            Tree::Number(number) => serde_json::to_string(number).ok()?.trim_end_matches(".0").to_owned(),
            Tree::Text(text) => serde_json::to_string(text).ok()?,
            Tree::List(values) => format!("[{}]", all(values.iter().map(Tree::json).collect())?.join(",")),
            Tree::Map(entries) => {
                let entry = |(key, value): &(String, Tree)| Some(format!("{key:?}:{}", value.json()?));
                format!("{{{}}}", all(entries.iter().map(entry).collect())?.join(","))
            }
            Tree::Undefined | Tree::Bin(_) | Tree::Ext(..) => return None,
        })
    }

    pub(crate) fn packed(&self, out: &mut Vec<u8>) {
        let len = |len: usize| u8::try_from(len).unwrap();
        match self {
            Tree::Null => out.push(0xc0),
            Tree::Undefined => out.extend([0xd4, 0, 0]),
            Tree::Bool(value) => out.push(0xc2 | u8::from(*value)),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Tree::Number(number) if number.fract() == 0.0 && (0.0..128.0).contains(number) => {
                out.push(*number as u8)
            }
            Tree::Number(number) => {
                out.push(0xcb);
                out.extend(number.to_be_bytes());
            }
            Tree::Text(text) => {
                out.extend([0xd9, len(text.len())]);
                out.extend(text.as_bytes());
            }
            Tree::Bin(bytes) => {
                out.extend([0xc4, len(bytes.len())]);
                out.extend(bytes);
            }
            Tree::Ext(kind, bytes) => {
                match bytes.len() {
                    1 => out.push(0xd4),
                    2 => out.push(0xd5),
                    4 => out.push(0xd6),
                    8 => out.push(0xd7),
                    16 => out.push(0xd8),
                    other => out.extend([0xc7, len(other)]),
                }
                out.extend(kind.to_be_bytes());
                out.extend(bytes);
            }
            Tree::List(values) => {
                out.push(0x90 | len(values.len()));
                values.iter().for_each(|value| value.packed(out));
            }
            Tree::Map(entries) => {
                out.push(0x80 | len(entries.len()));
                for (key, value) in entries {
                    Tree::Text(key.clone()).packed(out);
                    value.packed(out);
                }
            }
        }
    }

    /// Every place in here, by its path.
    pub(crate) fn places(&self) -> Vec<Vec<String>> {
        let mut all = vec![Vec::new()];
        for (name, value) in self.children() {
            all.extend(value.places().into_iter().map(|path| [vec![name.clone()], path].concat()));
        }
        all
    }

    /// The value of this key, or at this index.
    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        self.children().into_iter().rev().find_map(|(name, value)| (name == key).then_some(value))
    }

    fn children(&self) -> Vec<(String, &Tree)> {
        match self {
            Tree::List(values) => {
                values.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            Tree::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value)).collect(),
            _ => Vec::new(),
        }
    }

    /// With another value at this place; nothing: the place is gone.
    pub(crate) fn with(&self, path: &[String], value: Option<&Tree>) -> Option<Tree> {
        let Some((first, rest)) = path.split_first() else { return value.cloned() };
        Some(match self {
            Tree::List(values) => {
                let each = |(at, inner): (usize, &Tree)| match at.to_string() == *first {
                    true => inner.with(rest, value),
                    false => Some(inner.clone()),
                };
                Tree::List(values.iter().enumerate().filter_map(each).collect())
            }
            Tree::Map(entries) => {
                let each = |(key, inner): &(String, Tree)| match key == first {
                    true => Some((key.clone(), inner.with(rest, value)?)),
                    false => Some((key.clone(), inner.clone())),
                };
                Tree::Map(entries.iter().filter_map(each).collect())
            }
            other => other.clone(),
        })
    }
}

/// Values of every kind that somebody might write somewhere.
pub(crate) fn odd() -> Vec<Tree> {
    let texts = [
        "",
        "a",
        "ab",
        "r1",
        "2",
        "5",
        "6",
        "50",
        "07",
        "-1",
        " 2",
        "connect",
        "disconnecting",
        "é😀",
        "true",
    ];
    let numbers = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 50.0, 255.0, -1.0, 1.5, 1e21];
    let placeholder = |num: i32| Tree::map([("_placeholder", Tree::Bool(true)), ("num", num.into())]);
    let mut all = vec![
        Tree::Null,
        Tree::Undefined,
        Tree::Bool(true),
        Tree::Bool(false),
        Tree::List(vec![]),
        Tree::list(["a".into()]),
        Tree::list(["r1".into(), Tree::Null, 5.into(), Tree::Bool(true), "b".into()]),
        Tree::list([Tree::list(["a".into()]), Tree::map([("r1", 1.into())])]),
        Tree::list([Tree::Undefined]),
        Tree::list([Tree::Bin(vec![1])]),
        Tree::Map(vec![]),
        Tree::map([("rooms", Tree::list(["r1".into()]))]),
        Tree::map([("volatile", Tree::Bool(false))]),
        Tree::map([("size", 1.into()), ("forEach", 2.into()), ("inner", Tree::Undefined)]),
        Tree::Bin(vec![]),
        Tree::Bin(vec![1, 2, 254]),
        Tree::Ext(0, vec![]),
        Tree::Ext(0, vec![1, 2, 3]),
        // A date of version 2 of notepack.io, one by a timestamp, and one that JavaScript doesn't
        // have.
        Tree::Ext(0, 1_700_000_000_123_i64.to_be_bytes().to_vec()),
        Tree::Ext(-1, vec![0x65, 0x53, 0xf1, 0]),
        Tree::Ext(0, i64::MIN.to_be_bytes().to_vec()),
        Tree::Ext(0, vec![1, 2]),
        Tree::Ext(0, vec![7; 4]),
        Tree::Ext(0, vec![7; 16]),
        Tree::Ext(5, vec![1]),
        Tree::Ext(-2, vec![1, 2, 3]),
        Tree::Ext(1, vec![0; 8]),
        placeholder(0),
        placeholder(99),
        Tree::list([placeholder(0), Tree::Bin(vec![9])]),
        Tree::list([placeholder(9), Tree::Bin(vec![9])]),
    ];
    all.extend(texts.map(Tree::from));
    all.extend(numbers.map(Tree::Number));
    all
}
