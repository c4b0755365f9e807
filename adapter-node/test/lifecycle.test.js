// The end of servers and processes, worker threads, a Redis that is away, JavaScript that has no time, and memory.
"use strict";

const assert = require("node:assert");
const { execFile } = require("node:child_process");
const { createServer } = require("node:http");
const { join } = require("node:path");
const { after, before, it } = require("node:test");
const { promisify } = require("node:util");
const { Worker } = require("node:worker_threads");
const { Server } = require("socket.io");
const { createAdapter } = require("../lib/index.js");
const { acquainted, startClient, startOurs, startRedis, until, withAll } = require("./support.js");

const FULL = process.env.SIO_STREAMS_FAULTS_FULL !== undefined;

let redis;
before(async () => (redis = await startRedis()));
after(() => redis.stop());

const script = (code) => promisify(execFile)(process.execPath, ["-e", code], { env: { ...process.env, URL_OF_REDIS: redis.url } });
const index = JSON.stringify(join(__dirname, "../lib/index.js"));
const server = `const { Server } = require("socket.io"); const { createAdapter } = require(${index});
const adapter = createAdapter({ url: process.env.URL_OF_REDIS }); const io = new Server(require("http").createServer(), { adapter });`;

it("a process ends by itself when its server is closed", async () => {
  await script(`${server} io.of("/").adapter.once("ready", () => io.close());`);
});

it("what a process has said before it exits arrives", async () => {
  await withAll(async (keep) => {
    const ours = keep(await startOurs({ url: redis.url, dialect: "streams-0.3" }));
    const client = keep(await startClient(ours));
    await script(`${server} io.of("/").adapter.once("ready", () => { io.emit("last words", 1); process.exit(0); });`);
    await client.wait("last words");
  });
});

it("each worker thread has a server of its own, and may be ended at any time", async () => {
  await withAll(async (keep) => {
    const ours = keep(await startOurs({ url: redis.url, dialect: "streams-0.2", streamName: "threads", heartbeatTimeout: 5_000 }));
    const code = `const { Server } = require("socket.io"); const { createAdapter } = require(${index});
      const options = { url: ${JSON.stringify(redis.url)}, dialect: "streams-0.2", streamName: "threads", heartbeatInterval: 100 };
      const io = new Server(require("http").createServer(), { adapter: createAdapter(options) });
      io.on("question", (answer) => answer("from a thread"));
      require("worker_threads").parentPort.on("message", () => io.close());`;
    const workers = [new Worker(code, { eval: true }), new Worker(code, { eval: true })];
    await acquainted([ours], [3]);
    assert.deepEqual(await ours.io.serverSideEmitWithAck("question"), ["from a thread", "from a thread"]);
    await workers[0].terminate();
    await acquainted([ours], [2]);
    workers[1].ref();
    workers[1].postMessage("close");
    await acquainted([ours], [1]);
    await workers[1].terminate();
  });
});

it("a server is closed while Redis is away, and another one can be made with the same function", async () => {
  const away = await startRedis();
  const createIo = createAdapter({ url: away.url });
  const first = new Server(createServer(), { adapter: createIo });
  assert.throws(() => new Server(createServer(), { adapter: createIo }), /has an adapter already/);
  await new Promise((resolve) => first.of("/").adapter.once("ready", resolve));
  first.emit("said", 1);
  away.pause();
  first.emit("said", 2);
  const closing = first.close();
  away.resume();
  await closing;
  const second = new Server(createServer(), { adapter: createIo });
  await new Promise((resolve) => second.of("/").adapter.once("ready", resolve));
  assert.equal(await second.of("/").adapter.serverCount(), 1);
  await second.close();
  await away.stop();
});

