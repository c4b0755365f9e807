//! The command line as one archive.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::Command;

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::error::{Error, Result};
use crate::release::{outside, results};
use crate::workspace::Workspace;
use crate::{process, published, say};

const PACKAGE: &str = "sio-streams-cli";

const PROGRAM: &str = "sio-streams";

/// The files that go with the program, from its own directory.
const FILES: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// The largest size of the archive in MiB.
const LIMIT: u64 = 12;

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let crates = published::of_workspace(workspace)?;
    let one = crates.iter().find(|one| one.name == PACKAGE);
    let one = one.ok_or_else(|| Error::missing(format!("{PACKAGE} is not published"), "publish it"))?;
    let build = ["build", "--profile", "dist", "--locked", "-p", PACKAGE, "--target-dir", "target"];
    process::run(workspace.cargo().args(build))?;

    let file_name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let stem = format!("{PROGRAM}-{}-{}", one.version, host()?);
    let archive = results(workspace, "program")?.join(format!("{stem}.tar.gz"));
    let file = File::create(&archive).map_err(|e| Error::file(&archive, e))?;
    let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    let mut add = |from: std::path::PathBuf, name: &str| {
        tar.append_path_with_name(&from, format!("{stem}/{name}")).map_err(|e| Error::file(from, e))
    };
    add(workspace.path("target/dist").join(&file_name), &file_name)?;
    for file in FILES {
        let path = one.directory.join(file);
        // Some of them are links to the files of the repository.
        add(fs::canonicalize(&path).map_err(|e| Error::file(path, e))?, file)?;
    }
    let closed = tar.into_inner().and_then(GzEncoder::finish).and_then(|mut file| file.flush());
    closed.map_err(|e| Error::file(&archive, e))?;

    let size = fs::metadata(&archive).map_err(|e| Error::file(&archive, e))?.len();
    if size > LIMIT << 20 {
        let size = format!("  {} KiB are more than {LIMIT} MiB", size >> 10);
        return Err(Error::Offences { what: "the archive is too large", offences: vec![size] });
    }
    let directory = outside("program")?;
    let unpacked =
        File::open(&archive).and_then(|file| tar::Archive::new(GzDecoder::new(file)).unpack(&directory));
    unpacked.map_err(|e| Error::file(&archive, e))?;
    let directory = directory.join(&stem);
    let program = directory.join(&file_name);
    let version = process::read(Command::new(&program).arg("--version").current_dir(&directory))?;
    if version.trim() != format!("{PROGRAM} {}", one.version) {
        return Err(Error::unreadable("what the packed program says of its version", version));
    }
    process::run(Command::new(&program).arg("demo").current_dir(&directory))?;
    say(format_args!("{stem}.tar.gz: {} KiB", size.div_ceil(1024)));
    Ok(())
}

/// The platform that cargo builds for.
fn host() -> Result<String> {
    let answer = process::read(Command::new("rustc").arg("-vV"))?;
    let host = answer.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Error::unreadable("what `rustc -vV` prints", io::ErrorKind::NotFound))
}
