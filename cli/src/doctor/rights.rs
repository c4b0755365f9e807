//! The rights that a server of the cluster needs.
//!
//! A transaction tells whether a command is allowed, without executing it: Redis checks the rights
//! when a command is queued. The transaction is discarded.

use std::collections::BTreeSet;

use sio_streams_driver::sio_streams_core::Dialect;

use super::Plan;
use super::finding::{Code, Findings, Severity};
use crate::look::{Error, Refusal, Server};

/// A command that servers use, and the rights that it takes.
struct Need {
    command: Vec<String>,
    /// Such as `+xadd`.
    right: &'static str,
    /// The key or the channel, as a rule writes it. Empty if there is none.
    object: String,
}

/// A name in which nobody is interested, for a channel or a node.
const NOBODY: &str = "0000000000000000";

fn needs(plan: &Plan) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |right, object: String, command: &[&str]| {
        needs.push(Need { right, object, command: command.iter().map(|&part| part.to_owned()).collect() });
    };
    for stream in &plan.streams {
        let key = || format!("~{stream}");
        need("+xadd", key(), &["XADD", stream, "MAXLEN", "~", "10000", "*", "uid", NOBODY]);
        need("+xread", key(), &["XREAD", "COUNT", "1", "STREAMS", stream, "$"]);
        if plan.recovery {
            need("+xrange", key(), &["XRANGE", stream, "-", "+", "COUNT", "1"]);
        }
    }
    if plan.recovery {
        let session = format!("{}{NOBODY}", plan.session_prefix);
        let key = || format!("~{}*", plan.session_prefix);
        need("+set", key(), &["SET", &session, "", "PX", "1"]);
        need("+getdel", key(), &["GETDEL", &session]);
    }
    let prefix = &plan.config.channel_prefix;
    for nsp in &plan.namespaces {
        let one = |channel: &str| format!("&{channel}");
        let requests = format!("{prefix}#{nsp}#");
        match (plan.config.dialect, plan.is_sharded()) {
            (Dialect::Streams02, _) => {}
            (Dialect::Classic, _) => {
                let (requests, answers) =
                    (format!("{prefix}-request#{nsp}#"), format!("{prefix}-response#{nsp}#"));
                let pattern = format!("{prefix}#{nsp}#*");
                need("+psubscribe", one(&pattern), &["PSUBSCRIBE", &pattern]);
                for channel in [&requests, &answers] {
                    need("+subscribe", one(channel), &["SUBSCRIBE", channel]);
                    need("+publish", one(channel), &["PUBLISH", channel, ""]);
                }
                need("+publish", one(&pattern), &["PUBLISH", &format!("{prefix}#{nsp}#"), ""]);
                need("+pubsub|numsub", String::new(), &["PUBSUB", "NUMSUB", &requests]);
            }
            (_, sharded) => {
                let own = format!("{requests}{NOBODY}#");
                let [subscribe, publish] =
                    if sharded { ["SSUBSCRIBE", "SPUBLISH"] } else { ["SUBSCRIBE", "PUBLISH"] };
                let [may_subscribe, may_publish] =
                    if sharded { ["+ssubscribe", "+spublish"] } else { ["+subscribe", "+publish"] };
                for (channel, rule) in [(&requests, one(&requests)), (&own, one(&format!("{requests}*")))] {
                    need(may_subscribe, rule.clone(), &[subscribe, channel]);
                    need(may_publish, rule, &[publish, channel, ""]);
                }
                let (right, count) = match sharded {
                    true => ("+pubsub|shardnumsub", "SHARDNUMSUB"),
                    false => ("+pubsub|numsub", "NUMSUB"),
                };
                need(right, String::new(), &["PUBSUB", count, &requests]);
            }
        }
    }
    needs
}

