// The native module, which scripts/build.mjs has built.
"use strict";

const path = require("node:path");

const root = path.join(__dirname, "..");
const file = process.env.SIO_STREAMS_NODE_BINARY ?? path.join(root, "sio-streams.node");

try {
  module.exports = require(file);
} catch (error) {
  // npm runs the script only if it is allowed to.
  const build = `node ${path.join(root, "scripts", "build.mjs")}`;
  throw new Error(`the native module ${file} can't be loaded; build it with: ${build} (it needs Rust, https://rustup.rs)`, { cause: error });
}
