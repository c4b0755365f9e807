// Servers, clients and Redis for the tests.
"use strict";

const { spawn } = require("node:child_process");
const { mkdtempSync, rmSync } = require("node:fs");
const { createServer } = require("node:http");
const net = require("node:net");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { createInterface } = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { createAdapter } = require("../lib/index.js");

const PEERS = join(__dirname, "../../tests/interop/peers");

// The time after which a condition counts as never met.
const BOUND_MS = 120_000;

async function until(what, condition) {
  const deadline = Date.now() + BOUND_MS;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > deadline) {
      throw new Error(`timed out: ${typeof what === "function" ? what() : what}`);
    }
    await sleep(5);
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// A Redis server of its own.
async function startRedis(...args) {
  const directory = mkdtempSync(join(tmpdir(), "sio-streams-node-"));
  const port = await freePort();
  const program = process.env.SIO_STREAMS_REDIS_SERVER ?? "redis-server";
  const options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", directory, ...args].map(String);
  const child = spawn(program, options, { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`${program} can't be started: ${error.message}`)));
    child.once("exit", (code) => reject(new Error(`${program} has ended with ${code}`)));
    child.stdout.on("data", (text) => /ready to accept connections/i.test(text) && resolve());
  });
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    pause: () => child.kill("SIGSTOP"),
    resume: () => child.kill("SIGCONT"),
    stop: () =>
      new Promise((resolve) => {
        child.once("exit", () => {
          rmSync(directory, { recursive: true, force: true });
          resolve();
        });
        child.kill("SIGKILL");
      }),
  };
}

// Servers of the kinds `tls`, `cluster` and `sentinel`: see tests/kit/examples/serve.rs. They end with this process.
async function serve(kind) {
  const child = spawn(process.env.SIO_STREAMS_NODE_SERVE, [kind], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    const said = done ? { error: `it has ended with ${await ended}` } : JSON.parse(value);
    if (said.error !== undefined) {
      throw new Error(`servers of the kind ${kind}: ${said.error}`);
    }
    return said;
  };
  return {
    ...(await next()),
    failOver() {
      child.stdin.write("fail over\n");
      return next();
    },
    stop() {
      child.stdin.end();
      return ended;
    },
  };
}

// The events of an adapter, beside `ready`.
const EVENTS = ["gap", "rewound", "skipped", "repeated", "name_taken", "node_up", "node_down", "link", "refused", "failed"];

const QUICK = { heartbeatInterval: 100, heartbeatTimeout: 5_000 };

// One of this package's servers. `notices` has what its adapter has told.
async function startOurs({ url, dialect, namespaces = ["/"], server, ...options }) {
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter({ url, dialect, ...QUICK, ...options }), ...server });
  const notices = [];
  const adapters = namespaces.map((nsp) => io.of(nsp).adapter);
  for (const event of EVENTS) {
    adapters[0].on(event, (detail) => notices.push({ event, ...detail }));
  }
  await Promise.all(adapters.map((adapter) => new Promise((resolve) => adapter.once("ready", resolve))));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { name: `ours ${dialect}`, io, notices, port: http.address().port, isOurs: true, stop: () => io.close() };
}

// One with an official adapter: 0.2, 0.3, classic or sharded.
async function startOfficial({ url, generation, namespaces, server, recovery, adapter = {} }) {
  const { startServer } = await import(`${PEERS}/server.mjs`);
  const heartbeats = generation === "0.2" ? QUICK : {};
  const config = { generation, url, namespaces, server, recovery, adapter: { ...heartbeats, ...adapter } };
  const { io, port, client, control } = await startServer(config);
  const stop = async () => {
    await io.close();
    // Its adapter reads on, on a connection that it does not give away.
    await client.quit().catch(() => {});
    control.disconnect();
  };
  return { name: `official ${generation}`, io, notices: [], port, isOurs: false, stop };
}

// The servers that one can ask know each other.
async function acquainted(servers, counts = servers.map(() => servers.length)) {
  const known = () => Promise.all(servers.map(({ io }) => io.of("/").adapter.serverCount()));
  let last;
  await until(
    () => `the servers know ${last} and not ${counts} servers`,
    async () => (last = await known()).every((count, at) => count === counts[at]),
  );
}

// A client that keeps what it gets.
async function startClient(server, { nsp = "/", ...options } = {}) {
  const socket = connect(`http://127.0.0.1:${server.port}${nsp}`, { transports: ["websocket"], forceNew: true, ...options });
  const received = [];
  socket.onAny((event, ...args) => {
    if (typeof args.at(-1) !== "function") {
      received.push([event, ...args]);
    }
  });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  const got = (event) => received.filter(([name]) => name === event).map(([, ...args]) => args);
  const wait = async (event, count = 1) => {
    await until(() => `${count} × ${event} among ${JSON.stringify(received)}`, () => got(event).length >= count);
    return got(event);
  };
  return { socket, received, got, wait, stop: () => socket.disconnect() };
}

// Runs the action, and stops what it has started, the last first.
async function withAll(action) {
  const started = [];
  const keep = (thing) => {
    started.push(thing);
    return thing;
  };
  try {
    return await action(keep);
  } finally {
    for (const thing of started.reverse()) {
      await thing.stop();
    }
  }
}

module.exports = { EVENTS, PEERS, until, sleep, freePort, startRedis, serve, startOurs, startOfficial, acquainted, startClient, withAll };
