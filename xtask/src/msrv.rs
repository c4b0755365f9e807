//! The minimum supported Rust version. Without that toolchain, two things are checked: that no
//! dependency declares a later version, and that clippy's lint for the standard library is on. If
//! that toolchain is installed, it also compiles the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::version::Version;
use crate::workspace::Workspace;
use crate::{process, say};

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let manifest = read(&workspace.path("Cargo.toml"))?;
    let rust_version = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .and_then(Version::parse)
        .ok_or_else(|| Error::unreadable("Cargo.toml", "[workspace.package] names no rust-version"))?;
    let metadata = workspace.metadata()?;

    let graph = Graph::read(&metadata)
        .ok_or_else(|| Error::unreadable("what `cargo metadata` prints", "a part of the graph is missing"))?;
    let mut offences = graph.offences(rust_version);
    offences.extend(lint_offences(&manifest, &graph)?);
    if !offences.is_empty() {
        return Err(Error::Msrv { rust_version: rust_version.to_string(), offences });
    }
    say(format_args!(
        "{} packages of ours and {} that they are built with allow Rust {rust_version}; clippy watches the standard library",
        graph.members.len(),
        graph.built_with().len() - graph.members.len(),
    ));

    match installed_toolchain(rust_version)? {
        Some(toolchain) => process::run(workspace.cargo_of(&toolchain).args([
            "check",
            "--workspace",
            "--all-features",
            "--locked",
        ])),
        None => {
            say(format_args!("no toolchain {rust_version} is installed here to compile with as well"));
            Ok(())
        }
    }
}

#[derive(Debug)]
struct Graph<'a> {
    members: BTreeSet<&'a str>,
    packages: BTreeMap<&'a str, Package<'a>>,
    /// The packages that each package is compiled with: its normal and build dependencies, on any
    /// platform.
    edges: BTreeMap<&'a str, Vec<&'a str>>,
}

#[derive(Debug)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    rust_version: Option<&'a str>,
    manifest: &'a Path,
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> Option<Self> {
        let members = metadata["workspace_members"].as_array()?.iter().filter_map(Value::as_str).collect();
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            let entry = Package {
                name: package["name"].as_str()?,
                version: package["version"].as_str()?,
                rust_version: package["rust_version"].as_str(),
                manifest: Path::new(package["manifest_path"].as_str()?),
            };
            packages.insert(package["id"].as_str()?, entry);
        }
        let mut edges = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array()? {
            let compiled = |dep: &&Value| {
                dep["dep_kinds"]
                    .as_array()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
            };
            let needed =
                node["deps"].as_array()?.iter().filter(compiled).filter_map(|dep| dep["pkg"].as_str());
            edges.insert(node["id"].as_str()?, needed.collect());
        }
        Some(Self { members, packages, edges })
    }

    /// The members, and everything that they are compiled with.
    fn built_with(&self) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = self.members.iter().copied().collect();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.edges.get(id).into_iter().flatten());
            }
        }
        seen
    }

    fn offences(&self, rust_version: Version) -> Vec<String> {
        let mut offences = Vec::new();
        for id in self.built_with() {
            let Some(Package { name, version, rust_version: own, .. }) = self.packages.get(id) else {
                continue;
            };
            let needs = own.and_then(Version::parse);
            match needs {
                _ if self.members.contains(id) && needs != Some(rust_version) => {
                    offences.push(format!("  {name} does not say `rust-version.workspace = true`"));
                }
                Some(needs) if needs > rust_version => {
                    offences.push(format!("  {name} {version} needs Rust {needs}"));
                }
                _ => {}
            }
        }
        offences
    }
}

/// Clippy's `incompatible_msrv` finds younger parts of the standard library, if it is on for every
/// package of ours.
fn lint_offences(manifest: &Value, graph: &Graph<'_>) -> Result<Vec<String>> {
    let mut offences = Vec::new();
    let lint = &manifest["workspace"]["lints"]["clippy"]["incompatible_msrv"];
    let level = lint.as_str().or_else(|| lint["level"].as_str());
    if !matches!(level, Some("warn" | "deny" | "forbid")) {
        offences.push("  Cargo.toml: incompatible_msrv is not on in [workspace.lints.clippy]".to_owned());
    }
    for id in &graph.members {
        let Some(package) = graph.packages.get(id) else { continue };
        if read(package.manifest)?["lints"]["workspace"] != true {
            offences.push(format!("  {} does not say `[lints] workspace = true`", package.name));
        }
    }
    Ok(offences)
}

