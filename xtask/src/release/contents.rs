//! The contents of a package: all that everybody expects there, and nothing that only tests need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::pack::Packed;
use crate::error::{Error, Result};
use crate::say;
use crate::workspace::Workspace;

/// The largest size of each package in KiB, as it is uploaded. A package grows with its crate; what
/// makes it grow suddenly is seldom meant for those who download it.
const LIMITS: [(&str, u64); 9] = [
    ("sio-streams-core", 240),
    ("sio-streams-resp", 70),
    ("sio-streams-redis-model", 50),
    ("sio-streams-driver", 170),
    ("sio-streams-redis-rs", 50),
    ("sio-streams-fred", 50),
    ("sio-streams-sim", 190),
    ("sio-streams-cli", 150),
    ("sio-streams-socketioxide", 60),
];

/// The same in each package as in the repository.
const SHARED: [&str; 3] = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Names of directories and files that are for tests.
const FOR_TESTS: [&str; 7] =
    ["tests", "tests.rs", "benches", "proptest-regressions", "vectors", "corpus", "fuzz"];

/// Those of crates.io's categories that fit here. It refuses a package with any other word.
const CATEGORIES: [&str; 9] = [
    "asynchronous",
    "command-line-utilities",
    "database",
    "development-tools::testing",
    "encoding",
    "network-programming",
    "parser-implementations",
    "simulation",
    "web-programming::websocket",
];

pub(super) fn check(workspace: &Workspace, packages: &[Packed]) -> Result<()> {
    let mut offences = Vec::new();
    for packed in packages {
        let size = fs::metadata(&packed.file).map_err(|e| Error::file(&packed.file, e))?.len();
        let name = &packed.origin.name;
        let files = files(&packed.directory)?;
        let manifest = read(&packed.directory, Path::new("Cargo.toml"))?;
        let manifest: Value = toml::from_str(&manifest).map_err(|e| Error::unreadable("Cargo.toml", e))?;
        let mut found = metadata_offences(&manifest["package"], packed.origin.has_library);
        found.extend(size_offence(name, size));
        found.extend(file_offences(&files));
        for shared in SHARED {
            if files.contains(Path::new(shared)) {
                let own = read(&packed.directory, Path::new(shared))?;
                if own != read(&workspace.path(""), Path::new(shared))? {
                    found.push(format!("{shared} is not that of the repository"));
                }
            }
        }
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
            let text = read(&packed.directory, file)?;
            let extra = modules_of_tests(file, &text).into_iter().filter(|module| files.contains(module));
            found.extend(extra.map(|module| format!("{} is a module of tests", module.display())));
        }
        say(format_args!("{}: {} files, {} KiB", packed.origin.stem(), files.len(), size.div_ceil(1024)));
        offences.extend(found.into_iter().map(|offence| format!("  {name}: {offence}")));
    }
    match offences.is_empty() {
        true => Ok(()),
        false => Err(Error::Offences { what: "these packages can't be published as they are", offences }),
    }
}

fn size_offence(name: &str, size: u64) -> Option<String> {
    match LIMITS.iter().find(|(of, _)| *of == name) {
        None => Some("it has no limit of its size in xtask/src/release/contents.rs".to_owned()),
        Some((_, limit)) if size > limit * 1024 => {
            Some(format!("{} KiB are more than the limit of {limit} KiB", size.div_ceil(1024)))
        }
        Some(_) => None,
    }
}

