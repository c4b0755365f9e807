// One Node process with a real adapter, which says or hears as many broadcasts as it is told, and what that took.
//
// Started with one argument, a JSON object: {generation, client, url}. Reads one JSON job per line from stdin and writes one reply per line to
// stdout, as the workers of sio-streams-bench do: see bench/src/peers/job.rs.
//
// What would go on to clients ends in the base class of all adapters, whose broadcast() is replaced here: only forwarding is measured.

import { createInterface } from "node:readline";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { Adapter } from "socket.io-adapter";
import { startServer } from "./server.mjs";

// Messages between two looks at how far Redis is, and how many such looks may be open.
const CHUNK = 500;
const OPEN = 4;

let heard = () => {};
Adapter.prototype.broadcast = (packet) => heard(packet);

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const now = () => Number(process.hrtime.bigint() / 1000n);

// What the process has used since it was started, in microseconds and bytes.
function tell() {
  const { user, system } = process.cpuUsage();
  return { cpu: user + system, rss: process.resourceUsage().maxRSS * 1024 };
}

// payload: {binary, size}. The same bytes for everyone.
function payload({ binary, size }) {
  return binary ? Buffer.alloc(size, 0x78) : "x".repeat(size);
}

const config = JSON.parse(process.argv[2]);
const { io, client } = await startServer({ ...config, adapter: config.adapter ?? {} });

async function send({ count, payload: what }) {
  const data = payload(what);
  const open = [];
  for (let sent = 0; sent < count; sent += CHUNK) {
    const size = Math.min(CHUNK, count - sent);
    for (let at = 0; at < size; at++) {
      io.emit("m", 0, data);
    }
    open.push(client.ping());
    if (open.length >= OPEN) {
      await open.shift();
    }
    await turn();
  }
  await Promise.all(open);
  return {};
}

// Timers count in milliseconds. What has become due meanwhile goes at once.
async function due(time) {
  while (now() < time) {
    await sleep(Math.ceil((time - now()) / 1000));
  }
}

// Each message bears the time just before it goes.
async function pace({ count, rate, payload: what }) {
  const data = payload(what);
  const began = now();
  for (let sent = 0; sent < count; sent++) {
    await due(began + (sent * 1e6) / rate);
    io.emit("m", now(), data);
  }
  await client.ping();
  return {};
}

// Replies at once that it listens; then, when all are there, how long that took.
function receive({ count, timed }) {
  const delays = [];
  let left = count;
  let began = 0;
  return new Promise((resolve) => {
    heard = (packet) => {
      began ||= now();
      if (timed) {
        delays.push(now() - packet.data[1]);
      }
      if (--left === 0) {
        resolve({ micros: now() - began, delays });
      }
    };
    write({ listening: true });
  });
}

const jobs = { send, pace, receive, tell };

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const { job, ...params } = JSON.parse(line);
    write(await jobs[job](params));
    heard = () => {};
  })
  .on("close", () => process.exit(0));

write({ ready: true });