/// Says what a refusal is about: a right, or a command that the server does not have.
#[derive(Debug, Default)]
struct Refused {
    rights: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl Refused {
    fn note(&mut self, need: &Need, refusal: &Refusal) {
        let message = refusal.message.to_ascii_lowercase();
        if refusal.is_unknown() {
            self.unknown.insert(need.command[0].clone());
        } else if refusal.is_about_rights() {
            // Redis names the first reason only. Without a command, nothing is known of its keys.
            let is_object = ["key", "channel"].iter().any(|what| message.contains(what));
            self.rights.insert(if is_object { need.object.clone() } else { need.right.to_owned() });
        }
    }
}

/// Checks the rights on one server. The connection is not to be used afterwards.
pub(super) async fn check(server: &mut Server, plan: &Plan, found: &mut Findings) -> Result<(), Error> {
    let name = server.name.clone();
    let mut refused = Refused::default();
    let user = match &plan.user {
        Some(user) => {
            if !check_other(server, user, plan, &mut refused, found).await? {
                return Ok(());
            }
            user.clone()
        }
        None => {
            if let Err(refusal) = server.ask(&["MULTI"]).await? {
                let what = format!("MULTI is refused ({refusal}): the rights were not checked.");
                found.unchecked(
                    &name,
                    &refusal,
                    &what,
                    "give the user +multi, or name another user's with --user",
                );
                return Ok(());
            }
            for need in needs(plan) {
                let command: Vec<&str> = need.command.iter().map(String::as_str).collect();
                if let Err(refusal) = server.ask(&command).await? {
                    refused.note(&need, &refusal);
                }
            }
            // Without the right to do that, the end of the connection has the same effect.
            let _ = server.ask(&["DISCARD"]).await?;
            match server.ask(&["ACL", "WHOAMI"]).await? {
                Ok(value) => value.text().map(|name| name.to_string()).unwrap_or_default(),
                Err(_) => "that the URL names".to_owned(),
            }
        }
    };
    if !refused.unknown.is_empty() {
        let commands: Vec<_> = refused.unknown.iter().map(String::as_str).collect();
        let is_pubsub = commands.iter().any(|name| name.contains("SUB") || name.contains("PUBLISH"));
        let code = if is_pubsub { Code::PubSubUnavailable } else { Code::OldVersion };
        let seen = format!("The server does not know {}.", commands.join(", "));
        let todo = match plan.is_sharded() && is_pubsub {
            true => "Sharded Pub/Sub needs Redis 7.0. With older servers, turn useShardedPubSub off.",
            false => {
                "Look for rename-command in redis.conf, or ask the operator of the service. \
                      The dialect streams-0.2 needs no Pub/Sub."
            }
        };
        found.add(Severity::Error, code, &*name, seen, todo);
    }
    if !refused.rights.is_empty() {
        let rights = refused.rights.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let seen = format!("The user {user} lacks for {}: {rights}", plan.config.dialect);
        let todo = format!("`ACL SETUSER {user} {rights}`. docs/redis.md lists the least rights.");
        found.add(Severity::Error, Code::MissingRights, &*name, seen, todo);
    }
    Ok(())
}

/// Checks the rights of another user. Returns `false` if that is not possible.
async fn check_other(
    server: &mut Server,
    user: &str,
    plan: &Plan,
    refused: &mut Refused,
    found: &mut Findings,
) -> Result<bool, Error> {
    for need in needs(plan) {
        let mut command = vec!["ACL", "DRYRUN", user];
        command.extend(need.command.iter().map(String::as_str));
        match server.ask(&command).await? {
            Ok(value) => {
                let answer = value.text().unwrap_or_default();
                if &*answer != "OK" {
                    refused.note(&need, &Refusal { code: "NOPERM".into(), message: answer.to_string() });
                }
            }
            // The server does not know the command that is to be tried.
            Err(refusal) if refusal.message.contains(&*need.command[0]) && !refusal.is_about_rights() => {
                let message = format!("unknown command '{}'", need.command[0]);
                refused.note(&need, &Refusal { code: "ERR".into(), message });
            }
            Err(refusal) => {
                let what = format!("ACL DRYRUN is refused ({refusal}): the rights were not checked.");
                let takes = "use Redis 7.0 or later, name a user that exists, and give yours +acl|dryrun";
                found.unchecked(&server.name, &refusal, &what, takes);
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_the_one_that_is_told() {
        let need = Need { command: vec!["XADD".into()], right: "+xadd", object: "~s".into() };
        let mut refused = Refused::default();
        let refusal = |code: &str, message: &str| Refusal { code: code.into(), message: message.into() };
        // As MULTI and ACL DRYRUN word them.
        refused.note(&need, &refusal("NOPERM", "this user has no permissions to run the 'xadd' command"));
        assert_eq!(refused.rights.iter().collect::<Vec<_>>(), ["+xadd"]);
        for text in ["No permissions to access a key", "This user has no permissions to access the 's' key"] {
            let mut refused = Refused::default();
            refused.note(&need, &refusal("NOPERM", text));
            assert_eq!(refused.rights.iter().collect::<Vec<_>>(), ["~s"], "{text}");
        }
        refused.note(&need, &refusal("ERR", "unknown command 'XADD', with args beginning with: "));
        assert_eq!(refused.unknown.iter().collect::<Vec<_>>(), ["XADD"]);
        // A key that has moved may be used.
        let mut refused = Refused::default();
        refused.note(&need, &refusal("MOVED", "1 10.0.0.1:7000"));
        assert!(refused.rights.is_empty() && refused.unknown.is_empty());
    }
}
