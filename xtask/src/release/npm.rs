//! The npm package of the adapter for Node.js, and the compiled one for this platform.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::release::{outside, results, write};
use crate::server::RedisServer;
use crate::workspace::Workspace;
use crate::{process, say, setup};

const DIRECTORY: &str = "adapter-node";

/// The largest sizes of the packages in KiB: with the sources, and compiled.
const LIMITS: [u64; 2] = [500, 6 * 1024];

/// A server with the adapter, which asks its cluster for sockets; there are none.
const SERVER: &str = r#"
const { Server } = require("socket.io");
const { createAdapter } = require("sio-streams");

const io = new Server(0, { adapter: createAdapter({ url: process.argv[2] }) });
io.of("/").adapter.on("ready", async () => {
  console.log(`sockets: ${(await io.fetchSockets()).length}`);
  await io.close();
  process.exit(0);
});
"#;

/// Stands in for cargo where nothing may be built.
const NO_CARGO: &str = "#!/bin/sh\necho 'error: nothing should have to be built here' >&2\nexit 1\n";

/// Packs both, and installs them as their users do: with the compiled package, where no Rust is
/// needed, and without it, where the module is built from the sources in the other.
pub(super) fn run(workspace: &Workspace) -> Result<()> {
    setup::node(workspace)?;
    check_versions(workspace)?;
    let packages = results(workspace, "npm")?;
    let target = workspace.path("target/release-check/npm-target");
    let sources = pack(workspace, &workspace.path(DIRECTORY), &packages, LIMITS[0])?;

    let platform = outside("platform")?;
    let mut build = workspace.command("node".as_ref());
    build.arg(workspace.path(DIRECTORY).join("scripts/platform.mjs")).arg(&platform);
    process::run(build.env("CARGO_TARGET_DIR", &target))?;
    let compiled = pack(workspace, &platform, &packages, LIMITS[1])?;

    let redis = RedisServer::start()?;
    let path = without_cargo()?;
    let with_compiled = install(workspace, "with-compiled", &[&sources, &compiled], &[("PATH", path)])?;
    serve(&with_compiled, &redis)?;
    say("the package works with the compiled module, without Rust");

    let target = target.display().to_string();
    let env = [("CARGO_TARGET_DIR", target), ("npm_config_omit", "optional".to_owned())];
    let from_sources = install(workspace, "from-sources", &[&sources], &env)?;
    serve(&from_sources, &redis)?;
    say("the package builds itself from its sources");
    Ok(())
}

/// The crate and the package are one release, and the package asks for compiled ones of the same.
fn check_versions(workspace: &Workspace) -> Result<()> {
    let read = |file: &str| -> Result<String> {
        let path = workspace.path(DIRECTORY).join(file);
        fs::read_to_string(&path).map_err(|e| Error::file(path, e))
    };
    let manifest: Value =
        toml::from_str(&read("Cargo.toml")?).map_err(|e| Error::unreadable("Cargo.toml", e))?;
    let package: Value =
        serde_json::from_str(&read("package.json")?).map_err(|e| Error::unreadable("package.json", e))?;
    let version = &manifest["package"]["version"];
    let name = package["name"].as_str().unwrap_or_default().to_owned();
    let compiled = package["optionalDependencies"].as_object().into_iter().flatten();
    let all = compiled.chain([(&name, &package["version"])]).filter(|(_, found)| *found != version);
    let tell = |(name, found)| format!("  {name} has the version {found}, and the crate {version}");
    let offences: Vec<String> = all.map(tell).collect();
    match offences.is_empty() {
        true => Ok(()),
        false => Err(Error::Offences { what: "the versions in adapter-node/package.json differ", offences }),
    }
}

