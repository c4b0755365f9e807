//! Texts about connections: for the server, and for the log.

use sio_streams_core::Lane;

/// Returns the name of a lane's connection, for CLIENT SETNAME: `sio-streams:reader:<stream>` and
/// the like. The server accepts printable ASCII without spaces.
pub fn client_name(lane: &Lane) -> String {
    let name = match lane {
        Lane::Writer => "sio-streams:writer".to_owned(),
        Lane::Reader(stream) => format!("sio-streams:reader:{stream}"),
        Lane::Subscriber => "sio-streams:subscriber".to_owned(),
        Lane::Recovery => "sio-streams:recovery".to_owned(),
    };
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

/// Prepares a text from outside for a log: on one line, cut to a limit, and without the arguments
/// of a command that the server did not know. The server quotes them, and those of `HELLO` contain
/// the password.
pub fn for_log(text: &str) -> String {
    const LONGEST: usize = 300;
    let text = text.split_once(", with args beginning with").map_or(text, |(before, _)| before);
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}
