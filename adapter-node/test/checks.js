// The checks of the official adapters' test suites, on three servers of this package.
"use strict";

const assert = require("node:assert");
const { after, afterEach, before, beforeEach, describe, it } = require("node:test");
const { acquainted, startClient, startOurs, until } = require("./support.js");

// A server that never answers is waited for in vain.
const REQUESTS_MS = 500;

let lastName = 0;

// Runs all checks with these options, and those of recovery where the dialect has it. With `isTwice`, all of them
// run with recovery, too. `redis` is a function: Redis is started after the tests have been named.
function describeChecks(what, redis, options, isTwice = false) {
  describe(what, () => checks(redis, options, false));
  if (isTwice) {
    describe(`${what}, with recovery`, () => checks(redis, options, true));
  }
  if (!["classic", "sharded"].includes(options.dialect)) {
    describe(`${what}: recovery`, () => recoveryChecks(redis, options));
  }
}

// Streams and channels of their own.
function settingsOf(redis, options, server) {
  const prefix = `checks${++lastName}`;
  const names = { classic: { key: prefix }, sharded: { channelPrefix: prefix } }[options.dialect] ?? { streamName: prefix, channelPrefix: prefix };
  return { ...redis(), requestsTimeout: REQUESTS_MS, ...options, ...names, server, namespaces: ["/", "/custom"] };
}

const startThree = (settings) => Promise.all([settings, settings, settings].map(startOurs));

// Nothing was lost, refused or failed.
function assertCalm(servers) {
  const bad = servers.flatMap(({ notices }) => notices.filter(({ event }) => !["node_up", "node_down", "link"].includes(event)));
  assert.deepEqual(bad, []);
}

