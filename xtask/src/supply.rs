//! Where dependencies come from, and under which licences: the rules of deny.toml, as far as they
//! need nothing but what cargo knows. cargo-deny itself reads the same file, and knows advisories
//! besides; it takes minutes to compile, so the weekly workflow runs it. Here is also the check
//! that docs/dependencies.md names each direct dependency.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{adapter, licence, node_adapter, process, say};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The workspaces from which something is published.
const MANIFESTS: [&str; 3] = ["Cargo.toml", adapter::MANIFEST, node_adapter::MANIFEST];

const PAGE: &str = "docs/dependencies.md";

/// The directories of the crates whose direct dependencies the page tells of.
const CRATES: [&str; 6] = ["core", "resp", "redis-model", "driver", "backend-redis-rs", "backend-fred"];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let rules = Rules::read(&toml(workspace, "deny.toml")?).ok_or_else(|| {
        Error::unreadable("deny.toml", "a rule that is checked here is missing, or has another form")
    })?;
    let mut offences = Vec::new();
    let mut seen = BTreeSet::new();
    for manifest in MANIFESTS {
        for package in packages(workspace, manifest)? {
            let (name, version) = (text(&package, "name"), text(&package, "version"));
            if seen.insert(format!("{name} {version}")) {
                let found = rules.offences(&package);
                offences.extend(found.into_iter().map(|offence| format!("  {name} {version} {offence}")));
            }
        }
    }
    offences.extend(page_offences(workspace)?);
    say(format_args!("{} packages have licences and sources that deny.toml allows", seen.len()));
    match offences.is_empty() {
        true => Ok(()),
        false => Err(Error::Offences { what: "dependencies are not as they should be", offences }),
    }
}

/// All packages that may be compiled for a workspace, on any platform.
fn packages(workspace: &Workspace, manifest: &str) -> Result<Vec<Value>> {
    let mut command = workspace.cargo();
    command.args([
        "metadata",
        "--format-version",
        "1",
        "--all-features",
        "--locked",
        "--manifest-path",
        manifest,
    ]);
    let unreadable = |why: String| Error::unreadable("what `cargo metadata` prints", why);
    let mut metadata: Value =
        serde_json::from_str(&process::read(&mut command)?).map_err(|e| unreadable(e.to_string()))?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => Err(unreadable("it names no packages".to_owned())),
    }
}

#[derive(Debug)]
struct Rules {
    licences: Vec<String>,
    git: Vec<String>,
}

