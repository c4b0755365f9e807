//! Links in the pages of the repository, and from the documentation of the crates into it. Nothing
//! is asked of the network: links to other places are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::{fs, mem};

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{process, say};

/// Addresses by which pages that are shown elsewhere name files of the repository.
const OWN: [&str; 3] = [
    "https://github.com/sio-streams/sio-streams/blob/main/",
    "https://github.com/sio-streams/sio-streams/tree/main/",
    "https://raw.githubusercontent.com/sio-streams/sio-streams/main/",
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let pages = Pages::read(workspace)?;
    let mut offences = Vec::new();
    let mut count = 0;
    for (file, text) in &pages.texts {
        for Link { line, target } in links(file, text) {
            let Some(target) = Target::of(file, &target) else { continue };
            count += 1;
            if let Err(why) = pages.look(&target) {
                offences.push(format!("  {}:{line}: {why}", file.display()));
            }
        }
    }
    say(format_args!("{count} links in {} files lead somewhere in the repository", pages.texts.len()));
    match offences.is_empty() {
        true => Ok(()),
        false => Err(Error::Offences { what: "links lead nowhere", offences }),
    }
}

/// The files that git knows, and the texts of those that have links.
struct Pages {
    files: BTreeSet<PathBuf>,
    texts: BTreeMap<PathBuf, String>,
}

impl Pages {
    fn read(workspace: &Workspace) -> Result<Self> {
        let mut git = workspace.command("git".as_ref());
        let list = process::read(git.args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
        let mut pages = Self { files: BTreeSet::new(), texts: BTreeMap::new() };
        for file in list.lines().map(PathBuf::from) {
            let path = workspace.path("").join(&file);
            let metadata = fs::symlink_metadata(&path).map_err(|e| Error::file(&path, e))?;
            let extension = file.extension().and_then(|extension| extension.to_str());
            // A page that is a link to another one is read there.
            if metadata.is_file() && matches!(extension, Some("md" | "rs" | "toml" | "yml")) {
                let text = fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
                pages.texts.insert(file.clone(), text);
            }
            let directories = file.ancestors().skip(1).map(Path::to_owned);
            pages.files.extend(directories);
            pages.files.insert(file);
        }
        Ok(pages)
    }

    fn look(&self, target: &Target) -> std::result::Result<(), String> {
        let Target { path, anchor } = target;
        if !self.files.contains(path) {
            return Err(format!("there is no {}", path.display()));
        }
        let Some(anchor) = anchor else { return Ok(()) };
        match self.texts.get(path).filter(|_| is_page(path)) {
            Some(text) if anchors(text).contains(anchor) => Ok(()),
            Some(_) => Err(format!("{} has no heading #{anchor}", path.display())),
            // Lines of a program.
            None if anchor.starts_with('L') => Ok(()),
            None => Err(format!("{} is no page with headings, and can't have #{anchor}", path.display())),
        }
    }
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

/// A place in the repository.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    path: PathBuf,
    anchor: Option<String>,
}

impl Target {
    /// Returns `None` for other places.
    fn of(file: &Path, target: &str) -> Option<Self> {
        let (path, anchor) = match target.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor.to_owned())),
            None => (target, None),
        };
        let own = OWN.iter().find_map(|own| path.strip_prefix(own));
        let path = match own {
            Some(path) => PathBuf::from(path.trim_end_matches('/')),
            None if path.contains(':') => return None,
            // In the documentation of a crate these are its own items.
            None if !is_page(file) => return None,
            None if path.is_empty() => file.to_owned(),
            None => normal(&file.parent()?.join(path)),
        };
        Some(Self { path, anchor })
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

/// The links of a page, or the addresses of this repository in another file.
fn links(file: &Path, text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut fences = Fences::default();
    for (number, line) in text.lines().enumerate() {
        let mut found = Vec::new();
        if is_page(file) {
            if fences.is_code(line) {
                continue;
            }
            found = targets(&without_code(line));
        } else {
            for own in OWN {
                for (at, _) in line.match_indices(own) {
                    let end = |c: char| c.is_whitespace() || ")>\"'`".contains(c);
                    let rest = &line[at..];
                    found.push(rest[..rest.find(end).unwrap_or(rest.len())].trim_end_matches('.').to_owned());
                }
            }
            // Where this program has the addresses themselves.
            found.retain(|target| !OWN.contains(&&**target));
        }
        links.extend(found.into_iter().map(|target| Link { line: number + 1, target }));
    }
    links
}

/// Follows blocks of code, which have no links and no headings.
#[derive(Default)]
struct Fences {
    open: Option<String>,
}

impl Fences {
    fn is_code(&mut self, line: &str) -> bool {
        let line = line.trim_start();
        let fence: String = line.chars().take_while(|c| *c == '`').collect();
        match mem::take(&mut self.open) {
            None if fence.len() >= 3 => self.open = Some(fence),
            None => return false,
            Some(open) if fence.len() >= open.len() && line.trim_end() == fence => {}
            open => self.open = open,
        }
        true
    }
}

