//! `cargo xtask fuzz --coverage`: which lines of `core` the inputs of the fuzz targets reach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{fuzz, process, say};

/// For these the lines that no input reaches are listed.
const LISTED: [&str; 2] = ["core/src/wire/", "core/src/engine/"];

const SHOWN: &str = "core/src/";

/// What is known of a file: how often each of its lines was reached.
type Lines = BTreeMap<u32, u64>;

pub(crate) fn run(workspace: &Workspace, targets: &[&str]) -> Result<()> {
    let tools = LlvmTools::find()?;
    let (mut profiles, mut programs) = (Vec::new(), Vec::new());
    for target in targets {
        let mut command = fuzz::cargo_fuzz(workspace);
        command.arg("coverage").args(fuzz::SANITIZER).arg(target);
        let inputs = [workspace.path(&fuzz::corpus(target)), fuzz::found(workspace, target)];
        command.args(inputs.iter().filter(|directory| directory.exists()));
        process::run(&mut command)?;
        profiles.push(workspace.path("fuzz/coverage").join(target).join("coverage.profdata"));
        let triple = &tools.triple;
        // cargo-fuzz builds it here, and not under `fuzz/`.
        programs.push(workspace.path(&format!("target/{triple}/coverage/{triple}/release/{target}")));
    }
    let merged = workspace.path("fuzz/coverage/all.profdata");
    let mut merge = Command::new(tools.program("llvm-profdata"));
    process::run(merge.args(["merge", "-sparse", "-o"]).arg(&merged).args(&profiles))?;

    let mut export = Command::new(tools.program("llvm-cov"));
    export.args(["export", "-format=lcov", "-instr-profile"]).arg(&merged);
    export.args(programs.iter().flat_map(|program| ["-object".as_ref(), program.as_os_str()]));
    let report = process::read(&mut export)?;
    say(table(&parse(&report, &workspace.path(""))));
    Ok(())
}

/// The LLVM tools that belong to the nightly compiler; others may not read its profiles.
struct LlvmTools {
    triple: String,
    bin: PathBuf,
}

impl LlvmTools {
    fn find() -> Result<Self> {
        let rustc = |args: &[&str]| {
            process::read(Command::new("rustup").args(["run", "nightly", "rustc"]).args(args))
        };
        let version = rustc(&["-vV"])?;
        let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
        let triple =
            triple.ok_or_else(|| Error::unreadable("what `rustc -vV` prints", "no host"))?.to_owned();
        let sysroot = rustc(&["--print", "sysroot"])?;
        let bin = Path::new(sysroot.trim()).join("lib/rustlib").join(&triple).join("bin");
        let tools = LlvmTools { triple, bin };
        if !tools.program("llvm-cov").exists() {
            let install = ["component", "add", "--toolchain", "nightly", "llvm-tools"];
            process::run(Command::new("rustup").args(install)).map_err(|error| {
                Error::missing(
                    format!(
                        "llvm-cov of the nightly toolchain was not found, and could not be installed: {error}"
                    ),
                    "rustup component add --toolchain nightly llvm-tools",
                )
            })?;
        }
        Ok(tools)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Reads lcov's format: `SF:<file>`, then `DA:<line>,<count>` for each line. Files are named from the root of the workspace.
fn parse(report: &str, root: &Path) -> BTreeMap<String, Lines> {
    let mut files = BTreeMap::<String, Lines>::new();
    let mut file = None;
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let relative = Path::new(path).strip_prefix(root).ok().map(|path| path.display().to_string());
            file = relative.filter(|path| path.starts_with(SHOWN));
        } else if let (Some(file), Some(data)) = (&file, line.strip_prefix("DA:")) {
            let mut numbers = data.split(',').map(str::parse::<u64>);
            if let (Some(Ok(number)), Some(Ok(count))) = (numbers.next(), numbers.next()) {
                let lines = files.entry(file.clone()).or_default();
                *lines.entry(u32::try_from(number).unwrap_or(u32::MAX)).or_default() += count;
            }
        }
    }
    files
}

fn table(files: &BTreeMap<String, Lines>) -> String {
    let mut rows = vec!["lines reached".to_owned()];
    let mut directories = BTreeMap::<&str, (usize, usize)>::new();
    for (file, lines) in files {
        let (reached, all) = (lines.values().filter(|count| **count > 0).count(), lines.len());
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let sum = directories.entry(directory).or_default();
        *sum = (sum.0 + reached, sum.1 + all);
        rows.push(row(file, reached, all));
        if LISTED.iter().any(|listed| file.starts_with(listed)) && reached < all {
            rows.push(format!("  never: {}", ranges(lines)));
        }
    }
    rows.extend(directories.into_iter().map(|(directory, (reached, all))| row(directory, reached, all)));
    rows.join("\n")
}

fn row(name: &str, reached: usize, all: usize) -> String {
    let percent = 100.0 * reached as f64 / all.max(1) as f64;
    format!("{name:<40}{reached:>6} of {all:>6} {percent:>6.1} %")
}

/// The lines that were never reached: `3, 7-9`.
fn ranges(lines: &Lines) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (&line, _) in lines.iter().filter(|(_, count)| **count == 0) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => ranges.push((line, line)),
        }
    }
    let text = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "SF:/w/core/src/wire/json.rs\nDA:1,5\nDA:2,0\nDA:3,0\nDA:5,0\nend_of_record\n\
                          SF:/w/core/src/id.rs\nDA:1,1\nend_of_record\nSF:/elsewhere/a.rs\nDA:1,1\nend_of_record\n";

    #[test]
    fn lines_never_reached_are_listed() {
        let files = parse(REPORT, Path::new("/w"));
        assert_eq!(files.keys().collect::<Vec<_>>(), ["core/src/id.rs", "core/src/wire/json.rs"]);
        let table = table(&files);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "core/src/wire/json.rs                        1 of      4   25.0 %");
        assert_eq!(lines[3], "  never: 2-3, 5");
        assert_eq!(lines[5], "core/src/wire                                1 of      4   25.0 %");
    }
}
