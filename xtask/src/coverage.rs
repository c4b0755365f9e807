//! `cargo xtask fuzz --coverage`: the lines of `core` that the inputs of the fuzz targets reach.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{corpus, fuzz, process, say};

/// The files that are reported.
const SOURCES: &str = "core/src";

pub(crate) fn run(workspace: &Workspace, targets: &[&str]) -> Result<()> {
    let tools = LlvmTools::find()?;
    let (mut profiles, mut programs) = (Vec::new(), Vec::new());
    for target in targets {
        let mut command = fuzz::cargo_fuzz(workspace);
        command.arg("coverage").args(fuzz::SANITIZER).arg(target);
        let found = Some(fuzz::found(workspace, target)).filter(|directory| directory.exists());
        command.args(corpus::unpack(workspace, target)?).args(found);
        process::run(&mut command)?;
        profiles.push(workspace.path("fuzz/coverage").join(target).join("coverage.profdata"));
        let triple = &tools.triple;
        // cargo-fuzz builds it here, and not under `fuzz/`.
        programs.push(workspace.path(&format!("target/{triple}/coverage/{triple}/release/{target}")));
    }
    let merged = workspace.path("fuzz/coverage/all.profdata");
    let mut merge = Command::new(tools.program("llvm-profdata"));
    process::run(merge.args(["merge", "-sparse", "-o"]).arg(&merged).args(&profiles))?;

    let llvm_cov = |subcommand: &str, options: &[&str]| {
        let mut command = Command::new(tools.program("llvm-cov"));
        command.arg(subcommand).args(options).arg("-instr-profile").arg(&merged);
        command.args(programs.iter().flat_map(|program| ["-object".as_ref(), program.as_os_str()]));
        command.arg(workspace.path(SOURCES));
        command
    };
    process::run(&mut llvm_cov("report", &["-show-region-summary=false", "-show-branch-summary=false"]))?;
    let pages = workspace.path("fuzz/coverage/html");
    process::run(llvm_cov("show", &["-format=html"]).arg("-output-dir").arg(&pages))?;
    say(format_args!("line by line: {}", pages.join("index.html").display()));
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
