//! Valgrind, which counts instructions for `cargo xtask bench`.

use crate::error::{Error, Result};
use crate::process;
use crate::tools::Package;

const PACKAGE: Package = Package {
    what: "valgrind",
    apt: "valgrind",
    brew: "valgrind",
    otherwise: "install Valgrind 3.19 or later, and put it on the PATH",
};

pub(crate) fn ensure() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    PACKAGE.install()?;
    match is_there() {
        true => Ok(()),
        false => Err(Error::missing("valgrind was installed, but can't be run", PACKAGE.remedy())),
    }
}

fn is_there() -> bool {
    process::succeeds("valgrind", &["--version"])
}
