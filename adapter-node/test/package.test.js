// The package that `npm pack` makes is installed in an empty folder, builds itself there, and runs.
"use strict";

const assert = require("node:assert");
const { execFile } = require("node:child_process");
const { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { it } = require("node:test");
const { promisify } = require("node:util");
const { startRedis, withAll } = require("./support.js");

const ROOT = join(__dirname, "..");

async function run(program, args, options) {
  try {
    return (await promisify(execFile)(program, args, options)).stdout;
  } catch (error) {
    throw new Error(`${program} ${args.join(" ")}: ${error.message}\n${error.stdout}`);
  }
}

it("a package builds itself in an empty folder, and its server runs", async () => {
  await withAll(async (keep) => {
    const directory = mkdtempSync(join(tmpdir(), "sio-streams-node-"));
    keep({ stop: () => rmSync(directory, { recursive: true, force: true }) });
    const [packed, application] = ["packed", "application"].map((name) => join(directory, name));
    [packed, application].forEach((path) => mkdirSync(path));
    await run("npm", ["pack", "--pack-destination", packed], { cwd: ROOT });
    // The files that were gathered for the package are gone again.
    assert.deepEqual(["rust", "LICENSE-MIT", "LICENSE-APACHE"].filter((name) => existsSync(join(ROOT, name))), []);

    writeFileSync(join(application, "package.json"), JSON.stringify({ name: "application", private: true }));
    const [tarball] = readdirSync(packed);
    const env = {
      ...process.env,
      NODE_PATH: "",
      // Other crates that the repository's own build has compiled need not be compiled again.
      CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR ?? join(ROOT, "../target"),
      SIO_STREAMS_NODE_PROFILE: process.env.SIO_STREAMS_NODE_PROFILE ?? "dev",
    };
    const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=5", join(packed, tarball), "socket.io@4"];
    await run("npm", install, { cwd: application, env });
    const installed = join(application, "node_modules/sio-streams");
    assert.ok(existsSync(join(installed, "sio-streams.node")), "npm has not run the script");
    assert.deepEqual(["LICENSE-APACHE", "LICENSE-MIT", "README.md", "index.d.ts"].filter((name) => !existsSync(join(installed, name))), []);

    const redis = keep(await startRedis());
    const code = `const { Server } = require("socket.io"); const { createAdapter } = require("sio-streams");
      const io = new Server(require("http").createServer(), { adapter: createAdapter({ url: ${JSON.stringify(redis.url)} }) });
      io.of("/").adapter.once("ready", async () => { console.log(await io.of("/").adapter.serverCount()); io.close(); });`;
    assert.equal(await run(process.execPath, ["-e", code], { cwd: application, env }), "1\n");

    // Without its native module it says what to do.
    rmSync(join(installed, "sio-streams.node"));
    await assert.rejects(run(process.execPath, ["-e", code], { cwd: application, env }), /build it with: node .*build\.mjs/);
  });
});
