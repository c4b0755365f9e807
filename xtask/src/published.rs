//! The crates that are published, in the order in which they can be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{adapter, process};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The directory of its manifest.
    pub(crate) directory: PathBuf,
    pub(crate) has_library: bool,
}

impl Crate {
    /// The name of its library in code, which is also that of the files rustdoc writes.
    pub(crate) fn library(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The name of its directory in a package, and of the package itself.
    pub(crate) fn stem(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// Those of the main workspace. Each stands behind those that it depends on.
pub(crate) fn of_workspace(workspace: &Workspace) -> Result<Vec<Crate>> {
    crates(&workspace.metadata()?)
}

/// The adapter for socketioxide, which is published after all of them.
pub(crate) fn adapter(workspace: &Workspace) -> Result<Crate> {
    let mut command = workspace.cargo();
    command.args(["metadata", "--format-version", "1", "--locked", "--manifest-path", adapter::MANIFEST]);
    let text = process::read(&mut command)?;
    let metadata =
        serde_json::from_str(&text).map_err(|e| Error::unreadable("what `cargo metadata` prints", e))?;
    let mut all = crates(&metadata)?;
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Error::unreadable(adapter::MANIFEST, "it should have one package, which is published")),
    }
}

fn crates(metadata: &Value) -> Result<Vec<Crate>> {
    let unreadable = |why: &str| Error::unreadable("what `cargo metadata` prints", why);
    let members: BTreeSet<&str> = metadata["workspace_members"]
        .as_array()
        .ok_or_else(|| unreadable("it names no members"))?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let packages = metadata["packages"].as_array().ok_or_else(|| unreadable("it names no packages"))?;
    let mut open = BTreeMap::new();
    for package in packages {
        let is_member = package["id"].as_str().is_some_and(|id| members.contains(id));
        // `publish = false` is an empty list of registries.
        let is_published = package["publish"].as_array().is_none_or(|registries| !registries.is_empty());
        if is_member && is_published {
            let (one, needs) = read(package).ok_or_else(|| unreadable("a part of a package is missing"))?;
            open.insert(one.name.clone(), (one, needs));
        }
    }
    let mut sorted = Vec::new();
    while !open.is_empty() {
        let ready = open.values().find(|(_, needs)| !needs.iter().any(|name| open.contains_key(name)));
        let Some(name) = ready.map(|(one, _)| one.name.clone()) else {
            return Err(unreadable("published packages depend on each other in a circle"));
        };
        sorted.extend(open.remove(&name).map(|(one, _)| one));
    }
    Ok(sorted)
}

/// Returns a package, and the names of what it depends on in its published form.
fn read(package: &Value) -> Option<(Crate, BTreeSet<String>)> {
    let is_library = |target: &Value| {
        target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "lib"))
    };
    let one = Crate {
        name: package["name"].as_str()?.to_owned(),
        version: package["version"].as_str()?.to_owned(),
        directory: Path::new(package["manifest_path"].as_str()?).parent()?.to_owned(),
        has_library: package["targets"].as_array()?.iter().any(is_library),
    };
    // Dependencies of tests without a version are left out when a package is made.
    let stays = |dep: &&Value| dep["kind"] != "dev" || dep["req"] != "*";
    let needs = package["dependencies"].as_array()?.iter().filter(stays);
    let needs = needs.filter_map(|dep| dep["name"].as_str()).filter(|name| *name != one.name);
    let needs = needs.map(str::to_owned).collect();
    Some((one, needs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, publish: Value, needs: &[(&str, Option<&str>, &str)]) -> Value {
        let needs: Vec<Value> =
            needs.iter().map(|(name, kind, req)| json!({ "name": name, "kind": kind, "req": req })).collect();
        json!({
            "id": name, "name": name, "version": "0.1.0", "publish": publish, "dependencies": needs,
            "manifest_path": format!("/w/{name}/Cargo.toml"), "targets": [{ "kind": ["lib"] }],
        })
    }

    fn names(packages: Vec<Value>) -> Result<Vec<String>> {
        let members: Vec<Value> = packages.iter().map(|package| package["id"].clone()).collect();
        let metadata = json!({ "workspace_members": members, "packages": packages });
        Ok(crates(&metadata)?.into_iter().map(|one| one.name).collect())
    }

    #[test]
    fn each_stands_behind_what_it_needs() {
        let packages = vec![
            package("a", Value::Null, &[("b", None, "^0.1"), ("serde", None, "^1")]),
            package("b", Value::Null, &[("c", None, "^0.1"), ("b", Some("dev"), "*")]),
            package("c", Value::Null, &[("kit", Some("dev"), "*"), ("a", Some("dev"), "*")]),
            package("kit", json!([]), &[]),
        ];
        assert_eq!(names(packages).unwrap(), ["c", "b", "a"]);
    }

    #[test]
    fn a_circle_is_told() {
        let packages = vec![
            package("a", Value::Null, &[("b", None, "^0.1")]),
            package("b", Value::Null, &[("a", Some("dev"), "^0.1")]),
        ];
        assert!(names(packages).unwrap_err().to_string().contains("circle"));
    }
}
