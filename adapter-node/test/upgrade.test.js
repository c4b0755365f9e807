// A rolling upgrade from official servers to these, in two steps, with clients that are connected throughout.
"use strict";

const assert = require("node:assert");
const { after, before, it } = require("node:test");
const { acquainted, startClient, startOfficial, startOurs, startRedis, until } = require("./support.js");

let redis;
before(async () => (redis = await startRedis()));
after(() => redis.stop());

it("0.2.3, bridge, 0.3", async () => {
  const start = async (kind) => {
    const server = { connectionStateRecovery: {} };
    const it =
      kind === "0.2"
        ? await startOfficial({ url: redis.url, generation: kind, recovery: true })
        : await startOurs({ url: redis.url, dialect: kind, server });
    it.io.on("question", (number, answer) => answer(number + 1));
    return it;
  };
  const servers = [await start("0.2"), await start("0.2"), await start("0.2")];
  await acquainted(servers);
  // A client has a connection to each place, and comes back to whoever is there now.
  const clients = await Promise.all(servers.map((server) => startClient(server, { reconnection: false })));
  clients.forEach(({ socket }, at) => socket.on("ask", (ack) => ack(at)));
  let said = 0;

  // A request of every kind, of every server.
  const check = async (step) => {
    await acquainted(servers);
    for (const [at, { io, name }] of servers.entries()) {
      const what = `step ${step}, ${at}: ${name}`;
      io.emit("said", ++said);
      assert.deepEqual((await io.timeout(20_000).emitWithAck("ask")).sort(), [0, 1, 2], what);
      assert.equal((await io.fetchSockets()).length, 3, what);
      assert.deepEqual(await io.serverSideEmitWithAck("question", 1), [2, 2], what);
      io.socketsJoin(`room ${step} ${at}`);
      await until("all to join", async () => (await io.in(`room ${step} ${at}`).fetchSockets()).length === 3);
      io.socketsLeave(`room ${step} ${at}`);
      await until("all to leave", async () => (await io.in(`room ${step} ${at}`).fetchSockets()).length === 0);
    }
    await Promise.all(clients.map((client) => client.wait("said", said)));
  };

  // Puts another server in the place of one. Its client recovers there.
  const replace = async (at, kind) => {
    const former = servers[at];
    servers[at] = await start(kind);
    await acquainted([servers[at]], [4]);
    const { socket } = clients[at];
    const gone = new Promise((resolve) => socket.once("disconnect", resolve));
    await former.stop();
    await gone;
    servers[(at + 1) % 3].io.emit("said", ++said);
    socket.io.uri = `http://127.0.0.1:${servers[at].port}/`;
    const here = new Promise((resolve) => socket.once("connect", resolve));
    socket.connect();
    await here;
    assert.ok(socket.recovered, `the client of place ${at} begins anew at ${kind}`);
  };

  let step = 0;
  await check(step);
  for (const kind of ["bridge", "streams-0.3"]) {
    for (const at of servers.keys()) {
      await replace(at, kind);
      await check(++step);
    }
  }
  const expected = Array.from({ length: said }, (_, index) => index + 1);
  clients.forEach((client) => assert.deepEqual(client.got("said").map(([number]) => number), expected));
  clients.forEach((client) => client.stop());
  await Promise.all(servers.map((server) => server.stop()));
});