/// Looks at the `[package]` of a manifest as cargo has written it into the package.
fn metadata_offences(package: &Value, has_library: bool) -> Vec<String> {
    let mut offences = Vec::new();
    for key in ["description", "repository", "rust-version", "edition"] {
        if package[key].as_str().is_none_or(str::is_empty) {
            offences.push(format!("the manifest has no {key}"));
        }
    }
    if package["license"] != "MIT OR Apache-2.0" {
        offences.push(format!("the licence is {}", package["license"]));
    }
    if package["readme"] != "README.md" {
        offences.push(format!("the readme is {}", package["readme"]));
    }
    let words = |key: &str| -> Vec<&str> {
        package[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (keywords, categories) = (words("keywords"), words("categories"));
    for (key, words) in [("keywords", &keywords), ("categories", &categories)] {
        if !(1..=5).contains(&words.len()) {
            offences.push(format!("there are {} {key}, and should be one to five", words.len()));
        }
    }
    for keyword in keywords {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
        let is_good = keyword.len() <= 20
            && keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.chars().all(fits);
        if !is_good {
            offences.push(format!("crates.io refuses the keyword {keyword:?}"));
        }
    }
    for category in categories.iter().filter(|category| !CATEGORIES.contains(category)) {
        offences.push(format!("the category {category:?} is not among those that are known to exist"));
    }
    if has_library && package["metadata"]["docs"]["rs"]["all-features"] != true {
        offences.push("docs.rs would not show all features".to_owned());
    }
    offences
}

fn file_offences(files: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut offences = Vec::new();
    for needed in SHARED.into_iter().chain(["README.md", "Cargo.lock"]) {
        if !files.contains(Path::new(needed)) {
            offences.push(format!("{needed} is missing"));
        }
    }
    for file in files {
        let is_for_tests = file.iter().any(|part| FOR_TESTS.iter().any(|name| part.to_str() == Some(name)));
        if is_for_tests {
            offences.push(format!("{} is for tests", file.display()));
        }
    }
    offences
}

/// The files that the modules may be in which this file declares for tests alone.
fn modules_of_tests(file: &Path, text: &str) -> Vec<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let inside = match stem {
        "mod" | "lib" | "main" => beside.to_owned(),
        name => beside.join(name),
    };
    let mut modules = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let name = lines.next().and_then(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        if let Some(name) = name {
            modules.extend([inside.join(format!("{name}.rs")), inside.join(name).join("mod.rs")]);
        }
    }
    modules
}

/// All files below a directory, as paths from there.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(|e| Error::file(&directory, e))? {
            let path = entry.map_err(|e| Error::file(&directory, e))?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(relative) = path.strip_prefix(root) {
                files.insert(relative.to_owned());
            }
        }
    }
    Ok(files)
}

fn read(root: &Path, file: &Path) -> Result<String> {
    let path = root.join(file);
    fs::read_to_string(&path).map_err(|e| Error::file(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package() -> Value {
        json!({
            "description": "What it is", "repository": "https://example.org", "rust-version": "1.88",
            "edition": "2024", "license": "MIT OR Apache-2.0", "readme": "README.md",
            "keywords": ["redis"], "categories": ["database"],
            "metadata": { "docs": { "rs": { "all-features": true } } },
        })
    }

    #[test]
    fn what_a_manifest_must_say() {
        assert_eq!(metadata_offences(&package(), true), [""; 0]);
        let bad = [
            ("description", Value::Null),
            ("license", json!("MIT")),
            ("readme", json!(false)),
            ("keywords", json!([])),
            ("keywords", json!(["a", "b", "c", "d", "e", "f"])),
            ("keywords", json!(["two words"])),
            ("keywords", json!(["a-word-of-over-20-letters"])),
            ("categories", json!(["sockets"])),
            ("metadata", Value::Null),
        ];
        for (key, value) in bad {
            let mut package = package();
            package[key] = value.clone();
            assert_eq!(metadata_offences(&package, true).len(), 1, "{key} {value}");
        }
        let mut program = package();
        program["metadata"] = Value::Null;
        assert_eq!(metadata_offences(&program, false), [""; 0]);
    }

    #[test]
    fn files_of_tests_are_found_wherever_they_are() {
        let usual = ["CHANGELOG.md", "Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];
        let with = |more: &str| {
            let files = usual.iter().copied().chain([more]).map(PathBuf::from).collect();
            file_offences(&files)
        };
        assert_eq!(with("src/testing.rs"), [""; 0]);
        for bad in ["tests/engine.rs", "src/wire/tests.rs", "src/a/tests/b.rs", "proptest-regressions/x.txt"]
        {
            assert_eq!(with(bad), [format!("{bad} is for tests")]);
        }
        assert_eq!(file_offences(&BTreeSet::new()).len(), usual.len());
    }

    #[test]
    fn modules_that_are_declared_for_tests_alone() {
        let text = "mod one;\n\n#[cfg(test)]\nmod agree;\n\n#[cfg(test)]\nmod tests {\n}\n";
        let names = |file: &str| modules_of_tests(Path::new(file), text);
        assert_eq!(
            names("src/wire/mod.rs"),
            ["src/wire/agree.rs", "src/wire/agree/mod.rs"].map(PathBuf::from)
        );
        assert_eq!(names("src/wire.rs")[0], Path::new("src/wire/agree.rs"));
        assert_eq!(names("src/lib.rs")[0], Path::new("src/agree.rs"));
    }

    #[test]
    fn sizes_have_a_limit_or_none_is_known() {
        assert_eq!(size_offence("sio-streams-core", 1024), None);
        assert!(size_offence("sio-streams-core", 1 << 20).unwrap().contains("1024 KiB are more"));
        assert!(size_offence("sio-streams-new", 1).unwrap().contains("no limit"));
    }
}
