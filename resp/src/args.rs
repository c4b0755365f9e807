//! Commands in the form that the server reads.

use std::sync::Arc;

use sio_streams_core::{ByteString, Bytes, Fields};

/// A command, as its name and its arguments. Neither keys nor values are copied when it is made.
///
/// ```
/// use sio_streams_resp::{Args, Bytes};
///
/// let args = Args::from([Bytes::from("GETDEL"), Bytes::from("key")]);
/// let mut request = Vec::new();
/// args.encode(&mut request);
/// assert_eq!(request, b"*2\r\n$6\r\nGETDEL\r\n$3\r\nkey\r\n");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Listed(Vec<Bytes>),
    /// An XADD, most of whose arguments are in its fields already.
    Add {
        stream: ByteString,
        max_len: u64,
        fields: Arc<Fields>,
    },
}

/// The fixed arguments of an XADD.
const ADD: [&str; 4] = ["XADD", "MAXLEN", "~", "*"];

impl Args {
    pub(crate) fn add(stream: ByteString, max_len: u64, fields: Arc<Fields>) -> Self {
        Args(Form::Add { stream, max_len, fields })
    }

    /// Returns the command's name.
    pub fn name(&self) -> &[u8] {
        match &self.0 {
            Form::Listed(args) => args.first().map_or(&[], |name| name),
            Form::Add { .. } => ADD[0].as_bytes(),
        }
    }

    /// Returns the number of arguments, including the name.
    pub fn count(&self) -> usize {
        match &self.0 {
            Form::Listed(args) => args.len(),
            Form::Add { fields, .. } => 6 + 2 * fields.len(),
        }
    }

    /// Returns about how many bytes the arguments have in total.
    pub fn size(&self) -> usize {
        match &self.0 {
            Form::Listed(args) => args.iter().map(Bytes::len).sum(),
            Form::Add { stream, fields, .. } => {
                ADD.concat().len() + <u64 as itoa::Integer>::MAX_STR_LEN + stream.len() + fields.size()
            }
        }
    }

    /// Calls a function with each argument, in order, beginning with the name.
    pub fn each(&self, mut show: impl FnMut(&[u8])) {
        match &self.0 {
            Form::Listed(args) => args.iter().for_each(|arg| show(arg)),
            Form::Add { stream, max_len, fields } => {
                let [add, max, about, any] = ADD.map(str::as_bytes);
                show(add);
                show(stream.as_bytes());
                show(max);
                show(about);
                show(itoa::Buffer::new().format(*max_len).as_bytes());
                show(any);
                for (name, value) in fields.iter() {
                    show(name);
                    show(value);
                }
            }
        }
    }

    /// Returns about how many bytes the command takes as a RESP request. It takes a little less.
    pub fn encoded_size(&self) -> usize {
        // A length with its marks takes less.
        const MARKS: usize = 16;
        self.size() + MARKS * (self.count() + 1)
    }

    /// Appends the command as a RESP request: an array of strings, which both versions of the
    /// protocol have in common. Each argument is copied once, to its place.
    pub fn encode(&self, out: &mut Vec<u8>) {
        head(b'*', self.count(), out);
        self.each(|arg| {
            head(b'$', arg.len(), out);
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Returns the parts of an XADD, for client crates that have a method for it.
    pub fn as_add(&self) -> Option<(&ByteString, u64, &Fields)> {
        match &self.0 {
            Form::Listed(_) => None,
            Form::Add { stream, max_len, fields } => Some((stream, *max_len, fields)),
        }
    }

    /// Returns all arguments, beginning with the name.
    pub fn into_vec(self) -> Vec<Bytes> {
        match self.0 {
            Form::Listed(args) => args,
            Form::Add { stream, max_len, fields } => {
                let [add, max, about, any] = ADD.map(|arg| Bytes::from_static(arg.as_bytes()));
                let mut args = Vec::with_capacity(6 + 2 * fields.len());
                args.extend([add, stream.into_bytes(), max, about, max_len.to_string().into(), any]);
                for (name, value) in fields.iter() {
                    args.extend([name.clone(), value.clone()]);
                }
                args
            }
        }
    }
}

/// Writes the first line of an array or a string.
fn head(mark: u8, number: usize, out: &mut Vec<u8>) {
    match number as u8 {
        digit if number < 10 => out.extend_from_slice(&[mark, b'0' + digit, b'\r', b'\n']),
        digits if number < 100 => {
            out.extend_from_slice(&[mark, b'0' + digits / 10, b'0' + digits % 10, b'\r', b'\n']);
        }
        _ => {
            out.push(mark);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl From<Vec<Bytes>> for Args {
    fn from(args: Vec<Bytes>) -> Self {
        Args(Form::Listed(args))
    }
}

impl<const N: usize> From<[Bytes; N]> for Args {
    fn from(args: [Bytes; N]) -> Self {
        Vec::from(args).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_the_same_to_the_server() {
        for max_len in [0, 10, u64::MAX] {
            let fields = Arc::new(Fields::from_iter([("uid", "u"), ("nsp", "/")]));
            let args = Args::add("s".into(), max_len, fields);
            let mut shown = Vec::new();
            args.each(|arg| shown.push(Bytes::copy_from_slice(arg)));
            assert_eq!(shown.concat(), format!("XADDsMAXLEN~{max_len}*uidunsp/").into_bytes());
            assert_eq!(shown.len(), args.count());
            assert_eq!(shown[0], args.name());
            assert!(args.size() >= shown.concat().len());
            assert_eq!(args.clone().into_vec(), shown);
            assert_eq!(args.as_add().map(|(stream, length, _)| (&**stream, length)), Some(("s", max_len)));
            let mut request = Vec::new();
            args.encode(&mut request);
            assert!(request.len() <= args.encoded_size());
            let listed = Args::from(shown.clone());
            assert_eq!((listed.count(), listed.name()), (args.count(), args.name()));
            let mut same = Vec::new();
            listed.encode(&mut same);
            assert_eq!(same, request);
            assert_eq!(listed.into_vec(), shown);
        }
    }
}
