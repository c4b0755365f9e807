// The types: TypeScript's compiler takes what an application writes, and refuses what is wrong.
"use strict";

const assert = require("node:assert");
const { execFile } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { it } = require("node:test");
const { optionNames } = require("../lib/options.js");
const { EVENTS, PEERS } = require("./support.js");

const types = readFileSync(join(__dirname, "../index.d.ts"), "utf8");

// The names of the members of an interface.
function members(name) {
  const [, body] = types.match(new RegExp(`export interface ${name} \\{\\n(.*?)\\n\\}`, "s"));
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member).sort();
}

it("every option and event, and nothing else, is what the compiler expects", async () => {
  const compiler = join(PEERS, "node_modules/typescript/bin/tsc");
  const { code, said } = await new Promise((resolve) =>
    execFile(process.execPath, [compiler, "-p", join(__dirname, "types")], (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, said: stdout + stderr }),
    ),
  );
  assert.equal(code, 0, said);
});

it("the types have the options that the package reads", () => assert.deepEqual(members("Options"), optionNames().sort()));

it("the types have the events that the adapter has", () => assert.deepEqual(members("Notices"), ["ready", ...EVENTS].sort()));
