// One server of a benchmark. Its clients are stand-ins: what would be written to a connection is counted.
//
// Started with one argument: {kind: "ours" | "official", url}. Reads one JSON job per line, writes one JSON reply per line.
"use strict";

const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { Server } = require("socket.io");

const { kind, url } = JSON.parse(process.argv[2]);
const options = { maxLen: 200_000 };
const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const now = () => Number(process.hrtime.bigint() / 1000n);
const turn = () => new Promise(setImmediate);

let onFrame = () => {};

async function start() {
  let adapter;
  let settled;
  if (kind === "ours") {
    adapter = require("../lib/index.js").createAdapter({ url, ...options });
  } else {
    const client = require("redis").createClient({ url });
    await client.connect();
    adapter = require("streams-0.3").createAdapter(client, options);
    settled = () => client.ping();
  }
  const io = new Server(createServer(), { adapter });
  // A server has clients, so that what comes is encoded for them.
  const nsp = io.of("/");
  nsp.sockets.set("stand-in", { id: "stand-in", client: { writeToEngine: ([frame]) => onFrame(frame) } });
  nsp.adapter.addAll("stand-in", new Set(["stand-in"]));
  return { io, settled: settled ?? (() => nsp.adapter.serverCount()) };
}

start().then(({ io, settled }) => {
  // In the way of an application under load: many messages in each turn, as far as Redis can follow.
  async function send({ count, text }) {
    const open = [];
    for (let sent = 0; sent < count; sent += 500) {
      for (let at = 0; at < 500; at++) {
        io.emit("m", now(), text);
      }
      open.push(settled());
      if (open.length >= 4) {
        await open.shift();
      }
      await turn();
    }
    await Promise.all(open);
    return {};
  }

  async function pace({ count, millis, text }) {
    for (let sent = 0; sent < count; sent++) {
      io.emit("m", now(), text);
      await new Promise((resolve) => setTimeout(resolve, millis));
    }
    return {};
  }

  function receive({ count, timed }) {
    const delays = [];
    let left = count;
    let began;
    return new Promise((resolve) => {
      onFrame = (frame) => {
        began ??= now();
        if (timed) {
          delays.push(now() - JSON.parse(frame.slice(1))[1]);
        }
        if (--left === 0) {
          resolve({ micros: now() - began, delays });
        }
      };
      write({ listening: true });
    });
  }

  function tell() {
    const { user, system } = process.cpuUsage();
    return { cpu: user + system, rss: process.resourceUsage().maxRSS / 1024 };
  }

  const hello = () => {
    io.emit("m", 0, "hello");
    return {};
  };
  const jobs = { send, pace, receive, tell, hello, count: async () => ({ servers: await io.of("/").adapter.serverCount() }) };
  createInterface({ input: process.stdin })
    .on("line", async (line) => {
      const { job, ...params } = JSON.parse(line);
      write(await jobs[job](params));
    })
    .on("close", () => process.exit(0));
  write({ ready: true });
});
