//! The findings of the doctor.

use crate::look::Refusal;

/// How bad a finding is. The order is that of the exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Worth knowing. Nothing is wrong with it.
    Note,
    /// Something will be lost or late under circumstances that occur.
    Warning,
    /// Something does not work now.
    Error,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// The kinds of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code {
    MixedGenerations,
    OtherAdapter,
    ForeignServers,
    StrangerSubscribers,
    ForeignEntries,
    PoisonEntries,
    NegativeHash,
    OptionsDiffer,
    RetentionShort,
    NoPersistence,
    Eviction,
    MissingRights,
    PubSubUnavailable,
    ClocksApart,
    BuffersSmall,
    Resp3Refused,
    OldVersion,
    ReadOnly,
    Unreachable,
    Unchecked,
}

impl Code {
    /// All kinds, in the order of the enum.
    #[cfg(test)]
    pub(super) const ALL: [Code; 20] = [
        Code::MixedGenerations,
        Code::OtherAdapter,
        Code::ForeignServers,
        Code::StrangerSubscribers,
        Code::ForeignEntries,
        Code::PoisonEntries,
        Code::NegativeHash,
        Code::OptionsDiffer,
        Code::RetentionShort,
        Code::NoPersistence,
        Code::Eviction,
        Code::MissingRights,
        Code::PubSubUnavailable,
        Code::ClocksApart,
        Code::BuffersSmall,
        Code::Resp3Refused,
        Code::OldVersion,
        Code::ReadOnly,
        Code::Unreachable,
        Code::Unchecked,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Code::MixedGenerations => "mixed-generations",
            Code::OtherAdapter => "other-adapter",
            Code::ForeignServers => "foreign-servers",
            Code::StrangerSubscribers => "stranger-subscribers",
            Code::ForeignEntries => "foreign-entries",
            Code::PoisonEntries => "poison-entries",
            Code::NegativeHash => "negative-hash",
            Code::OptionsDiffer => "options-differ",
            Code::RetentionShort => "retention-short",
            Code::NoPersistence => "no-persistence",
            Code::Eviction => "eviction",
            Code::MissingRights => "missing-rights",
            Code::PubSubUnavailable => "pubsub-unavailable",
            Code::ClocksApart => "clocks-apart",
            Code::BuffersSmall => "buffers-small",
            Code::Resp3Refused => "resp3-refused",
            Code::OldVersion => "old-version",
            Code::ReadOnly => "read-only",
            Code::Unreachable => "unreachable",
            Code::Unchecked => "unchecked",
        }
    }

    /// Returns what such a finding means.
    pub(super) fn means(self) -> &'static str {
        match self {
            Code::MixedGenerations => {
                "Broadcasts reach everyone, but servers of the two generations can't answer each other: \
                 fetchSockets, serverSideEmit and acknowledgements miss the other generation's part, and those \
                 of 0.2 wait for it in vain."
            }
            Code::OtherAdapter => {
                "These servers do not hear what is sent by the adapter that you named, and are not heard by it."
            }
            Code::ForeignServers => {
                "They share the stream but not the channels: they get each other's broadcasts, and do not hear \
                 each other's requests. Either channelPrefix differs by mistake, or they belong to another \
                 application or environment, whose clients then get messages that are not theirs."
            }
            Code::StrangerSubscribers => {
                "Servers count the subscribers of this channel and wait for an answer from each. Every request \
                 therefore ends by its time limit, with an error on Node.js servers."
            }
            Code::ForeignEntries => {
                "Another program writes to the stream. Servers pass over such entries, but the entries take the \
                 place of messages, which are trimmed the earlier."
            }
            Code::PoisonEntries => {
                "Servers can't read these entries. Depending on what is wrong, a Node.js server that meets one \
                 reads it again without pause until it is trimmed, and delivers nothing behind it."
            }
            Code::NegativeHash => {
                "Node.js servers write these namespaces to a stream that none of them reads: broadcasts reach \
                 only the clients of the same server."
            }
            Code::OptionsDiffer => "All servers of a cluster must have the same options.",
            Code::RetentionShort => {
                "A server, or a client with connection state recovery, that is away for longer than the stream \
                 reaches back misses messages."
            }
            Code::NoPersistence => {
                "After a restart the streams and the stored sessions are gone: what had not been read is lost, \
                 and no client is recovered."
            }
            Code::Eviction => {
                "When memory is short, Redis deletes keys: a stream with all its messages, or stored sessions."
            }
            Code::MissingRights => "The user may not do what a server of the cluster has to do.",
            Code::PubSubUnavailable => {
                "Requests and answers, or all messages, go over Pub/Sub with this adapter."
            }
            Code::ClocksApart => {
                "The ids of entries are times. Limits that are compared with them (heartbeats, how long a session \
                 is kept, times for tail) are off by the difference."
            }
            Code::BuffersSmall => {
                "Redis closes a connection whose reply or request exceeds the limit, again and again."
            }
            Code::Resp3Refused => {
                "Nothing is lost by it. Connections speak RESP2, and each costs one more try."
            }
            Code::OldVersion => "Something that newer versions of Redis have is missing here.",
            Code::ReadOnly => "The server is a replica, which refuses everything that is published.",
            Code::Unreachable => "The part of the cluster that this server has was not looked at.",
            Code::Unchecked => "This part was left out.",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) code: Code,
    /// The subject: a server, a stream, a namespace.
    pub(super) about: String,
    /// The facts that were seen.
    pub(super) seen: String,
    /// The advice.
    pub(super) todo: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: Code,
        about: impl Into<String>,
        seen: impl Into<String>,
        todo: impl Into<String>,
    ) {
        let (about, seen, todo) = (about.into(), seen.into(), todo.into());
        self.0.push(Finding { severity, code, about, seen, todo });
    }

    /// Notes that something could not be looked at, and the right that it takes.
    pub(super) fn unchecked(&mut self, about: &str, refusal: &Refusal, what: &str, takes: &str) {
        let todo = match refusal.is_about_rights() {
            true => format!("To have it checked, {takes}."),
            false => "Look into the server's answer, and try again.".to_owned(),
        };
        self.add(Severity::Note, Code::Unchecked, about, what, todo);
    }

    /// Returns the findings, the worst first.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by(|one, other| {
            let key = |finding: &Finding| (core::cmp::Reverse(finding.severity), finding.code);
            key(one).cmp(&key(other)).then_with(|| one.about.cmp(&other.about))
        });
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_describes_every_finding() {
        let page = include_str!("../../../docs/operating.md");
        for code in Code::ALL {
            let row = format!("| `{}` |", code.name());
            assert!(page.lines().any(|line| line.starts_with(&row)), "no row for {}", code.name());
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let mut findings = Findings::default();
        findings.add(Severity::Note, Code::Resp3Refused, "b", "", "");
        findings.add(Severity::Error, Code::ReadOnly, "b", "", "");
        findings.add(Severity::Error, Code::ReadOnly, "a", "", "");
        findings.add(Severity::Error, Code::Eviction, "c", "", "");
        let order: Vec<_> = findings.sorted().into_iter().map(|finding| finding.about).collect();
        assert_eq!(order, ["c", "a", "b", "b"]);
    }
}
