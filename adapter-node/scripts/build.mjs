// Builds the native module and puts it where lib/native.js looks for it. It needs Rust: https://rustup.rs
//
// SIO_STREAMS_NODE_PROFILE names another profile of cargo than `release`.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const profile = process.env.SIO_STREAMS_NODE_PROFILE ?? "release";

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
copyFileSync(built, join(root, "sio-streams.node.new"));
renameSync(join(root, "sio-streams.node.new"), join(root, "sio-streams.node"));
