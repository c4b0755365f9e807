//! Who is meant: socketioxide's options, and those of the wire.
//!
//! On the wire, options without rooms mean everybody. Here they mean everybody only with the flag
//! `Broadcast`; otherwise the one socket that is named, or nobody.

use core::str::FromStr;
use std::borrow::Cow;

use sio_streams_driver::sio_streams_core as wire;
use socketioxide_core::Sid;
use socketioxide_core::adapter::{BroadcastFlags, BroadcastOptions, CoreLocalAdapter, Room, SocketEmitter};

use crate::aliases::Aliases;
use crate::error::Error;

/// The servers that an operation concerns.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// No other server: its sockets are on this one, or there are none.
    Here,
    /// All servers, with these options on the wire.
    Cluster(wire::BroadcastOptions),
}

/// Finds out which servers an operation concerns. `is_here` tells whether a socket is on this
/// server.
pub(crate) fn target(
    opts: &BroadcastOptions,
    is_local: bool,
    is_here: impl Fn(Sid) -> bool,
    aliases: &Aliases,
) -> Result<Target, Error> {
    let everybody_else = opts.has_flag(BroadcastFlags::Broadcast);
    let mut to = wire::BroadcastOptions::all();
    match opts.sid {
        _ if is_local => return Ok(Target::Here),
        _ if !opts.rooms.is_empty() => to.rooms = names(&opts.rooms, aliases),
        _ if everybody_else => {}
        // One socket. Rooms that are left out don't concern it.
        Some(sid) if is_here(sid) => return Ok(Target::Here),
        Some(sid) => {
            let id = aliases.true_id(sid).ok_or(Error::Forgotten(sid))?;
            return Ok(Target::Cluster(with_flags(wire::BroadcastOptions::to(id), opts)));
        }
        // Nobody. On the wire these options would mean everybody.
        None => return Ok(Target::Here),
    }
    to.except = names(&opts.except, aliases);
    if let Some(sender) = opts.sid.filter(|_| everybody_else) {
        to.except.push(aliases.true_name(sender.as_str()));
    }
    Ok(Target::Cluster(with_flags(to, opts)))
}

fn names(rooms: &[Room], aliases: &Aliases) -> Vec<wire::ByteString> {
    rooms.iter().map(|room| aliases.true_name(room)).collect()
}

fn with_flags(to: wire::BroadcastOptions, opts: &BroadcastOptions) -> wire::BroadcastOptions {
    match opts.has_flag(BroadcastFlags::Volatile) {
        true => to.volatile(),
        false => to,
    }
}

/// Makes the options by which this server's sockets are found for another server.
pub(crate) fn from_wire(opts: &wire::BroadcastOptions) -> BroadcastOptions {
    let mut local = BroadcastOptions::default();
    local.rooms.extend(opts.rooms.iter().map(|room| Cow::Owned(room.to_string())));
    local.except.extend(opts.except.iter().map(|room| Cow::Owned(room.to_string())));
    if opts.rooms.is_empty() {
        local.add_flag(BroadcastFlags::Broadcast);
    }
    if opts.flags.volatile == Some(true) {
        local.add_flag(BroadcastFlags::Volatile);
    }
    local
}

/// Returns `true` if a socket is on this server, in the namespace.
pub(crate) fn is_here<E: SocketEmitter>(local: &CoreLocalAdapter<E>, sid: Sid) -> bool {
    !local.fetch_sockets(BroadcastOptions::new(sid)).is_empty()
}

