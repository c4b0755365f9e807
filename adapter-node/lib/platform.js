// The package with the compiled module for this platform.
"use strict";

// On Linux, a module is linked with one C library.
function libc() {
  return process.report.getReport().header.glibcVersionRuntime === undefined ? "-musl" : "-gnu";
}

function platformPackage() {
  const suffix = { linux: libc, win32: () => "-msvc" }[process.platform]?.() ?? "";
  return `sio-streams-${process.platform}-${process.arch}${suffix}`;
}

module.exports = { libc, platformPackage };