/// Empties the code spans of a line, without which no bracket of code looks like one of a link.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let even = |(at, part): (usize, &&str)| if at % 2 == 0 { (*part).to_owned() } else { String::new() };
    match parts.len() % 2 {
        1 => parts.iter().enumerate().map(even).collect::<Vec<_>>().join("`"),
        _ => line.to_owned(),
    }
}

/// The targets of `[text](target)`, `![picture](target)` and `[name]: target`.
fn targets(line: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for (at, _) in line.match_indices("](") {
        let rest = &line[at + 2..];
        targets.extend(rest.split([')', ' ']).next().filter(|target| !target.is_empty()).map(str::to_owned));
    }
    let defined = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    let mut words = defined.map_or("", |(_, rest)| rest).split_whitespace();
    let target = words.next();
    // Behind the target there is a title or nothing; other lines are text.
    if words.next().is_none_or(|title| title.starts_with(['"', '\'', '('])) {
        targets.extend(target.map(str::to_owned));
    }
    targets
}

/// The anchors of a page's headings, as the hosting site makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut fences = Fences::default();
    for line in text.lines() {
        if fences.is_code(line) {
            continue;
        }
        for (at, _) in line.match_indices("id=\"") {
            anchors.extend(line[at + 4..].split('"').next().map(str::to_owned));
        }
        let level = line.chars().take_while(|c| *c == '#').count();
        let Some(title) = line.get(level..).and_then(|rest| rest.strip_prefix(' ')) else { continue };
        if !(1..=6).contains(&level) {
            continue;
        }
        let slug = slug(title);
        let free = (1..).map(|n| format!("{slug}-{n}")).find(|other| !anchors.contains(other));
        match anchors.contains(&slug) {
            true => anchors.extend(free),
            false => drop(anchors.insert(slug)),
        }
    }
    anchors
}

/// Lower case, without the targets of links and what is neither letter, digit, `-`, `_` nor space.
fn slug(title: &str) -> String {
    let mut shown = title.trim().to_owned();
    while let Some(at) = shown.find("](") {
        let end = shown[at..].find(')').map_or(shown.len(), |end| at + end + 1);
        shown.replace_range(at..end, "");
    }
    let lower = shown.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<String> {
        links(Path::new(file), text)
            .into_iter()
            .map(|link| format!("{} {}", link.line, link.target))
            .collect()
    }

    #[test]
    fn links_of_a_page() {
        let page = "[a](b.md) and ![c](d.png \"title\"), `[no](code)`\n\n```text\n[no](code)\n```\n[e]: f.md#g\n[h][e]\n[vec]: it is text";
        assert_eq!(found("README.md", page), ["1 b.md", "1 d.png", "6 f.md#g"]);
    }

    #[test]
    fn addresses_of_the_repository_in_other_files() {
        let address = format!("{}docs/a.md", OWN[0]);
        let text =
            format!("//! [A]: {address}\n//! [B](https://example.org/b) [`C`](crate::C) <{address}#x>.");
        let expected = [format!("1 {address}"), format!("2 {address}#x")];
        assert_eq!(found("core/src/lib.rs", &text), expected);
    }

    #[test]
    fn targets_are_relative_to_their_page() {
        let of = |file: &str, target: &str| {
            let target = Target::of(Path::new(file), target)?;
            Some((target.path.display().to_string(), target.anchor.unwrap_or_default()))
        };
        let place = |path: &str, anchor: &str| Some((path.to_owned(), anchor.to_owned()));
        assert_eq!(of("docs/a.md", "../core/src/lib.rs"), place("core/src/lib.rs", ""));
        assert_eq!(of("docs/a.md", "#there"), place("docs/a.md", "there"));
        assert_eq!(of("docs/a.md", "./b.md#c"), place("docs/b.md", "c"));
        assert_eq!(of("docs/a.md", &format!("{}driver/", OWN[1])), place("driver", ""));
        assert_eq!(of("docs/a.md", "https://example.org/docs/a.md"), None);
    }

    #[test]
    fn headings_and_their_anchors() {
        let page = "# What `XADD` does: a [link](x.md)\n## Twice\n## Twice\n```sh\n# no heading\n```\n#no\n<a id=\"by-hand\"></a>";
        let expected = ["by-hand", "twice", "twice-1", "what-xadd-does-a-link"];
        assert_eq!(anchors(page).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let file = |name: &str| PathBuf::from(name);
        let pages = Pages {
            files: [file("a.md"), file("b.rs")].into(),
            texts: [(file("a.md"), "# One".to_owned())].into(),
        };
        let look = |path: &str, anchor: Option<&str>| {
            pages.look(&Target { path: file(path), anchor: anchor.map(str::to_owned) }).is_ok()
        };
        assert!(look("a.md", None) && look("a.md", Some("one")) && look("b.rs", Some("L7")));
        assert!(!look("c.md", None) && !look("a.md", Some("two")) && !look("b.rs", Some("one")));
    }
}
