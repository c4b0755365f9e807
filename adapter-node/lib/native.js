// The native module: one that scripts/build.mjs has built here, or that of the package for this platform.
"use strict";

const { existsSync } = require("node:fs");
const path = require("node:path");
const { platformPackage } = require("./platform.js");

const root = path.join(__dirname, "..");
const built = path.join(root, "sio-streams.node");
const file = process.env.SIO_STREAMS_NODE_BINARY ?? (existsSync(built) ? built : platformPackage());

try {
  module.exports = require(file);
} catch (error) {
  // npm runs the script only if it is allowed to.
  const build = `node ${path.join(root, "scripts", "build.mjs")}`;
  throw new Error(`the native module ${file} can't be loaded; build it with: ${build} (it needs Rust, https://rustup.rs)`, { cause: error });
}