/// Puts sockets that are addressed by their ids into rooms of those names. On the wire every socket
/// is in such a room. Here it is from the first time on that somebody uses it.
pub(crate) fn enter_own_rooms<E: SocketEmitter>(local: &CoreLocalAdapter<E>, opts: &BroadcastOptions) {
    for room in opts.rooms.iter().chain(&opts.except) {
        let Ok(sid) = Sid::from_str(room) else { continue };
        let mut in_room = BroadcastOptions::default();
        in_room.rooms.push(room.clone());
        if local.sockets(in_room).contains(&sid) || !is_here(local, sid) {
            continue;
        }
        local.add_all(sid, room.clone());
        // It may have gone meanwhile, and with it the rooms that it was in then.
        if !is_here(local, sid) {
            local.del_all(sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(rooms: &[&'static str], except: &[&'static str], sid: Option<Sid>) -> BroadcastOptions {
        let mut opts = BroadcastOptions::default();
        opts.rooms.extend(rooms.iter().map(|room| Cow::Borrowed(*room)));
        opts.except.extend(except.iter().map(|room| Cow::Borrowed(*room)));
        opts.sid = sid;
        opts
    }

    fn with(mut opts: BroadcastOptions, flag: BroadcastFlags) -> BroadcastOptions {
        opts.add_flag(flag);
        opts
    }

    fn of(opts: &BroadcastOptions, here: &[Sid], aliases: &Aliases) -> Target {
        target(opts, false, |sid| here.contains(&sid), aliases).unwrap()
    }

    #[test]
    fn nobody_is_never_published_as_everybody() {
        let aliases = Aliases::new(10);
        let (own, other) = (Sid::new(), aliases.remember(&"XFlBn9wKd4Eyr0QwAAAB".into()));
        let everybody = wire::BroadcastOptions::all;
        for (opts, expected) in [
            (options(&[], &[], None), Target::Here),
            (options(&[], &["x"], None), Target::Here),
            (options(&[], &["x"], Some(own)), Target::Here),
            (
                options(&[], &["x"], Some(other)),
                Target::Cluster(wire::BroadcastOptions::to("XFlBn9wKd4Eyr0QwAAAB")),
            ),
            (with(options(&[], &[], None), BroadcastFlags::Broadcast), Target::Cluster(everybody())),
            (
                with(options(&[], &["x"], Some(own)), BroadcastFlags::Broadcast),
                Target::Cluster(everybody().except("x").except(own.as_str())),
            ),
            // A sender without the flag is among those who get it.
            (
                options(&["r"], &["x"], Some(own)),
                Target::Cluster(wire::BroadcastOptions::to("r").except("x")),
            ),
            (
                with(options(&["r"], &[], Some(own)), BroadcastFlags::Broadcast),
                Target::Cluster(wire::BroadcastOptions::to("r").except(own.as_str())),
            ),
            (
                with(with(options(&["r"], &[], None), BroadcastFlags::Broadcast), BroadcastFlags::Volatile),
                Target::Cluster(wire::BroadcastOptions::to("r").volatile()),
            ),
        ] {
            assert_eq!(of(&opts, &[own], &aliases), expected, "{opts:?}");
        }
        let local = with(options(&[], &[], None), BroadcastFlags::Broadcast);
        assert_eq!(target(&local, true, |_| false, &aliases).unwrap(), Target::Here);
    }

    #[test]
    fn a_remote_socket_whose_id_is_forgotten_is_an_error() {
        let sid = Sid::new();
        let error = target(&options(&[], &[], Some(sid)), false, |_| false, &Aliases::new(1)).unwrap_err();
        assert!(matches!(error, Error::Forgotten(forgotten) if forgotten == sid), "{error}");
    }

    #[test]
    fn an_alias_that_is_used_as_a_room_stands_for_the_true_id() {
        let aliases = Aliases::new(10);
        let alias = aliases.remember(&"XFlBn9wKd4Eyr0QwAAAB".into());
        let mut opts = options(&["r"], &[], None);
        opts.rooms.push(alias.to_string().into());
        opts.except.push(alias.to_string().into());
        let expected =
            wire::BroadcastOptions::to("r").and("XFlBn9wKd4Eyr0QwAAAB").except("XFlBn9wKd4Eyr0QwAAAB");
        assert_eq!(of(&opts, &[], &aliases), Target::Cluster(expected));
    }

    #[test]
    fn without_rooms_the_wire_means_everybody() {
        let opts = from_wire(&wire::BroadcastOptions::all().except("x").volatile());
        assert!(opts.has_flag(BroadcastFlags::Broadcast) && opts.has_flag(BroadcastFlags::Volatile));
        assert_eq!(&*opts.except, ["x"]);
        let opts = from_wire(&wire::BroadcastOptions::to("r"));
        assert!(!opts.has_flag(BroadcastFlags::Broadcast) && *opts.rooms == ["r"]);
    }
}
