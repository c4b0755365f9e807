// Everything that an adapter does, between servers of this package, and between them and official ones.
"use strict";

const assert = require("node:assert");
const { after, before, describe, it } = require("node:test");
const { acquainted, startClient, startOfficial, startOurs, startRedis, until } = require("./support.js");

// By dialect: the line-ups of servers. The first is of this package, and asks.
const LINE_UPS = {
  "streams-0.2": [["ours", "ours"], ["ours", "0.2"], ["ours", "ours", "0.2"]],
  "streams-0.3": [["ours", "ours"], ["ours", "0.3"], ["ours", "ours", "0.3"]],
  bridge: [["ours", "ours"], ["ours", "0.2", "0.3"], ["ours", "ours", "0.2"], ["ours", "ours", "0.3"]],
  sharded: [["ours", "ours"], ["ours", "sharded"], ["ours", "ours", "sharded"]],
  classic: [["ours", "ours"], ["ours", "classic"], ["ours", "ours", "classic"]],
};

let redis;
before(async () => (redis = await startRedis()));
after(() => redis.stop());

for (const [dialect, lineUps] of Object.entries(LINE_UPS)) {
  const recoveries = dialect === "sharded" || dialect === "classic" ? [false] : [false, true];
  for (const lineUp of lineUps) {
    for (const recovery of recoveries) {
      describe(`${dialect}${recovery ? " with recovery" : ""}: ${lineUp.join(", ")}`, () => everything(dialect, lineUp, recovery));
    }
  }
}

let lastStream = 0;

