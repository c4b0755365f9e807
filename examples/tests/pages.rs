//! `docs/framework.md` shows the example as it is, and its figures are right.

#![allow(clippy::unwrap_used, reason = "a test may end in a panic")]

const PAGE: &str = include_str!("../../docs/framework.md");
const SERVER: &str = include_str!("../server.rs");

/// A line of a snippet that stands for lines that are left out.
const ELISION: &str = "// …";

/// The snippets of a page, and the parts between what they leave out, without indentation.
fn snippets(page: &str) -> Vec<Vec<&str>> {
    let mut parts = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == "```rust") {
        let snippet: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").map(str::trim).collect();
        parts.extend(snippet.split(|line| *line == ELISION).map(<[&str]>::to_vec));
    }
    parts
}

#[test]
fn every_snippet_is_a_part_of_the_example() {
    let source: Vec<&str> = SERVER.lines().map(str::trim).collect();
    let snippets = snippets(PAGE);
    assert!(snippets.len() > 8 && snippets.iter().all(|part| !part.is_empty()));
    for snippet in snippets {
        assert!(source.windows(snippet.len()).any(|lines| lines == snippet), "{}", snippet.join("\n"));
    }
}

#[test]
fn the_server_is_as_short_as_the_page_says() {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = SERVER.lines().filter(is_code).count();
    assert!(lines <= 250, "{lines}");
    assert!(PAGE.contains("250 lines without comments"));
}
