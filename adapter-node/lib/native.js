// The native module, which scripts/build.mjs has built.
"use strict";

const path = require("node:path");

const file = process.env.SIO_STREAMS_NODE_BINARY ?? path.join(__dirname, "..", "sio-streams.node");

try {
  module.exports = require(file);
} catch (error) {
  const hint = `the native module ${file} can't be loaded; build it with: npm run build (it needs Rust, https://rustup.rs)`;
  throw new Error(hint, { cause: error });
}
