//! A run as an HTML page: one self-contained file.

use std::collections::BTreeMap;

use crate::trace::{Kind, Place, Record};

/// The page around the data.
const PAGE: &str = include_str!("page.html");

/// A page that shows the record: a row for the server and for each host, time from left to right,
/// to be zoomed and searched.
pub fn page(title: &str, records: &[Record]) -> String {
    let mut rows: BTreeMap<Place, usize> = BTreeMap::new();
    for record in records {
        rows.entry(record.place).or_default();
    }
    let mut names = Vec::new();
    for (row, (place, index)) in rows.iter_mut().enumerate() {
        *index = row;
        names.push(match place {
            Place::Server => "redis".to_owned(),
            Place::Host(host) => format!("host{host}"),
        });
    }
    let items: Vec<serde_json::Value> = records
        .iter()
        .filter(|record| record.kind != Kind::Wire)
        .map(|Record { at, place, kind, lasts, text, entry }| {
            serde_json::json!([
                at.as_micros(),
                rows.get(place),
                format!("{kind:?}"),
                lasts.as_micros() as u64,
                text,
                entry.map(|entry| entry.to_string()),
            ])
        })
        .collect();
    let data = serde_json::json!({ "title": title, "rows": names, "items": items }).to_string();
    // Nothing in the data may end the script that it stands in.
    PAGE.replace("/*DATA*/null", &data.replace('<', "\\u003c"))
}
