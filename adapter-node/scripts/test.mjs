// Builds the native module, and runs the tests with the pinned packages of tests/interop/peers. Arguments are those of
// node's test runner.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const packages = join(root, "../tests/interop/peers/node_modules");
if (!existsSync(packages)) {
  console.error(`${packages} is missing; install it with: cargo xtask setup`);
  process.exit(1);
}

function run(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
  if (error !== undefined) {
    console.error(`${program} can't be run: ${error.message}`);
  }
  if (status !== 0) {
    process.exit(status ?? 1);
  }
}

run(process.execPath, ["scripts/build.mjs"], { SIO_STREAMS_NODE_PROFILE: process.env.SIO_STREAMS_NODE_PROFILE ?? "dev" });
// A program of Rust's tests starts clusters, sentinels and servers with TLS for those here.
const target = process.env.CARGO_TARGET_DIR ?? join(root, "../target");
run("cargo", ["build", "--locked", "--package", "sio-streams-testkit", "--example", "serve", "--manifest-path", "../Cargo.toml", "--target-dir", target]);
const SIO_STREAMS_NODE_SERVE = join(target, "debug/examples/serve");
// The official adapters read on after they are closed, so that nothing but force ends the process.
const given = process.argv.slice(2);
const isFile = (arg) => arg.endsWith(".test.js");
const files = given.some(isFile) ? [] : readdirSync(join(root, "test")).filter(isFile).map((name) => join("test", name));
run(process.execPath, ["--expose-gc", "--test", "--test-force-exit", ...given, ...files], { NODE_PATH: packages, SIO_STREAMS_NODE_SERVE });
