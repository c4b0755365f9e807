// Values and options of every kind: what socket.io's own adapter does with them, or a clear error at the call.
"use strict";

const assert = require("node:assert");
const { after, before, describe, it } = require("node:test");
const { createAdapter } = require("../lib/index.js");
const { acquainted, startClient, startOurs, startRedis } = require("./support.js");

let redis;
let servers;
let clients;
before(async () => {
  redis = await startRedis();
  const start = () => startOurs({ url: redis.url, dialect: "streams-0.3" });
  servers = [await start(), await start()];
  await acquainted(servers);
  clients = [await startClient(servers[0]), await startClient(servers[1])];
});
after(async () => {
  clients?.forEach((client) => client.stop());
  await Promise.all(servers?.map((server) => server.stop()) ?? []);
  await redis.stop();
});

const circle = { name: "circle" };
circle.self = circle;
const circularList = [];
circularList.push([circularList]);

// The client of the other server gets what that of this one gets: bytes as bytes, and the rest as JSON has it.
describe("values that are broadcast", () => {
  const values = {
    undefined: undefined,
    null: null,
    "numbers that JSON lacks": [NaN, Infinity, -0, 1e300, 2 ** 53],
    "a date": new Date(5),
    "a date beside bytes": [new Date(5), Buffer.from("x")],
    "toJSON()": { toJSON: () => ({ said: "this" }) },
    "toJSON() that gives a date, beside bytes": [{ toJSON: () => new Date(5) }, Buffer.from("x")],
    "toJSON() beside bytes": [{ toJSON: () => ({ said: "this" }) }, Buffer.from("x")],
    "an object in which something is undefined": { a: undefined, b: [undefined] },
    "the same beside bytes": { a: undefined, b: [undefined, Buffer.from("x")] },
    "a map and a set": [new Map([[1, 2]]), new Set([1])],
    "a function": { call: () => 1 },
    "a symbol": [Symbol("x")],
    "lone halves of characters": "\ud800 \udc00",
    "control characters": "\u0000\u001f\n\r\u2028\u007f",
    "keys of all kinds": { "": 1, "\n": 2, 5: 3, "é": 4, constructor: 5 },
    "an empty buffer": Buffer.alloc(0),
    "an ArrayBuffer": new Uint8Array([1, 2, 3]).buffer,
    "typed arrays": [Uint16Array.of(1, 256), new DataView(new ArrayBuffer(3), 1), Float64Array.of(0.5)],
    "part of a buffer": Buffer.from("abcdef").subarray(2, 4),
    "many buffers": Array.from({ length: 9 }, (_, at) => Buffer.from([at])),
    "a large text": "é".repeat(1 << 20),
    "large bytes": Buffer.alloc(3 << 20, 7),
    "a deep value": JSON.parse("[".repeat(80) + "]".repeat(80)),
  };
  for (const [name, value] of Object.entries(values)) {
    it(name, async () => {
      servers[0].io.emit(name, value, "end");
      const [[here], [there]] = await Promise.all(clients.map((client) => client.wait(name)));
      assert.deepEqual(there, here);
      const plain = JSON.stringify([value, "end"], (_, inner) => (typeof inner === "number" ? inner + 0 : inner));
      if (!plain.includes('"Buffer"') && !/Buffer|typed|bytes/.test(name)) {
        assert.deepEqual(here, JSON.parse(plain));
      }
    });
  }

  it("takes the value of the moment", async () => {
    const value = { count: 1, bytes: Buffer.from([1]) };
    servers[0].io.emit("moment", value);
    value.count = value.bytes[0] = 2;
    const [[{ count, bytes }]] = await clients[1].wait("moment");
    assert.deepEqual([count, bytes[0]], [1, 1]);
  });

  const refused = {
    "a circle": [circle, /circular/i],
    "a circle in lists": [circularList, /circular/i],
    "a BigInt": [1n, /BigInt/],
    "a BigInt beside bytes": [[1n, Buffer.from("x")], /BigInt/],
    "a getter that throws": [Object.defineProperty({}, "x", { enumerable: true, get: () => { throw new Error("own words"); } }), /own words/],
    "toJSON() that throws": [{ toJSON() { throw new Error("own words"); } }, /own words/],
  };
  for (const [name, [value, words]] of Object.entries(refused)) {
    it(`refuses ${name} at the call`, async () => {
      assert.throws(() => servers[0].io.emit("refused", value), words);
      await assert.rejects(servers[0].io.timeout(1_000).emitWithAck("refused", value), words);
      assert.throws(() => servers[0].io.serverSideEmit("refused", value), /circular|deep|BigInt|Unrecognized|own words|stack/i);
      servers[0].io.emit(`after ${name}`);
      await clients[1].wait(`after ${name}`);
      assert.equal(clients[1].got("refused").length, 0);
    });
  }

  it("refuses a name that is none", () => {
    for (const name of [undefined, null, {}, true]) {
      assert.throws(() => servers[0].io.emit(name), /the name of an event/);
    }
  });

  it("tells of what is nested too deeply for other servers", async () => {
    const refusal = new Promise((resolve) => servers[0].io.of("/").adapter.once("refused", resolve));
    servers[0].io.emit("deep", JSON.parse("[".repeat(200) + "]".repeat(200)));
    assert.match((await refusal).reason, /nested deeper/);
    await clients[0].wait("deep");
  });
});

