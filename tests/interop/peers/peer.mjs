// One Node process = one real Socket.IO server with a real adapter, and real clients, under remote control.
//
// Started with one argument, a JSON object (see README.md). Reads one JSON request per line from stdin, {id, op, ...},
// and writes one reply per line to stdout, {id, ok: true, result} or {id, ok: false, error}; besides these, {event, ...}
// lines: "ready" at first, "uncaught" before it dies of an exception. Ends with its stdin.

import { createInterface } from "node:readline";
import { fromJson, toJson } from "./codec.mjs";
import { exit } from "./exit.mjs";
import { operations } from "./ops.mjs";
import { startServer } from "./server.mjs";

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function die(kind, error) {
  write({ event: "uncaught", kind, error: describe(error), stack: error?.stack ?? null });
  exit(1);
}

function describe(error) {
  return error instanceof Error ? error.message : String(error);
}

process.on("uncaughtException", (error) => die("exception", error));
process.on("unhandledRejection", (error) => die("rejection", error));

const config = fromJson(JSON.parse(process.argv[2] ?? "{}"));
const server = await startServer(config);
const ops = operations(server, config);

async function serve(line) {
  const { id, op, ...params } = JSON.parse(line);
  try {
    if (!Object.hasOwn(ops, op)) {
      throw new Error(`no such operation: ${op}`);
    }
    const result = await ops[op](fromJson(params));
    write({ id, ok: true, result: toJson(result ?? null) });
  } catch (error) {
    write({ id, ok: false, error: describe(error) });
  }
  if (op === "close") {
    exit(0);
  }
}

createInterface({ input: process.stdin })
  .on("line", serve)
  .on("close", () => process.exit(0));

write({ event: "ready", pid: process.pid, port: server.port, uids: server.uids, streams: server.streams });