/// Returns the packed file.
fn pack(workspace: &Workspace, from: &Path, to: &Path, limit: u64) -> Result<PathBuf> {
    let mut npm = workspace.command("npm".as_ref());
    npm.args(["pack", "--json", "--pack-destination"]).arg(to).current_dir(from);
    let answer = process::read(&mut npm)?;
    let unreadable = || Error::unreadable("what `npm pack --json` prints", &answer);
    // The output of the package's scripts comes before it.
    let list: Value =
        answer.find("[\n").and_then(|at| serde_json::from_str(&answer[at..]).ok()).ok_or_else(unreadable)?;
    let packed = &list[0];
    let (name, size) = packed["filename"].as_str().zip(packed["size"].as_u64()).ok_or_else(unreadable)?;
    let paths = packed["files"].as_array().ok_or_else(unreadable)?.iter();
    let files: Vec<&str> = paths.filter_map(|file| file["path"].as_str()).collect();
    say(format_args!("{name}: {} files, {} KiB", files.len(), size.div_ceil(1024)));
    let mut offences = file_offences(&files);
    if size > limit * 1024 {
        offences.push(format!("  {} KiB are more than the limit of {limit} KiB", size.div_ceil(1024)));
    }
    match offences.is_empty() {
        true => Ok(to.join(name)),
        false => Err(Error::Offences { what: "an npm package can't be published as it is", offences }),
    }
}

fn file_offences(files: &[&str]) -> Vec<String> {
    let needed = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "package.json"];
    let missing =
        needed.iter().filter(|name| !files.contains(name)).map(|name| format!("  {name} is missing"));
    let is_for_tests = |file: &&&str| {
        let mut parts = file.split('/');
        parts.any(|part| ["test", "tests", "tests.rs", "bench", "benches", "node_modules"].contains(&part))
    };
    let extra = files.iter().filter(is_for_tests).map(|file| format!("  {file} is for tests"));
    missing.chain(extra).collect()
}

/// A PATH on which a cargo that fails comes first.
fn without_cargo() -> Result<String> {
    let directory = outside("no-cargo")?;
    let cargo = directory.join("cargo");
    write(cargo.clone(), NO_CARGO)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).map_err(|e| Error::file(&cargo, e))?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory).chain(std::env::split_paths(&path));
    let joined = std::env::join_paths(all).map_err(|e| Error::unreadable("PATH", e))?;
    Ok(joined.to_string_lossy().into_owned())
}

/// Installs packed files in an empty directory, with the socket.io that the tests use.
fn install(workspace: &Workspace, part: &str, files: &[&PathBuf], env: &[(&str, String)]) -> Result<PathBuf> {
    let directory = outside(part)?;
    write(directory.join("package.json"), "{ \"private\": true }\n")?;
    write(directory.join("server.js"), SERVER)?;
    let mut npm = workspace.command("npm".as_ref());
    npm.args(["install", "--no-audit", "--no-fund", "--foreground-scripts", "--fetch-retries=5"]);
    npm.args(files).arg(format!("socket.io@{}", socket_io(workspace)?));
    process::run(npm.envs(env.iter().map(|(name, value)| (name, value))).current_dir(&directory))?;
    Ok(directory)
}

fn socket_io(workspace: &Workspace) -> Result<String> {
    let path = workspace.path("tests/interop/peers/package.json");
    let text = fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
    let package: Value = serde_json::from_str(&text).unwrap_or_default();
    let version = package["dependencies"]["socket.io"].as_str();
    version
        .map(str::to_owned)
        .ok_or_else(|| Error::unreadable(path.display().to_string(), "it has no socket.io"))
}

fn serve(directory: &Path, redis: &RedisServer) -> Result<()> {
    let output =
        process::read(Command::new("node").arg("server.js").arg(redis.url()).current_dir(directory))?;
    match output.trim() {
        "sockets: 0" => Ok(()),
        _ => Err(Error::unreadable("what a server with the packed adapter prints", output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much() {
        let usual = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "package.json"];
        assert_eq!(file_offences(&usual), [""; 0]);
        assert_eq!(file_offences(&usual[1..]), ["  README.md is missing"]);
        let with = |file: &str| file_offences(&[&usual[..], &[file]].concat());
        assert_eq!(with("rust/core/src/latest.rs"), [""; 0]);
        assert_eq!(with("rust/core/src/tests.rs").len(), 1);
        assert_eq!(with("test/matrix.test.js").len(), 1);
    }
}