describe("rooms of every kind", () => {
  it("never takes nobody for everybody", async () => {
    for (const room of [undefined, null, {}, true, Symbol("x"), 1n]) {
      servers[0].io.to(room).emit("nobody");
      servers[0].io.in(room).socketsJoin("wrong");
      servers[0].io.in(room).disconnectSockets();
      assert.equal((await servers[0].io.in(room).fetchSockets()).length, 0);
    }
    servers[0].io.socketsJoin([undefined, {}]);
    servers[0].io.emit("after nobody");
    await clients[1].wait("after nobody");
    assert.equal(clients[1].got("nobody").length, 0);
    assert.equal((await servers[0].io.in("wrong").fetchSockets()).length, 0);
  });
});

describe("values between servers", () => {
  it("keeps dates and bytes, as the official adapter does", async () => {
    servers[1].io.on("echo", (value, answer) => answer(value));
    const value = { when: new Date(5), bytes: Buffer.from("x"), buffer: new Uint8Array([1]).buffer, list: [1, null] };
    const [answer] = await servers[0].io.serverSideEmitWithAck("echo", value);
    assert.deepEqual(answer.when, new Date(5));
    assert.deepEqual([Buffer.from(answer.bytes), Buffer.from(answer.buffer)], [Buffer.from("x"), Buffer.from([1])]);
    assert.deepEqual(await servers[0].io.serverSideEmitWithAck("echo", undefined), [null]);
  });

  it("tells of data that can't be described, and of a listener that throws", async () => {
    const failures = [];
    servers[1].io.of("/").adapter.on("failed", (failure) => failures.push(failure));
    const socket = servers[1].io.of("/").sockets.get(clients[1].socket.id);
    socket.data = { circle };
    const sockets = await servers[0].io.fetchSockets();
    assert.deepEqual(sockets.find(({ id }) => id === socket.id).data, {});
    socket.data = {};
    servers[1].io.once("throws", () => {
      throw new Error("own words");
    });
    servers[0].io.serverSideEmit("throws");
    servers[0].io.emit("after throwing");
    await clients[1].wait("after throwing");
    while (failures.length < 2) {
      await new Promise(setImmediate);
    }
    assert.match(failures[1].error.message, /own words/);
  });
});

describe("options", () => {
  const wrong = [
    [null, /the options are an object/],
    [5, /the options are an object/],
    [{ duplicate() {} }, /instead of a Redis client/],
    [{ streamname: "x" }, /there is no option streamname/],
    [{ maxLen: -1 }, /maxLen is a whole number, not -1/],
    [{ maxLen: 1.5 }, /maxLen/],
    [{ maxLen: NaN }, /maxLen/],
    [{ maxLen: 10n }, /maxLen/],
    [{ maxLen: "10" }, /maxLen is a whole number, not "10"/],
    [{ streamName: "" }, /streamName/],
    [{ streamName: Buffer.from("x") }, /streamName/],
    [{ dialect: "0.4" }, /dialect is one of streams-0.2,/],
    [{ onlyPlaintext: 1 }, /onlyPlaintext is true or false/],
    [{ url: new URL("redis://localhost") }, /url/],
    [{ also: "host:1" }, /also/],
    [{ tls: "x" }, /tls is an object/],
    [{ tls: { pem: "x" } }, /there is no option tls.pem/],
    [{ limits: { inFlight: "many" } }, /limits.inFlight/],
    [Object.defineProperty({}, "url", { enumerable: true, get: () => { throw new Error("own words"); } }), /own words/],
  ];
  for (const [at, [options, words]] of wrong.entries()) {
    it(`refuses the wrong one ${at}: ${words}`, () => assert.throws(() => createAdapter(options), words));
  }

  // These are seen when a server is made.
  const nsp = { name: "/", server: { encoder: {}, opts: {} } };
  const later = [
    [{ url: "http://localhost" }, /Redis URL/],
    [{ maxLen: 0 }, /maxLen must be at least 1/],
    [{ blockTimeInMs: 0 }, /blockTimeInMs must be at least/],
    [{ heartbeatInterval: 10, heartbeatTimeout: 10 }, /heartbeatTimeout must be longer than heartbeatInterval/],
    [{ streamCount: 2, dialect: "streams-0.2" }, /streamCount must be 1/],
    [{ tls: { ca: "no certificate" } }, /rediss|certificate/],
    [{ also: ["nowhere"], cluster: true }, /nowhere/],
  ];
  for (const [at, [options, words]] of later.entries()) {
    it(`refuses what can't work ${at}: ${words}`, () => {
      const adapterOf = createAdapter({ url: redis.url, ...options });
      assert.throws(() => adapterOf(nsp), words);
    });
  }

  it("leaves out what is undefined", () => {
    createAdapter({ maxLen: undefined, url: undefined });
  });
});