it("a namespace is closed and opened again", async () => {
  await withAll(async (keep) => {
    const http = createServer();
    const io = new Server(http, { adapter: createAdapter({ url: redis.url }), cleanupEmptyChildNamespaces: true });
    keep({ stop: () => io.close() });
    io.of(/^\/dynamic-\d+$/);
    await new Promise((resolve) => http.listen(0, resolve));
    for (let round = 0; round < 3; round++) {
      const client = await startClient({ port: http.address().port }, { nsp: "/dynamic-1" });
      io.of("/dynamic-1").emit("hello", round);
      await client.wait("hello");
      client.stop();
      await until("the namespace to be gone", () => !io._nsps.has("/dynamic-1"));
    }
  });
});

it("what a Redis that is away can't take in time is told", async () => {
  const away = await startRedis();
  const limits = { inFlight: 10, inFlightFor: 300 };
  const ours = await startOurs({ url: away.url, dialect: "streams-0.3", limits });
  const client = await startClient(ours);
  away.pause();
  for (let count = 0; count < 50; count++) {
    ours.io.emit("said", count);
  }
  const refused = () => ours.notices.filter(({ event, what }) => event === "refused" && what === "a broadcast");
  await until("all refusals", () => refused().length >= 30);
  // Some did not fit, and the time of the others was up.
  assert.ok(refused().some(({ reason }) => /limit of 10/.test(reason)), JSON.stringify(refused()));
  // This server's own clients have got everything.
  await client.wait("said", 50);
  away.resume();
  client.stop();
  await ours.stop();
  await away.stop();
});

it("nothing is lost while JavaScript has no time", async () => {
  await withAll(async (keep) => {
    const options = { url: redis.url, dialect: "streams-0.3", streamName: "slow", maxLen: 1_000_000 };
    const servers = [keep(await startOurs(options)), keep(await startOurs(options))];
    await acquainted(servers);
    const client = keep(await startClient(servers[1]));
    const text = "x".repeat(1_000);
    const count = 20_000;
    for (let at = 0; at < count; at++) {
      servers[0].io.emit("said", at, text);
      if (at % 1_000 === 0) {
        // Both servers stand still for a moment, while Rust has all that it needs.
        const until = Date.now() + 20;
        while (Date.now() < until);
        await new Promise(setImmediate);
      }
    }
    await until("all to arrive", () => client.received.length >= count);
    client.received.forEach(([, at], index) => at === index || assert.fail(`${at} comes as number ${index}`));
  });
});

it("memory stays as it is, with many messages, and sockets that come and go", { timeout: 1_800_000 }, async () => {
  await withAll(async (keep) => {
    const options = { url: redis.url, dialect: "streams-0.3", streamName: "leak", maxLen: 1_000, server: { connectionStateRecovery: {} } };
    const servers = [keep(await startOurs(options)), keep(await startOurs(options))];
    await acquainted(servers);
    const [messages, sockets] = FULL ? [1_000_000, 10_000] : [20_000, 200];
    const round = async (share) => {
      const watcher = await startClient(servers[1]);
      let heard = 0;
      watcher.socket.offAny().on("said", () => heard++);
      for (let said = 0; said < messages * share; ) {
        for (let some = 0; some < 500; some++, said++) {
          servers[0].io.emit("said", said, { some: ["small", "value"] });
        }
        await until("what was said", () => heard >= said);
      }
      watcher.stop();
      for (let at = 0; at < sockets * share; at += 20) {
        const clients = await Promise.all(Array.from({ length: 20 }, (_, index) => startClient(servers[index % 2])));
        servers[0].io.socketsJoin("room");
        await servers[0].io.timeout(1).emitWithAck("nobody answers").catch(() => {});
        await servers[1].io.fetchSockets();
        clients.forEach((client) => client.stop());
      }
      await until("nobody to be there", () => servers.every(({ io }) => io.of("/").sockets.size === 0));
      global.gc?.();
      return process.memoryUsage();
    };
    await round(0.5);
    const before = await round(0.1);
    const after = await round(1);
    const grown = (name) => (after[name] - before[name]) / 1e6;
    const bound = FULL ? 30 : 20;
    assert.ok(grown("heapUsed") < bound && grown("external") < bound, JSON.stringify({ before, after }));
    assert.ok(grown("rss") < 3 * bound, JSON.stringify({ before, after }));
  });
});
