// Compares this adapter with the official one of the streams dialect 0.3, side by side on one Redis: medians of five
// rounds, one after the other in turn.
//
//   NODE_PATH=../tests/interop/peers/node_modules node bench/run.mjs [rounds] [messages]

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const { startRedis, until } = require("../test/support.js");
const rounds = Number(process.argv[2] ?? 5);
const count = Number(process.argv[3] ?? 50_000);
const IDLE = 200;

class Worker {
  #lines = [];
  #waiting = [];

  constructor(kind, url) {
    const worker = new URL("worker.js", import.meta.url).pathname;
    this.child = spawn(process.execPath, [worker, JSON.stringify({ kind, url })], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const waits = this.#waiting.shift();
      waits === undefined ? this.#lines.push(line) : waits(line);
    });
  }

  async line() {
    return JSON.parse(this.#lines.shift() ?? (await new Promise((resolve) => this.#waiting.push(resolve))));
  }

  say(job) {
    this.child.stdin.write(`${JSON.stringify(job)}\n`);
  }

  ask(job) {
    this.say(job);
    return this.line();
  }
}

async function round(kind, text) {
  const redis = await startRedis();
  const [sender, receiver] = [new Worker(kind, redis.url), new Worker(kind, redis.url)];
  await Promise.all([sender.line(), receiver.line()]);
  await until("both to be there", async () => (await sender.ask({ job: "count" })).servers === 2);
  const run = async (total, sending, timed) => {
    receiver.say({ job: "receive", count: total, timed });
    await receiver.line();
    const before = await sender.ask({ job: "tell" });
    sender.say(sending);
    const result = await receiver.line();
    await sender.line();
    return { ...result, sender: (await sender.ask({ job: "tell" })).cpu - before.cpu };
  };
  // The official reader finds its place with the first entry.
  let isHeard = false;
  receiver.say({ job: "receive", count: 1 });
  await receiver.line();
  const heard = receiver.line().then(() => (isHeard = true));
  await until("the first message", async () => isHeard || (await sender.ask({ job: "hello" }), isHeard));
  await heard;
  const idle = await run(IDLE, { job: "pace", count: IDLE, millis: 5, text }, true);
  await run(10_000, { job: "send", count: 10_000, text });
  const before = await receiver.ask({ job: "tell" });
  const load = await run(count, { job: "send", count, text });
  const after = await receiver.ask({ job: "tell" });
  const senderAfter = await sender.ask({ job: "tell" });
  sender.child.kill();
  receiver.child.kill();
  await redis.stop();
  idle.delays.sort((a, b) => a - b);
  return {
    rate: (count / load.micros) * 1e6,
    sender: load.sender / count,
    receiver: (after.cpu - before.cpu) / count,
    "sender MiB": senderAfter.rss,
    "receiver MiB": after.rss,
    "idle p50": idle.delays[IDLE >> 1],
    "idle p99": idle.delays[Math.floor(IDLE * 0.99)],
  };
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const payloads = { "small (100 characters)": "x".repeat(100), "1 KiB": "x".repeat(1024) };
for (const [name, text] of Object.entries(payloads)) {
  const results = { official: [], ours: [] };
  for (let at = 0; at < rounds; at++) {
    for (const kind of ["official", "ours"]) {
      results[kind].push(await round(kind, text));
    }
  }
  console.log(`\n${name}: ${count} messages, medians of ${rounds}\n`);
  console.log("| | streams 0.3.1 | this adapter | ratio |\n|---|---:|---:|---:|");
  const labels = { rate: "messages/s", sender: "sender, µs CPU/message", receiver: "receiver, µs CPU/message" };
  for (const figure of Object.keys(results.ours[0])) {
    const [official, ours] = ["official", "ours"].map((kind) => median(results[kind].map((it) => it[figure])));
    const shown = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
    console.log(`| ${labels[figure] ?? figure} | ${shown(official)} | ${shown(ours)} | ${(ours / official).toFixed(2)} |`);
  }
}
process.exit(0);