function everything(dialect, lineUp, recovery) {
  const servers = [];
  const clients = [];
  let first;
  let others;

  before(async () => {
    // A stream, and channels, of their own.
    const prefix = `s${++lastStream}`;
    const server = recovery ? { connectionStateRecovery: {} } : {};
    const names = dialect === "classic" ? { key: prefix } : { channelPrefix: prefix };
    const streams = dialect === "classic" || dialect === "sharded" ? {} : { streamName: prefix };
    for (const kind of lineUp) {
      const options =
        kind === "ours"
          ? startOurs({ url: redis.url, dialect, server, ...names, ...streams })
          : startOfficial({
              url: redis.url,
              generation: kind,
              recovery,
              adapter: { ...(kind === "0.2" ? {} : names), ...streams },
            });
      servers.push(await options);
    }
    // Those of 0.2 and of 0.3 don't know each other.
    const both = lineUp.includes("0.2") && lineUp.includes("0.3");
    await acquainted(servers, lineUp.map((kind) => (both && kind !== "ours" ? lineUp.length - 1 : lineUp.length)));
    for (const server of servers) {
      clients.push(await startClient(server));
    }
    first = servers[0];
    others = servers.slice(1);
  });

  after(async () => {
    clients.forEach((client) => client.stop());
    await Promise.all(servers.map((server) => server.stop()));
    // Nothing was refused, and nothing failed.
    const bad = servers.flatMap(({ notices }) => notices.filter(({ event }) => event !== "node_up" && event !== "node_down"));
    assert.deepEqual(bad.filter(({ event, up }) => event !== "link" || !up), []);
  });

  // Arguments as a client gets them, without the offset.
  const plain = (args) => (recovery && typeof args.at(-1) === "string" && /^\d+-\d+$/.test(args.at(-1)) ? args.slice(0, -1) : args);
  const everyone = async (event, count = 1) => {
    const lists = await Promise.all(clients.map((client) => client.wait(event, count)));
    return lists.map((list) => list.map(plain));
  };
  const socketOf = (at) => servers[at].io.of("/").sockets.get(clients[at].socket.id);

  it("broadcasts to everybody, from each server", async () => {
    for (const [at, { io }] of servers.entries()) {
      io.emit(`all ${at}`, 1, "two", { three: [null, "é\u2028\n"] });
      for (const list of await everyone(`all ${at}`)) {
        assert.deepEqual(list, [[1, "two", { three: [null, "é\u2028\n"] }]]);
      }
    }
  });

  it("broadcasts binary values", async () => {
    for (const [at, { io }] of servers.entries()) {
      io.emit(`binary ${at}`, Buffer.from("one"), { deep: [Uint8Array.of(2, 3)] }, "last");
      for (const [args] of await everyone(`binary ${at}`)) {
        assert.deepEqual([Buffer.from(args[0]), Buffer.from(args[1].deep[0]), args[2]], [Buffer.from("one"), Buffer.from([2, 3]), "last"]);
      }
    }
  });

  it("selects rooms, and leaves out others", async () => {
    socketOf(0).join("left");
    socketOf(1).join(["left", "right", 7]);
    // In the sharded dialect a room is heard of when the subscription is there.
    await until("the room", async () => {
      first.io.to("right").emit("probe");
      others[0].io.to("left").emit("probe");
      return clients[0].got("probe").length > 0 && clients[1].got("probe").length > 0;
    });
    first.io.to("left").emit("to left", 1);
    first.io.to("left").except("right").emit("not right", 1);
    first.io.to(7).emit("to a number", 1);
    first.io.emit("mark");
    await everyone("mark");
    await clients[1].wait("to left");
    await clients[1].wait("to a number");
    const counts = (event) => clients.slice(0, 2).map((client) => client.got(event).length);
    await until(() => `${counts("to left")}`, () => String(counts("to left")) === "1,1");
    assert.deepEqual(counts("not right"), [1, 0]);
    assert.deepEqual(counts("to a number"), [0, 1]);
  });

  it("keeps to itself what is local", async () => {
    first.io.local.emit("local", 1);
    first.io.emit("after local");
    await everyone("after local");
    assert.deepEqual(clients.map((client) => client.got("local").length), clients.map((_, at) => (at === 0 ? 1 : 0)));
  });

  it("collects acknowledgements, and knows how many are missing", async () => {
    clients.forEach(({ socket }, at) => socket.on("ask", (number, ack) => ack(number + at)));
    for (const { io, isOurs } of servers) {
      if (isOurs || !lineUp.includes("0.2") || !lineUp.includes("0.3")) {
        const answers = await io.timeout(20_000).emitWithAck("ask", 10);
        assert.deepEqual(answers.sort(), clients.map((_, at) => 10 + at));
      }
    }
    const none = await first.io.to("no such room").timeout(20_000).emitWithAck("ask", 1);
    assert.deepEqual(none, []);
    clients.forEach(({ socket }, at) => socket.on("ask most", (ack) => at === 0 || ack(Buffer.from([at]))));
    await assert.rejects(first.io.timeout(300).emitWithAck("ask most"), (error) => {
      assert.equal(error.message, "operation has timed out");
      assert.equal(error.responses.length, clients.length - 1);
      return true;
    });
  });

  it("makes sockets join and leave, and finds them", async () => {
    const found = async (io, room) => (await io.in(room).fetchSockets()).length;
    first.io.socketsJoin(["joined", "also"]);
    await until("all to have joined", async () => (await found(first.io, "joined")) === clients.length);
    assert.equal(await found(first.io, "also"), clients.length);
    first.io.in(clients[1].socket.id).socketsLeave("joined");
    await until("one to have left", async () => (await found(first.io, "joined")) === clients.length - 1);
    for (const { io } of others) {
      io.in("also").socketsJoin("third");
    }
    await until("all to have joined", async () => (await found(first.io, "third")) === clients.length);
  });

  it("finds sockets with their data and handshakes", async () => {
    socketOf(1).data = { name: "ben", list: [1] };
    const sockets = await first.io.fetchSockets();
    assert.equal(sockets.length, clients.length);
    const remote = sockets.find(({ id }) => id === clients[1].socket.id);
    assert.deepEqual(remote.data, { name: "ben", list: [1] });
    assert.equal(typeof remote.handshake.headers, "object");
    assert.ok(remote.rooms.has(remote.id));
    remote.emit("to one", 5);
    assert.deepEqual((await clients[1].wait("to one")).map(plain), [[5]]);
    assert.equal((await first.io.local.fetchSockets()).length, 1);
    assert.ok((await first.io.local.fetchSockets())[0].client, "it is the socket itself");
  });

  it("emits to the servers, and collects their answers", async () => {
    const heard = [];
    for (const [at, { io }] of servers.entries()) {
      io.on("servers", (...args) => heard.push([at, args]));
      io.on("question", (number, answer) => answer({ at, number }));
      // Who answers twice is heard once.
      io.on("question", (_, answer) => answer("again"));
    }
    first.io.serverSideEmit("servers", 1, { two: [2] });
    await until("all to have heard", () => heard.length === others.length);
    assert.deepEqual(heard.map(([at]) => at).sort(), others.map((_, at) => at + 1));
    assert.deepEqual(heard[0][1], [1, { two: [2] }]);
    const answers = await first.io.serverSideEmitWithAck("question", 5);
    assert.deepEqual(answers.map(({ at }) => at).sort(), others.map((_, at) => at + 1));
    if (!lineUp.includes("0.2") || !lineUp.includes("0.3")) {
      const back = await others[0].io.serverSideEmitWithAck("question", 6);
      assert.equal(back.length, servers.length - 1);
      assert.ok(back.some(({ at, number }) => at === 0 && number === 6));
    }
  });

  it("counts the servers", async () => {
    assert.equal(await first.io.of("/").adapter.serverCount(), servers.length);
  });

  it("keeps the order of what is called", async () => {
    const io = first.io;
    for (let round = 0; round < 20; round++) {
      io.in("turn").emit("order", `${round} nobody`);
      io.socketsJoin("turn");
      io.in("turn").emit("order", round);
      io.socketsLeave("turn");
      io.in("turn").emit("order", `${round} nobody`);
    }
    io.emit("order", "end");
    await Promise.all(clients.map((client) => until("the end", () => client.got("order").some(([what]) => what === "end"))));
    // In the sharded dialect a room's channel may be faster or slower than that for everybody.
    if (dialect !== "sharded") {
      const expected = [...Array.from({ length: 20 }, (_, round) => round), "end"];
      clients.forEach((client) => assert.deepEqual(client.got("order").map(([what]) => what), expected));
    }
  });

  it("disconnects sockets, and what was said before arrives", async () => {
    const gone = clients.map(({ socket }) => new Promise((resolve) => socket.once("disconnect", resolve)));
    first.io.emit("goodbye", 1);
    first.io.disconnectSockets(true);
    await Promise.all(gone);
    clients.forEach((client) => assert.equal(client.got("goodbye").length, 1));
    await until("nobody to be there", async () => (await first.io.fetchSockets()).length === 0);
  });
}
