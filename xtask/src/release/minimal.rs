//! The oldest versions of dependencies that the manifests of the packed crates allow.

use std::path::PathBuf;

use super::pack::{self, Packed};
use crate::error::Result;
use crate::release::write;
use crate::workspace::Workspace;
use crate::{fuzz, process};

/// Compiles the packed crates with the oldest versions of their own dependencies. What these depend
/// on is not held down: it is theirs to say what they need.
pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let packed = pack::again(workspace)?;
    let root = workspace_of(&packed)?;
    fuzz::ensure_nightly("the choice of minimal versions")?;
    let mut lock = workspace.cargo_of("nightly");
    process::run(lock.args(["generate-lockfile", "-Z", "direct-minimal-versions"]).current_dir(&root))?;
    let mut check = workspace.cargo_outside();
    check.args(["check", "--locked", "--workspace", "--all-features", "--lib", "--bins", "--examples"]);
    process::run(check.current_dir(&root))
}

/// Makes one workspace of the unpacked crates.
pub(super) fn workspace_of(packed: &[Packed]) -> Result<PathBuf> {
    let root = super::outside_root().join("crates");
    let members: Vec<String> = packed.iter().map(|one| format!("{:?}", one.origin.stem())).collect();
    let members = members.join(", ");
    let patches = pack::patches(packed);
    write(
        root.join("Cargo.toml"),
        &format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n{patches}"),
    )?;
    Ok(root)
}
