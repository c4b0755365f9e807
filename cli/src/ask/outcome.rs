//! The last line of an answer: who has answered, and who has not.

use std::io::{self, Write};

use serde_json::json;

use super::round::Round;
use crate::tail::text::name;

/// Says how many servers have answered, and which have not: as a line of JSON, or on stderr, beside
/// the table.
pub(super) fn show(round: &Round, as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let (silent, unnamed) = (round.silent(), round.silent_unnamed());
    let answered = round.answers.len();
    if as_json {
        let line = json!({
            "kind": "outcome",
            "servers": answered as u64 + silent.len() as u64 + unnamed,
            "answered": answered,
            "missing": silent.iter().map(|node| node.as_str()).collect::<Vec<_>>(),
            "missingUnnamed": unnamed,
        });
        return writeln!(out, "{line}");
    }
    out.flush()?;
    let servers = |count: u64| format!("{count} server{}", if count == 1 { "" } else { "s" });
    let mut text = match answered {
        0 => "no server answered".to_owned(),
        answered => format!("{} answered", servers(answered as u64)),
    };
    if unnamed > 0 {
        text += &format!(", {} without a known name did not", servers(unnamed));
    }
    if !silent.is_empty() {
        let names: Vec<_> = silent.iter().map(|node| name(node.as_str())).collect();
        text += &format!(", {} did not: {}", servers(silent.len() as u64), names.join(", "));
    }
    // There is no other place to say it.
    let _ = writeln!(io::stderr(), "{text}");
    Ok(())
}
