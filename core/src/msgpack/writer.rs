//! Writing the heads and the scalars of MessagePack.

/// Wraps a call of an `rmp` encoder. Writing to a `Vec` can't fail, and
/// [`MAX_PAYLOAD`](crate::MAX_PAYLOAD) excludes lengths beyond 32 bits.
macro_rules! infallible {
    ($call:expr) => {
        if let Err(error) = $call {
            unreachable!("a Vec takes every write: {error}")
        }
    };
}

pub(crate) fn write_map(out: &mut Vec<u8>, len: usize) {
    infallible!(rmp::encode::write_map_len(out, len32(len)));
}

pub(crate) fn write_array(out: &mut Vec<u8>, len: usize) {
    infallible!(rmp::encode::write_array_len(out, len32(len)));
}

pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    infallible!(rmp::encode::write_str(out, text));
}

pub(crate) fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    infallible!(rmp::encode::write_bin(out, bytes));
}

pub(crate) fn write_nil(out: &mut Vec<u8>) {
    infallible!(rmp::encode::write_nil(out));
}

pub(crate) fn write_bool(out: &mut Vec<u8>, value: bool) {
    infallible!(rmp::encode::write_bool(out, value));
}

pub(crate) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    infallible!(rmp::encode::write_uint(out, value));
}

pub(crate) fn write_signed(out: &mut Vec<u8>, value: i64) {
    infallible!(rmp::encode::write_sint(out, value));
}

pub(crate) fn write_float(out: &mut Vec<u8>, value: f64) {
    infallible!(rmp::encode::write_f64(out, value));
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
