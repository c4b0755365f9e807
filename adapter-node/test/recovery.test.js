// Clients that lose their connections while servers talk: every packet arrives once, in order.
"use strict";

const assert = require("node:assert");
const { after, before, describe, it } = require("node:test");
const { Redis } = require("ioredis");
const { acquainted, startClient, startOfficial, startOurs, startRedis, until, withAll } = require("./support.js");

let redis;
let control;
before(async () => {
  redis = await startRedis();
  control = new Redis(redis.url);
});
after(() => {
  control.disconnect();
  return redis.stop();
});

// More than a stream keeps by default may be said before a client is back.
const MAX_LEN = 100_000;
const RECONNECTS = 15;

async function cut(client) {
  const { socket } = client;
  const gone = new Promise((resolve) => socket.once("disconnect", resolve));
  const pid = socket._pid;
  socket.io.engine.close();
  await gone;
  // Its server has noticed.
  await until("the stored session", () => control.exists(`sio:session:${pid}`));
}

async function back(client) {
  const { socket } = client;
  const here = new Promise((resolve) => socket.once("connect", resolve));
  socket.connect();
  await here;
}

async function underTraffic(dialect, middleware) {
  await withAll(async (keep) => {
    const options = { url: redis.url, dialect, streamName: `traffic ${dialect} ${Boolean(middleware)}`, maxLen: MAX_LEN };
    const server = { connectionStateRecovery: { skipMiddlewares: false } };
    const servers = [keep(await startOurs({ ...options, server })), keep(await startOurs({ ...options, server }))];
    await acquainted(servers);
    if (middleware) {
      servers.forEach(({ io }) => io.use(middleware));
    }
    const client = keep(await startClient(servers[0], { reconnection: false }));
    const watchers = [keep(await startClient(servers[0])), keep(await startClient(servers[1]))];
    const last = [0, 0];
    const say = () => servers.forEach(({ io }, at) => io.emit("said", at, ++last[at]));
    let isOver = false;
    say();
    await client.wait("said", 2);
    const talk = (async () => {
      while (!isOver) {
        // The servers say no more than they can hear.
        if (watchers.every(({ received }) => received.length > 2 * last[0] - 500)) {
          for (let count = 0; count < 5; count++) {
            say();
          }
        }
        await new Promise(setImmediate);
      }
    })();
    for (let round = 0; round < RECONNECTS; round++) {
      const before = last[0];
      await cut(client);
      await until("something to be missed", () => last[0] > before + 50);
      // It comes back at another server.
      client.socket.io.uri = `http://127.0.0.1:${servers[(round + 1) % 2].port}/`;
      await back(client);
      assert.ok(client.socket.recovered, `round ${round}: the client begins anew`);
    }
    isOver = true;
    await talk;
    servers.forEach(({ io }) => io.emit("end"));
    await client.wait("end", 2);
    for (const [at, count] of last.entries()) {
      const numbers = client.got("said").filter(([from]) => from === at).map(([, number]) => number);
      assert.deepEqual([numbers.length, numbers.findIndex((number, index) => number !== index + 1)], [count, -1]);
    }
  });
}

describe("recovery under traffic", () => {
  for (const dialect of ["streams-0.2", "streams-0.3", "bridge"]) {
    it(`loses and doubles nothing: ${dialect}`, () => underTraffic(dialect));
  }

  it("loses and doubles nothing while a middleware takes its time", () =>
    underTraffic("streams-0.3", (_, next) => setImmediate(() => setImmediate(next))));
});

describe("recovery", () => {
  it("keeps rooms, data and orders that come while the socket is being connected", async () => {
    await withAll(async (keep) => {
      const server = { connectionStateRecovery: { skipMiddlewares: false } };
      const start = async () => keep(await startOurs({ url: redis.url, dialect: "streams-0.3", streamName: "held", server }));
      const servers = [await start(), await start()];
      await acquainted(servers);
      const client = keep(await startClient(servers[0], { reconnection: false }));
      const first = servers[0].io.of("/").sockets.get(client.socket.id);
      first.data = { when: new Date(5), bytes: Buffer.from("x") };
      first.join("room");
      servers[1].io.emit("before", 1);
      await client.wait("before");
      await cut(client);
      servers[0].io.to("room").emit("missed", 1);
      // The middleware waits until all that it says has come back.
      servers[1].io.use(async (socket, next) => {
        servers[0].io.to("room").emit("held", 1);
        servers[0].io.in("room").socketsJoin("later");
        servers[0].io.in("later").emit("held", 2);
        servers[0].io.to("elsewhere").emit("held", 3);
        servers[0].io.serverSideEmit("mark");
        await until("the orders to have come", () => socket.rooms.has("later"));
        servers[0].io.to("later").emit("held", 4);
        next();
      });
      client.socket.io.uri = `http://127.0.0.1:${servers[1].port}/`;
      await back(client);
      assert.ok(client.socket.recovered);
      await client.wait("held", 3);
      const heard = client.received.filter(([event]) => event === "missed" || event === "held");
      assert.deepEqual(heard.map(([event, number]) => [event, number]), [["missed", 1], ["held", 1], ["held", 2], ["held", 4]]);
      const second = servers[1].io.of("/").sockets.get(client.socket.id);
      assert.deepEqual([...second.rooms].sort(), [client.socket.id, "later", "room"].sort());
      assert.deepEqual([second.data.when, Buffer.from(second.data.bytes)], [new Date(5), Buffer.from("x")]);
    });
  });

  it("keeps the session of a client that goes again before it is connected", async () => {
    await withAll(async (keep) => {
      const server = { connectionStateRecovery: { skipMiddlewares: false } };
      const ours = keep(await startOurs({ url: redis.url, dialect: "streams-0.3", streamName: "again", server }));
      const client = keep(await startClient(ours, { reconnection: false }));
      ours.io.emit("before", 1);
      await client.wait("before");
      await cut(client);
      let isRefused = true;
      ours.io.use((_, next) => next(isRefused ? new Error("not now") : undefined));
      const refused = new Promise((resolve) => client.socket.once("connect_error", resolve));
      client.socket.connect();
      assert.equal((await refused).message, "not now");
      isRefused = false;
      await back(client);
      assert.ok(client.socket.recovered);
    });
  });

  it("goes from official servers to these, and back", async () => {
    await withAll(async (keep) => {
      const adapter = { streamName: "both" };
      const official = keep(await startOfficial({ url: redis.url, generation: "0.3", recovery: true, adapter }));
      const server = { connectionStateRecovery: { skipMiddlewares: false } };
      const ours = keep(await startOurs({ url: redis.url, dialect: "streams-0.3", ...adapter, server }));
      await acquainted([official, ours]);
      const client = keep(await startClient(official, { reconnection: false }));
      for (const [from, to, round] of [[official, ours, 1], [ours, official, 2]]) {
        from.io.emit("said", round);
        await client.wait("said", 2 * round - 1);
        await cut(client);
        to.io.emit("said", -round);
        client.socket.io.uri = `http://127.0.0.1:${to.port}/`;
        await back(client);
        assert.ok(client.socket.recovered);
        await client.wait("said", 2 * round);
      }
      assert.deepEqual(client.got("said").map(([number]) => number), [1, -1, 2, -2]);
    });
  });
});
