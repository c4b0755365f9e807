// Builds the native module and puts it where lib/native.js looks for it. It needs Rust: https://rustup.rs
//
// SIO_STREAMS_NODE_PROFILE names another profile of cargo than `release`, and SIO_STREAMS_NODE_OUTPUT another file.
// With `--unless-compiled` nothing is built if the package for this platform has a module that can be loaded.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const profile = process.env.SIO_STREAMS_NODE_PROFILE ?? "release";

if (process.argv.includes("--unless-compiled") && isCompiled()) {
  process.exit(0);
}

// A package from the registry brings all crates along; in the repository they are beside this directory.
const packed = join(root, "rust");
const isPacked = existsSync(packed);
const manifest = join(isPacked ? join(packed, "adapter-node") : root, "Cargo.toml");
const target = process.env.CARGO_TARGET_DIR ?? join(isPacked ? packed : join(root, ".."), "target");

const args = ["build", "--locked", "--manifest-path", manifest, "--target-dir", target, "--profile", profile];
const { status, error } = spawnSync("cargo", args, { stdio: "inherit" });
if (error !== undefined) {
  console.error(`cargo can't be run (${error.message}); the adapter is built with Rust: https://rustup.rs`);
}
if (status !== 0) {
  process.exit(1);
}

const library = { darwin: "libsio_streams_node.dylib", win32: "sio_streams_node.dll" }[process.platform] ?? "libsio_streams_node.so";
const built = join(target, profile === "dev" ? "debug" : profile, library);
// A process that runs with the former module keeps it.
const output = process.env.SIO_STREAMS_NODE_OUTPUT ?? join(root, "sio-streams.node");
copyFileSync(built, `${output}.new`);
renameSync(`${output}.new`, output);

function isCompiled() {
  const require = createRequire(import.meta.url);
  const name = require("../lib/platform.js").platformPackage();
  try {
    require(name);
    return true;
  } catch (error) {
    console.log(`${name} can't be used (${error.message.split("\n")[0]}), so that the module is built here`);
    return false;
  }
}
