//! The documentation as docs.rs builds it: from the packages, with all features, and marks at what
//! needs one.

use std::fs;

use super::{minimal, pack};
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{bootstrap, process};

/// Items that need a feature, with its name as the page shows it.
const MARKED: [(&str, &str); 4] = [
    ("sio_streams_driver/admin_ui/index.html", "admin-ui"),
    ("sio_streams_driver/conformance/index.html", "conformance"),
    ("sio_streams_sim/fn.harmless_faults.html", "proptest"),
    ("sio_streams_redis_rs/struct.Builder.html", "tls"),
];

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let packed = pack::again(workspace)?;
    let root = minimal::workspace_of(&packed)?;
    super::same_versions(workspace, &root)?;
    let mut doc = workspace.cargo_outside();
    doc.args(["doc", "--workspace", "--all-features", "--no-deps", "--lib"]);
    // docs.rs has a nightly compiler. What it allows to others is allowed to this one rustdoc.
    bootstrap::let_rustdoc(&mut doc, "rustdoc".as_ref())?;
    process::run(doc.env("RUSTDOCFLAGS", "--cfg docsrs -D warnings").current_dir(&root))?;
    let target = workspace.path("target");
    let mut offences = Vec::new();
    for (page, feature) in MARKED {
        let path = target.join("doc").join(page);
        let text = fs::read_to_string(&path).map_err(|e| Error::file(path, e))?;
        if !text.contains(&format!("<strong>crate feature <code>{feature}</code></strong>")) {
            offences.push(format!("  {page} does not say that it needs the feature {feature}"));
        }
    }
    match offences.is_empty() {
        true => Ok(()),
        false => Err(Error::Offences { what: "marks are missing in the documentation", offences }),
    }
}