fn installed_toolchain(rust_version: Version) -> Result<Option<String>> {
    let mut list = std::process::Command::new("rustup");
    let list = process::ask(list.args(["toolchain", "list"]))?.unwrap_or_default();
    Ok(toolchain_in(&list, rust_version).map(str::to_owned))
}

fn toolchain_in(list: &str, rust_version: Version) -> Option<&str> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.into_iter().find(|name| Version::parse(name) == Some(rust_version))
}

/// Reads a TOML file, as the JSON value that says the same.
fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    toml::from_str(&text).map_err(|e| Error::unreadable(path.display().to_string(), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RUST_VERSION: Version = Version::new(1, 88, 0);

    fn package(id: &str, rust_version: Option<&str>) -> Value {
        json!({ "id": id, "name": id, "version": "1.0.0", "rust_version": rust_version, "manifest_path": "Cargo.toml" })
    }

    fn needs(pkg: &str, kinds: &[Option<&str>]) -> Value {
        let kinds: Vec<Value> = kinds.iter().map(|kind| json!({ "kind": kind, "target": null })).collect();
        json!({ "pkg": pkg, "dep_kinds": kinds })
    }

    fn metadata(ours: Option<&str>) -> Value {
        json!({
            "workspace_members": ["ours"],
            "packages": [
                package("ours", ours),
                package("old", Some("1.60")),
                package("silent", None),
                package("young", Some("1.90")),
                package("young-in-tests", Some("1.91")),
                package("young-in-build", Some("1.88.1")),
            ],
            "resolve": { "nodes": [
                { "id": "ours", "deps": [needs("old", &[None]), needs("young-in-tests", &[Some("dev")])] },
                { "id": "old", "deps": [needs("silent", &[None, Some("dev")]), needs("young-in-build", &[Some("build")])] },
                { "id": "silent", "deps": [needs("young", &[None])] },
                { "id": "young", "deps": [] },
                { "id": "young-in-tests", "deps": [] },
                { "id": "young-in-build", "deps": [] },
            ] },
        })
    }

    #[test]
    fn young_dependencies_are_named_those_of_tests_are_not() {
        let metadata = metadata(Some("1.88"));
        let offences = Graph::read(&metadata).unwrap().offences(RUST_VERSION);
        assert_eq!(offences, ["  young 1.0.0 needs Rust 1.90", "  young-in-build 1.0.0 needs Rust 1.88.1"]);
    }

    #[test]
    fn our_packages_say_the_version_of_the_workspace() {
        for ours in [None, Some("1.80"), Some("1.89")] {
            let metadata = metadata(ours);
            let offences = Graph::read(&metadata).unwrap().offences(RUST_VERSION);
            assert!(offences[0].contains("ours does not say"), "{offences:?}");
        }
    }

    #[test]
    fn a_lint_that_is_off_is_an_offence() {
        let metadata = json!({ "workspace_members": [], "packages": [], "resolve": { "nodes": [] } });
        let graph = Graph::read(&metadata).unwrap();
        let offences = |clippy: &str| {
            let manifest = toml::from_str(&format!("[workspace.lints.clippy]\n{clippy}\n")).unwrap();
            lint_offences(&manifest, &graph).unwrap().len()
        };
        for on in ["incompatible_msrv = 'warn' # why", "incompatible_msrv = { level = 'deny', priority = 1 }"]
        {
            assert_eq!(offences(on), 0, "{on}");
        }
        for off in ["", "incompatible_msrv = 'allow'", "other = 'warn'"] {
            assert_eq!(offences(off), 1, "{off}");
        }
    }

    #[test]
    fn the_toolchain_of_that_version() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-x86_64-unknown-linux-gnu\n\
                    1.88.0-x86_64-unknown-linux-gnu\n1.95.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(toolchain_in(list, RUST_VERSION), Some("1.88.0-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain_in(list, Version::new(1, 87, 0)), None);
        assert_eq!(toolchain_in("", RUST_VERSION), None);
    }
}
