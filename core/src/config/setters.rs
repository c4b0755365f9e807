//! Setters of the options, for chains.

use core::time::Duration;

use bytestring::ByteString;

use super::{Config, Dialect, Limits, LocalDelivery, Recovery, RoomOwner, SubscriptionMode};
use crate::codec::PayloadCodec;

/// Makes a method of each field, under the field's name.
macro_rules! setters {
    ($type:ident { $($field:ident: $value:ty,)* } $(texts { $($text:ident,)* })? $(options { $($option:ident: $some:ty,)* })?) => {
        impl $type {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $value) -> Self {
                    self.$field = $field;
                    self
                }
            )*
            $($(
                #[doc = concat!("Sets [`", stringify!($text), "`](field@Self::", stringify!($text), ").")]
                #[must_use]
                pub fn $text(mut self, $text: impl Into<ByteString>) -> Self {
                    self.$text = $text.into();
                    self
                }
            )*)?
            $($(
                #[doc = concat!("Sets [`", stringify!($option), "`](field@Self::", stringify!($option), ").")]
                #[must_use]
                pub fn $option(mut self, $option: impl Into<Option<$some>>) -> Self {
                    self.$option = $option.into();
                    self
                }
            )*)?
        }
    };
}

setters! {
    Config {
        dialect: Dialect,
        stream_count: u32,
        max_len: u64,
        read_count: u32,
        block_time: Duration,
        heartbeat_interval: Duration,
        heartbeat_timeout: Duration,
        use_sharded_pub_sub: bool,
        subscription_mode: SubscriptionMode,
        publish_on_specific_response_channel: bool,
        only_plaintext: bool,
        local_delivery: LocalDelivery,
        room_owner: RoomOwner,
        request_timeout: Duration,
        limits: Limits,
    }
    texts {
        stream_name,
        channel_prefix,
    }
    options {
        parser: PayloadCodec,
        recovery: Recovery,
    }
}

setters! {
    Recovery {
        max_disconnection_duration: Duration,
        window_entries: usize,
        window_bytes: usize,
        window_age: Duration,
        timeout: Duration,
        sessions: usize,
        sessions_bytes: usize,
        session_bytes: u32,
        page_entries: u32,
        replay_entries: usize,
        replay_bytes: usize,
    }
    texts {
        session_key_prefix,
    }
}

setters! {
    Limits {
        in_flight: usize,
        in_flight_for: Duration,
        in_flight_bytes: usize,
        requests: usize,
        nodes: usize,
        namespaces: usize,
    }
}