impl Rules {
    fn read(rules: &Value) -> Option<Self> {
        let list = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
        };
        let denied = |table: &str, key: &str| rules[table][key] == "deny";
        let is_strict = denied("sources", "unknown-registry")
            && denied("sources", "unknown-git")
            && denied("bans", "wildcards")
            && rules["bans"]["allow-wildcard-paths"] == true;
        is_strict.then_some(())?;
        Some(Self {
            licences: list(&rules["licenses"]["allow"])?,
            git: list(&rules["sources"]["allow-git"])?,
        })
    }

    fn offences(&self, package: &Value) -> Vec<String> {
        let mut offences = Vec::new();
        let licence = text(package, "license");
        let accepted: Vec<&str> = self.licences.iter().map(String::as_str).collect();
        match licence::allows(licence, &accepted) {
            Some(true) => {}
            Some(false) => {
                offences.push(format!("has the licence {licence}, which deny.toml does not allow"))
            }
            None => offences.push(format!("has no licence expression that can be read: {licence:?}")),
        }
        match package["source"].as_str() {
            None | Some(CRATES_IO) => {}
            Some(git)
                if git.starts_with("git+") && self.git.iter().any(|url| git[4..].starts_with(&**url)) => {}
            Some(other) => offences.push(format!("comes from {other}, which deny.toml does not allow")),
        }
        // The demands of other crates are theirs.
        let is_ours = package["source"].is_null();
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(|_| is_ours) {
            if dependency["req"] == "*" && dependency["path"].is_null() {
                offences.push(format!("takes any version of {}", text(dependency, "name")));
            }
        }
        offences
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Compares the page with the manifests: who depends on what.
fn page_offences(workspace: &Workspace) -> Result<Vec<String>> {
    let path = workspace.path(PAGE);
    let page = fs::read_to_string(&path).map_err(|e| Error::file(path, e))?;
    let told = rows(&page);
    let (mut needed, mut unused) = (BTreeSet::new(), Vec::new());
    for directory in CRATES {
        let manifest = toml(workspace, &format!("{directory}/Cargo.toml"))?;
        let dependencies = manifest["dependencies"].as_object().into_iter().flatten().map(|(name, _)| name);
        let others: Vec<&String> = dependencies.filter(|name| !name.starts_with("sio-streams-")).collect();
        let code = code(&workspace.path(directory).join("src"))?;
        let is_unused = |name: &&&String| !code.contains(&name.replace('-', "_"));
        unused
            .extend(others.iter().filter(is_unused).map(|name| format!("  {directory} does not use {name}")));
        needed.extend(others.into_iter().map(|name| (name.clone(), directory.to_owned())));
    }
    let missing =
        needed.difference(&told).map(|(name, by)| format!("  {PAGE} does not say that {by} needs {name}"));
    let extra = told
        .difference(&needed)
        .map(|(name, by)| format!("  {PAGE} says that {by} needs {name}, which is not so"));
    Ok(missing.chain(extra).chain(unused).collect())
}

/// The text of all files below a directory.
fn code(directory: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in fs::read_dir(directory).map_err(|e| Error::file(directory, e))? {
        let path = entry.map_err(|e| Error::file(directory, e))?.path();
        text += &match path.is_dir() {
            true => code(&path)?,
            false => fs::read_to_string(&path).map_err(|e| Error::file(path, e))?,
        };
    }
    Ok(text)
}

/// The dependencies of the page's tables, each with the crates that need it: `| [`bytes`](…) |
/// core, resp | …`.
fn rows(page: &str) -> BTreeSet<(String, String)> {
    let mut rows = BTreeSet::new();
    for line in page.lines() {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let name = cells.next().and_then(|cell| cell.strip_prefix("[`")?.split('`').next());
        let (Some(name), Some(crates)) = (name, cells.next()) else { continue };
        rows.extend(crates.split(", ").map(|one| (name.to_owned(), one.to_owned())));
    }
    rows
}

/// Reads a TOML file of the workspace, as the JSON value that says the same.
fn toml(workspace: &Workspace, file: &str) -> Result<Value> {
    let path = workspace.path(file);
    let text = fs::read_to_string(&path).map_err(|e| Error::file(path, e))?;
    toml::from_str(&text).map_err(|e| Error::unreadable(file, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules() -> Value {
        json!({
            "licenses": { "allow": ["MIT"] },
            "bans": { "wildcards": "deny", "allow-wildcard-paths": true },
            "sources": { "unknown-registry": "deny", "unknown-git": "deny", "allow-git": ["https://example.org/a"] },
        })
    }

    #[test]
    fn rules_that_are_not_strict_are_no_rules() {
        assert!(Rules::read(&rules()).is_some());
        let mut lax = rules();
        lax["sources"]["unknown-git"] = json!("warn");
        assert!(Rules::read(&lax).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_package() {
        let rules = Rules::read(&rules()).unwrap();
        let offences = |licence: &str, source: Value, req: &str, path: Value| {
            rules.offences(&json!({
                "license": licence, "source": source, "dependencies": [{ "name": "b", "req": req, "path": path }],
            }))
        };
        assert_eq!(offences("MIT OR GPL-3.0", json!(CRATES_IO), "*", Value::Null), [""; 0]);
        assert_eq!(offences("MIT", Value::Null, "*", json!("../b")), [""; 0]);
        assert_eq!(offences("MIT", json!("git+https://example.org/a#12"), "^1", Value::Null), [""; 0]);
        for (licence, source, req) in [
            ("GPL-3.0", json!(CRATES_IO), "^1"),
            ("", json!(CRATES_IO), "^1"),
            ("MIT", json!("git+https://example.org/b#12"), "^1"),
            ("MIT", json!("registry+https://example.org/index"), "^1"),
            ("MIT", Value::Null, "*"),
        ] {
            assert_eq!(
                offences(licence, source.clone(), req, Value::Null).len(),
                1,
                "{licence} {source} {req}"
            );
        }
    }

    #[test]
    fn the_page_is_read_row_by_row() {
        let page =
            "| crate | by |\n|---|---|\n| [`bytes`](https://x) | core, resp | why |\ntext [`a`](b) | c |\n";
        let pair = |by: &str| ("bytes".to_owned(), by.to_owned());
        assert_eq!(rows(page), [pair("core"), pair("resp")].into());
    }
}
