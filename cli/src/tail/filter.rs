//! The selection of messages.

use sio_streams_driver::sio_streams_core::{ByteString, Entry};

use super::record::{Kind, Record};

/// The messages that are shown. An empty list selects all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) namespaces: Vec<String>,
    pub(crate) rooms: Vec<String>,
    pub(crate) events: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    /// The names of nodes, or their beginnings.
    pub(crate) nodes: Vec<String>,
}

impl Filter {
    /// Returns `false` if the entry certainly is not selected, without decoding it.
    pub(crate) fn may_select(&self, entry: &Entry) -> bool {
        let field = |name| entry.fields.get(name).map(|value| &value[..]).unwrap_or_default();
        (self.namespaces.is_empty() || self.namespaces.iter().any(|nsp| nsp.as_bytes() == field("nsp")))
            && (self.nodes.is_empty()
                || self.nodes.iter().any(|node| field("uid").starts_with(node.as_bytes())))
    }

    /// Returns `true` if the message is selected. What can't be read has no rooms and no event that
    /// could be compared. It is left out only by the other filters.
    pub(crate) fn selects(&self, record: &Record) -> bool {
        let kind = record.kind();
        let has = |name: &Option<ByteString>, is: &dyn Fn(&str) -> bool| name.as_deref().is_some_and(is);
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.namespaces.is_empty()
                || has(&record.nsp, &|nsp| self.namespaces.iter().any(|wanted| wanted == nsp)))
            && (self.nodes.is_empty()
                || has(&record.node, &|node| self.nodes.iter().any(|wanted| node.starts_with(&**wanted))))
            && (kind == Kind::Unreadable || self.selects_rooms(record) && self.selects_event(record))
    }

    fn selects_rooms(&self, record: &Record) -> bool {
        let in_question = || record.rooms().iter().chain(record.names().unwrap_or_default());
        self.rooms.is_empty() || self.rooms.iter().any(|wanted| in_question().any(|room| **room == **wanted))
    }

    fn selects_event(&self, record: &Record) -> bool {
        let name = || record.event().and_then(|event| event.event_name());
        self.events.is_empty() || name().is_some_and(|name| self.events.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sio_streams_driver::sio_streams_core::{EntryId, Fields};

    use super::*;

    fn entry(fields: &[(&'static str, &'static str)]) -> Entry {
        Entry { id: EntryId { ms: 1, seq: 0 }, fields: fields.iter().copied().collect::<Fields>() }
    }

    fn selects(filter: &Filter, entry: &Entry) -> bool {
        let selected = filter.selects(&Record::of_entry(&Arc::from("s"), entry));
        assert!(filter.may_select(entry) || !selected, "{filter:?} {entry:?}");
        selected
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    const NEWS: &str =
        r#"{"packet":{"type":2,"data":["news",1]},"opts":{"rooms":["a","b"],"except":["c"],"flags":{}}}"#;
    const JOIN: &str = r#"{"opts":{"rooms":["a"],"except":[]},"rooms":["d"]}"#;

    #[test]
    fn each_filter_selects_by_its_own_part() {
        let news = entry(&[("uid", "0123456789abcdef"), ("nsp", "/chat"), ("type", "3"), ("data", NEWS)]);
        let join = entry(&[("uid", "fedcba9876543210"), ("nsp", "/"), ("type", "4"), ("data", JOIN)]);
        let beat = entry(&[("uid", "fedcba9876543210"), ("nsp", "/"), ("type", "2")]);
        let select = |filter: Filter| [&news, &join, &beat].map(|entry| selects(&filter, entry));
        assert_eq!(select(Filter::default()), [true, true, true]);
        let namespaces = |names| Filter { namespaces: list(names), ..Filter::default() };
        assert_eq!(select(namespaces(&["/chat"])), [true, false, false]);
        assert_eq!(select(namespaces(&["/chat", "/"])), [true, true, true]);
        assert_eq!(select(namespaces(&["/ch"])), [false, false, false]);
        let rooms = |names| Filter { rooms: list(names), ..Filter::default() };
        assert_eq!(select(rooms(&["a"])), [true, true, false]);
        assert_eq!(select(rooms(&["d"])), [false, true, false]);
        assert_eq!(select(rooms(&["c"])), [false, false, false]);
        let events = Filter { events: list(&["news"]), ..Filter::default() };
        assert_eq!(select(events), [true, false, false]);
        let kinds = Filter { kinds: vec![Kind::Join, Kind::Heartbeat], ..Filter::default() };
        assert_eq!(select(kinds), [false, true, true]);
        let nodes = Filter { nodes: list(&["0123"]), ..Filter::default() };
        assert_eq!(select(nodes), [true, false, false]);
        let both = Filter { rooms: list(&["a"]), events: list(&["other"]), ..Filter::default() };
        assert_eq!(select(both), [false, false, false]);
    }

    #[test]
    fn what_can_not_be_read_is_left_out_only_by_what_is_known_of_it() {
        let poison = entry(&[("uid", "n"), ("nsp", "/chat"), ("type", "3"), ("data", "{")]);
        let with = |filter: Filter| selects(&filter, &poison);
        assert!(with(Filter { rooms: list(&["a"]), events: list(&["b"]), ..Filter::default() }));
        assert!(with(Filter { namespaces: list(&["/chat"]), nodes: list(&["n"]), ..Filter::default() }));
        assert!(with(Filter { kinds: vec![Kind::Unreadable], ..Filter::default() }));
        assert!(!with(Filter { kinds: vec![Kind::Broadcast], ..Filter::default() }));
        assert!(!with(Filter { namespaces: list(&["/"]), ..Filter::default() }));
        assert!(!selects(&Filter { namespaces: list(&["/"]), ..Filter::default() }, &entry(&[("a", "b")])));
    }
}
