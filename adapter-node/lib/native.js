// The native module: one that scripts/build.mjs has built here, or that of the package for this platform.
"use strict";

const { existsSync } = require("node:fs");
const path = require("node:path");
const { platformPackage } = require("./platform.js");

const built = path.join(__dirname, "..", "sio-streams.node");
const file = process.env.SIO_STREAMS_NODE_BINARY ?? (existsSync(built) ? built : platformPackage());

try {
  module.exports = require(file);
} catch (error) {
  const hint = `the native module ${file} can't be loaded; build it with: npm rebuild sio-streams (it needs Rust, https://rustup.rs)`;
  throw new Error(hint, { cause: error });
}