function checks(redis, options, recovery) {
  const { dialect } = options;
  let settings;
  let servers;
  let ios;
  let clients;
  let sockets;

  before(async () => {
    settings = settingsOf(redis, options, recovery ? { connectionStateRecovery: {} } : {});
    servers = await startThree(settings);
    ios = servers.map(({ io }) => io);
    await acquainted(servers);
  });
  after(async () => {
    await Promise.all(servers?.map((server) => server.stop()) ?? []);
    assertCalm(servers);
  });
  beforeEach(async () => {
    clients = await Promise.all(servers.map((server) => startClient(server)));
    sockets = clients.map(({ socket }, at) => ios[at].of("/").sockets.get(socket.id));
  });
  afterEach(async () => {
    clients.forEach((client) => client.stop());
    ios.forEach((io) => io.of("/").removeAllListeners());
    await until("nobody to be there", () => ios.every((io) => io.of("/").sockets.size === 0));
  });

  // Returns the clients that have got an event, by what comes to all after it. In a cluster of channels an event to a room may be overtaken by
  // one to all, so that those who should get it are waited for.
  const getters = async (event, expected) => {
    for (const at of expected) {
      await clients[at].wait(event);
    }
    ios[0].emit("the end");
    await Promise.all(clients.map((client) => client.wait("the end")));
    assert.deepEqual(clients.map((client) => client.got(event).length), clients.map((_, at) => (expected.includes(at) ? 1 : 0)));
  };
  // A room of its own channel is heard of when the subscription is there.
  const inRoom = async (room, members) => {
    members.forEach((at) => sockets[at].join(room));
    if (dialect === "sharded") {
      const probe = `probe ${room}`;
      await until(`${room} to be heard of`, () => {
        ios[0].to(room).emit(probe);
        return members.every((at) => clients[at].got(probe).length > 0);
      });
    }
  };
  const areIn = (room, members) => until(`${members} to be in ${room}`, () => sockets.every(({ rooms }, at) => rooms.has(room) === members.includes(at)));
  const answer = (values) => clients.forEach(({ socket }, at) => socket.on("question", (ack) => values[at] !== undefined && ack(values[at])));
  const ask = (target, ms = 60_000) =>
    new Promise((resolve) => target.timeout(ms).emit("question", (error, answers) => resolve([error, answers])));

  it("broadcasts to all clients", async () => {
    ios[0].emit("test", 1, "2", Buffer.from([3, 4]));
    for (const client of clients) {
      const [args] = await client.wait("test");
      assert.deepEqual(args.slice(0, 3), [1, "2", Buffer.from([3, 4])]);
      assert.ok(Buffer.isBuffer(args[2]));
    }
  });

  it("broadcasts to all clients of a namespace", async () => {
    const others = await Promise.all(servers.map((server) => startClient(server, { nsp: "/custom" })));
    ios[0].of("/custom").emit("test");
    await Promise.all(others.map((client) => client.wait("test")));
    others.forEach((client) => client.stop());
    await getters("test", []);
  });

  it("broadcasts to a room", async () => {
    await inRoom("room1", [1]);
    ios[0].to("room1").emit("test");
    await getters("test", [1]);
  });

  it("broadcasts to all but a room", async () => {
    await inRoom("room2", [1]);
    ios[0].of("/").except("room2").emit("test");
    await getters("test", [0, 2]);
  });

  it("broadcasts once to who is in two rooms", async () => {
    await inRoom("room3", [0, 1, 2]);
    await inRoom("room4", [0, 1]);
    await inRoom("room5", [1]);
    ios[0].to("room3").to("room4").except("room5").emit("test");
    await getters("test", [0, 2]);
  });

  it("broadcasts to this server's clients", async () => {
    ios[0].local.emit("test");
    await getters("test", [0]);
  });

  it("broadcasts to a single client", async () => {
    if (dialect === "sharded") {
      await inRoom(sockets[1].id, [1]);
    }
    ios[0].to(sockets[1].id).emit("test");
    await getters("test", [1]);
  });

  it("broadcasts to a room whose name is a number", async () => {
    await inRoom(123, [0]);
    ios[1].to(123).emit("test");
    await getters("test", [0]);
  });

  it("collects acknowledgements", async () => {
    answer([1, 2, 3]);
    const [error, answers] = await ask(ios[0]);
    assert.equal(error, null);
    assert.deepEqual(answers.sort(), [1, 2, 3]);
  });

  it("collects binary acknowledgements", async () => {
    answer([1, 2, 3].map((number) => Buffer.from([number])));
    const [error, answers] = await ask(ios[0]);
    assert.equal(error, null);
    assert.ok(answers.every((value) => Buffer.isBuffer(value)));
    assert.deepEqual(answers.map(([byte]) => byte).sort(), [1, 2, 3]);
  });

  it("collects the acknowledgements of nobody", async () => {
    assert.deepEqual(await ask(ios[0].to("nobody's room")), [null, []]);
  });

  it("collects those that come in time", async () => {
    answer([1, 2, undefined]);
    // A slow machine may need more time for the two.
    for (let ms = 250; ; ms *= 2) {
      const [error, answers] = await ask(ios[0], ms);
      assert.match(error.message, /timed out/);
      if (answers.length === 2 || ms > 60_000) {
        assert.deepEqual(answers.sort(), [1, 2]);
        return;
      }
    }
  });

  it("gets one acknowledgement, of a socket here and of one elsewhere", async () => {
    answer(["zero", "one", "two"]);
    assert.equal(await sockets[1].emitWithAck("question"), "one");
    const [found] = await ios[0].in(sockets[1].id).fetchSockets();
    assert.equal(await found.timeout(60_000).emitWithAck("question"), "one");
  });

  it("makes all sockets join, those in a room, and one", async () => {
    ios[0].socketsJoin("join1");
    await areIn("join1", [0, 1, 2]);
    [0, 2].forEach((at) => sockets[at].join("join2"));
    ios[0].in("join2").socketsJoin("join3");
    await areIn("join3", [0, 2]);
    ios[0].in(sockets[1].id).socketsJoin("join4");
    await areIn("join4", [1]);
  });

  it("makes all sockets leave, those in a room, and one", async () => {
    [0, 2].forEach((at) => sockets[at].join("leave1"));
    ios[0].socketsLeave("leave1");
    await areIn("leave1", []);
    [0, 1].forEach((at) => sockets[at].join(["leave2", "leave3"]));
    sockets[2].join("leave3");
    ios[0].in("leave2").socketsLeave("leave3");
    await areIn("leave3", [2]);
    sockets.forEach((socket) => socket.join("leave4"));
    ios[0].in(sockets[1].id).socketsLeave("leave4");
    await areIn("leave4", [0, 2]);
  });

  it("disconnects all sockets", async () => {
    const reasons = clients.map(({ socket }) => new Promise((resolve) => socket.once("disconnect", resolve)));
    ios[0].disconnectSockets();
    assert.deepEqual(await Promise.all(reasons), Array(3).fill("io server disconnect"));
  });

  it("sends a packet before it disconnects the sockets", async () => {
    const gone = clients.map(({ socket }) => new Promise((resolve) => socket.once("disconnect", resolve)));
    ios[0].emit("bye");
    ios[0].disconnectSockets(true);
    await Promise.all(gone);
    // They have two channels in the dialect classic, and a cluster keeps no order between channels.
    if (dialect !== "classic" || !settings.cluster) {
      assert.deepEqual(clients.map((client) => client.got("bye").length), [1, 1, 1]);
    }
  });

  it("finds all sockets, one with all that it has, and this server's", async () => {
    assert.deepEqual((await ios[0].fetchSockets()).map(({ id }) => id).sort(), sockets.map(({ id }) => id).sort());
    sockets[1].data = "some data";
    const [found, ...more] = await ios[0].in(sockets[1].id).fetchSockets();
    assert.deepEqual(more, []);
    assert.deepEqual(found.handshake, JSON.parse(JSON.stringify(sockets[1].handshake)));
    assert.deepEqual([found.data, [...found.rooms]], ["some data", [sockets[1].id]]);
    assert.deepEqual((await ios[0].local.fetchSockets()).map(({ id }) => id), [sockets[0].id]);
  });

  it("emits to the other servers, and not to itself", async () => {
    const heard = [];
    ios.forEach((io, at) => io.of("/").on("hello", (...args) => heard.push([at, ...args])));
    ios[0].serverSideEmit("hello", "world", 1, "2");
    ios[1].serverSideEmit("hello", "the end");
    await until("all to have heard", () => heard.length >= 4);
    const expected = [[0, "the end"], [1, "world", 1, "2"], [2, "world", 1, "2"], [2, "the end"]];
    assert.deepEqual(heard.map(String).sort(), expected.map(String).sort());
  });

  const question = (io) => new Promise((resolve) => io.serverSideEmit("hello", (error, answers) => resolve([error, answers])));
  it("collects the servers' answers", async () => {
    ios[0].on("hello", () => assert.fail("it asks itself"));
    ios[1].on("hello", (ack) => ack(2));
    ios[2].on("hello", (ack) => ack("3"));
    await until("all answers in time", async () => {
      const [error, answers] = await question(ios[0]);
      return error === null && assert.deepEqual(answers.map(String).sort(), ["2", "3"]) === undefined;
    });
  });

  it("tells of a server that does not answer, in the official words", async () => {
    ios[1].on("hello", (ack) => ack(2));
    ios[2].on("hello", () => {});
    // The one that answers may be late on a slow machine.
    let result;
    await until("one answer in time", async () => (result = await question(ios[0]))[1].length === 1);
    const words = ["streams-0.2"].includes(dialect) ? "timeout reached: missing 1 responses" : "timeout reached: only 1 responses received out of 2";
    assert.deepEqual([result[0].message, result[1]], [words, [2]]);
  });

  if (dialect === "streams-0.2" || dialect === "bridge") {
    it("does not wait for a server that leaves meanwhile", async () => {
      const fourth = await startOurs(settings);
      await acquainted([...servers, fourth]);
      [1, 2].forEach((at) => ios[at].on("hello", (ack) => ack(at)));
      fourth.io.on("hello", () => fourth.stop());
      const [error, answers] = await question(ios[0]);
      assert.deepEqual([error, answers.sort()], [null, [1, 2]]);
      await acquainted(servers);
    });
  }

  if (dialect === "classic") {
    it("names the rooms of all servers", async () => {
      sockets[0].join("of one");
      const rooms = await ios[1].of("/").adapter.allRooms();
      assert.deepEqual([...rooms].sort(), [...sockets.map(({ id }) => id), "of one"].sort());
    });
  } else {
    it("has no request for the rooms of all servers", () =>
      assert.rejects(ios[0].of("/").adapter.allRooms(), /only in the dialect classic/));
  }
}

