//! The addressees of an operation: in socketioxide's options, and in those of the wire.
//!
//! On the wire, options without rooms mean everybody. Here they mean everybody only with the flag
//! `Broadcast`; otherwise the one socket that is named, or nobody.

use core::str::FromStr;
use std::borrow::Cow;

use sio_streams_driver::sio_streams_core::{self as wire, ByteString};
use socketioxide_core::Sid;
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, CoreLocalAdapter, Room, SocketEmitter};

use crate::aliases::Aliases;
use crate::error::Error;

/// Returns the addressees on the wire, or `None` if no other server is concerned: they are sockets
/// of this one, or nobody.
pub(crate) fn others<E: SocketEmitter>(
    local: &CoreLocalAdapter<E>,
    aliases: &Aliases,
    opts: &BroadcastOptions,
) -> Result<Option<wire::BroadcastOptions>, Error> {
    enter_own_rooms(local, opts);
    let true_names = |rooms: &[Room]| rooms.iter().map(|room| aliases.true_name(room)).collect();
    let everybody_else = opts.has_flag(BroadcastFlags::Broadcast);
    let mut to = wire::BroadcastOptions::all();
    match opts.sid {
        _ if opts.is_local(local.server_id()) => return Ok(None),
        sender if everybody_else || !opts.rooms.is_empty() => {
            (to.rooms, to.except) = (true_names(&opts.rooms), true_names(&opts.except));
            let left_out = sender.filter(|_| everybody_else);
            to.except.extend(left_out.map(|sender| aliases.true_name(sender.as_str())));
        }
        // One socket is meant. Rooms that are left out don't concern it.
        Some(sid) if !is_here(local, sid) => {
            to.rooms.push(aliases.true_id(sid).ok_or(Error::Forgotten(sid))?)
        }
        // A socket of this server is meant, or nobody. On the wire that would be everybody.
        _ => return Ok(None),
    }
    Ok(Some(if opts.has_flag(BroadcastFlags::Volatile) { to.volatile() } else { to }))
}

/// Returns the options for this server's sockets that another server's order concerns.
pub(crate) fn here<E: SocketEmitter>(
    local: &CoreLocalAdapter<E>,
    opts: &wire::BroadcastOptions,
) -> BroadcastOptions {
    let mut here = BroadcastOptions::default();
    (here.rooms, here.except) = (rooms(&opts.rooms).into(), rooms(&opts.except).into());
    if opts.rooms.is_empty() {
        here.add_flag(BroadcastFlags::Broadcast);
    }
    if opts.flags.volatile == Some(true) {
        here.add_flag(BroadcastFlags::Volatile);
    }
    enter_own_rooms(local, &here);
    here
}

/// Puts sockets that are addressed by their ids into rooms of those names. On the wire every
/// socket is in such a room. Here a socket enters that room when its id is first used.
fn enter_own_rooms<E: SocketEmitter>(local: &CoreLocalAdapter<E>, opts: &BroadcastOptions) {
    for room in opts.rooms.iter().chain(&opts.except) {
        let Ok(sid) = Sid::from_str(room) else { continue };
        if local.socket_rooms(sid).contains(room) || !is_here(local, sid) {
            continue;
        }
        local.add_all(sid, room.clone());
        // It may have gone meanwhile, and with it the rooms that it was in then.
        if !is_here(local, sid) {
            local.del_all(sid);
        }
    }
}

/// Returns `true` if a room is that of the id of a socket on this server.
pub(crate) fn is_id<E: SocketEmitter>(local: &CoreLocalAdapter<E>, room: &str) -> bool {
    Sid::from_str(room).is_ok_and(|sid| is_here(local, sid))
}

/// Returns `true` if a socket is on this server, in the namespace.
fn is_here<E: SocketEmitter>(local: &CoreLocalAdapter<E>, sid: Sid) -> bool {
    !local.fetch_sockets(BroadcastOptions::new(sid)).is_empty()
}
/// Returns the names of rooms in the framework's form.
pub(crate) fn rooms<'a>(names: impl IntoIterator<Item = &'a ByteString>) -> Vec<Room> {
    names.into_iter().map(|name| Cow::Owned(name.to_string())).collect()
}

/// Returns the names of rooms in the wire's form.
pub(crate) fn names<'a>(rooms: impl IntoIterator<Item = &'a Room>) -> Vec<ByteString> {
    rooms.into_iter().map(|room| (**room).into()).collect()
}