function recoveryChecks(redis, options) {
  let servers;
  let client;

  before(async () => {
    servers = await startThree(settingsOf(redis, options, { connectionStateRecovery: {} }));
    await acquainted(servers);
  });
  after(async () => {
    await Promise.all(servers?.map((server) => server.stop()) ?? []);
    assertCalm(servers);
  });
  beforeEach(async () => (client = await startClient(servers[0], { reconnectionDelay: 20 })));
  afterEach(() => client.stop());

  const again = (socket) =>
    new Promise((resolve) => {
      socket.once("connect", resolve);
      socket.io.engine.close();
    });

  it("restores a session", async () => {
    const { socket } = client;
    const { id, recovered } = socket;
    assert.equal(recovered, false);
    // The client knows an offset from now on.
    servers[0].io.emit("init");
    await client.wait("init");
    await again(socket);
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
  });

  it("restores what was missed, with an offset each", async () => {
    const { socket } = client;
    const io = servers[0].io;
    const here = io.of("/").sockets.get(socket.id);
    here.join("room1");
    here.on("disconnect", () => {
      here.emit("missed", 1);
      io.emit("missed", 2);
      io.to("room1").emit("missed", 3);
      io.to("room2").emit("missed", 4);
      io.except("room1").emit("missed", 5);
      io.of("/custom").emit("missed", 6);
    });
    servers[1].io.emit("init");
    await client.wait("init");
    await again(socket);
    assert.equal(socket.recovered, true);
    await client.wait("missed", 3);
    servers[1].io.emit("the end");
    await client.wait("the end");
    assert.deepEqual(client.got("missed").map(([value]) => value), [1, 2, 3]);
    const offsets = ["init", "missed", "the end"].flatMap((event) => client.got(event).map((args) => args.at(-1)));
    assert.equal(new Set(offsets.filter((offset) => /^\d+-\d+$/.test(offset))).size, 5);
    assert.equal(socket._lastOffset, offsets.at(-1));
  });

  it("restores no session that it does not know", async () => {
    for (const [pid, offset] of [["abc", "507f191e810c19729de860ea"], [undefined, "abc"]]) {
      client.socket._pid = pid ?? client.socket._pid;
      client.socket._lastOffset = offset;
      await again(client.socket);
      assert.equal(client.socket.recovered, false);
    }
  });
}

module.exports = { describeChecks };
