// Random values of JavaScript, and random options. What becomes of a value is compared with the official adapter, and with
// socket.io's parser, which sends values to clients without any adapter.
//
// SIO_STREAMS_FUZZ_SEED repeats a run, and SIO_STREAMS_FUZZ_VALUES is the number of values of each kind.
"use strict";

const assert = require("node:assert");
const { createServer } = require("node:http");
const { after, before, describe, it } = require("node:test");
const { Server } = require("socket.io");
const { Decoder, Encoder } = require("socket.io-parser");
const { createAdapter } = require("../lib/index.js");
const { PEERS, acquainted, startClient, startOfficial, startOurs, startRedis, until } = require("./support.js");
const { Values, WRONG, withBuffers, randomOf } = require("./values.js");

const SEED = Number(process.env.SIO_STREAMS_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env.SIO_STREAMS_FUZZ_VALUES ?? 200);
console.log(`SIO_STREAMS_FUZZ_SEED=${SEED}`);

// As many binary values in one packet as a client takes.
const MOST_ATTACHMENTS = 10;

let redis;
let written;
before(async () => {
  redis = await startRedis();
  ({ written } = await import(`${PEERS}/written.mjs`));
});
after(() => redis.stop());

// Compares what `written` has made of values. Of long ones it shows the place where they differ.
function same(actual, expected, told) {
  if (actual !== expected) {
    let at = 0;
    while (actual?.[at] === expected?.[at] && actual !== undefined && expected !== undefined) {
      at += 1;
    }
    const from = Math.max(0, at - 200);
    const part = (text) => text?.slice(from, at + 200);
    assert.fail(`${told}: at ${at}\n${part(actual)}\nin place of\n${part(expected)}`);
  }
}

// MessagePack is UTF-8, which has no halves of characters.
function withoutHalves(text) {
  return text?.replace(/(\\ud[89ab]..\\ud[c-f]..)|\\ud[89a-f]../g, (_, whole) => whole ?? "\\ufffd");
}

// Returns what a client gets by socket.io's parser: { value }, or { error }.
function parsed(value) {
  try {
    const frames = new Encoder().encode({ type: 2, nsp: "/", data: ["v", value] });
    const decoder = new Decoder({ maxAttachments: Infinity });
    let packet;
    decoder.on("decoded", (decoded) => (packet = decoded));
    frames.forEach((frame) => decoder.add(frame));
    return { value: packet.data[1], attachments: frames.length - 1 };
  } catch (error) {
    return { error };
  }
}

// Calls that fail in an official adapter are rejections that nobody handles, which would end the tests.
function handleRejections({ io }) {
  const { adapter } = io.of("/");
  for (const name of ["broadcast", "serverSideEmit", "publish"]) {
    const method = adapter[name];
    if (method !== undefined) {
      adapter[name] = (...args) => {
        const result = method.apply(adapter, args);
        result?.catch?.(() => {});
        return result;
      };
    }
  }
}

function attempt(action) {
  try {
    action();
    return undefined;
  } catch (error) {
    return error;
  }
}

for (const [dialect, generation] of Object.entries({ "streams-0.2": "0.2", "streams-0.3": "0.3", classic: "classic", sharded: "sharded" })) {
  describe(dialect, () => valuesOf(dialect, generation));
}

function valuesOf(dialect, generation) {
  let ours;
  let official;
  let all;
  // The same value as often as one likes, by its number.
  const make = (at) => {
    const seed = SEED + 1_000_003 * at;
    const options = { wrong: at % 4 === 0 ? 0.1 : 0, bytes: at % 3 !== 0 };
    const values = (bytes) => new Values(seed, { ...options, bytes }).value();
    return parsed(values(options.bytes)).attachments > MOST_ATTACHMENTS ? values(false) : values(options.bytes);
  };
  // Makes the value that the official adapter is given for what servers send each other.
  const makeOfficial = (at) => (dialect === "classic" ? make(at) : withBuffers(make(at)));
  const numbers = Array.from({ length: COUNT }, (_, at) => at);
  const told = (at) => `${dialect}, value ${at} of SIO_STREAMS_FUZZ_SEED=${SEED}`;

  before(async () => {
    // Streams and channels of their own.
    const names = (whose) => {
      const name = `fuzz-${whose}-${generation}`;
      const channels = dialect === "classic" ? { key: name } : dialect === "streams-0.2" ? {} : { channelPrefix: name };
      return { ...channels, ...(dialect.startsWith("streams") ? { streamName: name } : {}) };
    };
    ours = await Promise.all([0, 1].map(() => startOurs({ url: redis.url, dialect, ...names("ours") })));
    official = [];
    for (let count = 0; count < 2; count++) {
      official.push(await startOfficial({ url: redis.url, generation, adapter: names("official") }));
    }
    await acquainted(ours);
    await acquainted(official);
    official.forEach(handleRejections);
    all = [...ours, ...official];
  });
  after(() => Promise.all(all?.map((server) => server.stop()) ?? []));

  it("what clients get is what socket.io's parser makes of it, and what can't be sent is an error at the call", async () => {
    const clients = await Promise.all(all.map((server) => startClient(server)));
    const failures = new Map();
    for (const at of numbers) {
      failures.set(at, attempt(() => ours[0].io.emit("v", at, make(at))));
      attempt(() => official[0].io.emit("v", at, make(at)));
    }
    [ours, official].forEach(([{ io }]) => io.emit("end"));
    await Promise.all(clients.map((client) => client.wait("end")));
    const got = clients.map((client) => new Map(client.got("v")));
    let compared = 0;
    let better = 0;
    for (const at of numbers) {
      const expected = parsed(make(at));
      const [here, there, theirsHere, theirsThere] = got.map((values) => (values.has(at) ? written(values.get(at)) : undefined));
      if (expected.error !== undefined) {
        assert.match(String(failures.get(at)), WRONG, told(at));
        assert.deepEqual([here, there, theirsHere, theirsThere], Array(4).fill(undefined), told(at));
        continue;
      }
      assert.equal(failures.get(at), undefined, told(at));
      same(here, written(expected.value), `${told(at)}, here`);
      same(there, there === here ? here : withoutHalves(here), `${told(at)}, there`);
      // The official adapters encode binary messages twice, in ways that don't agree.
      if (theirsHere !== undefined) {
        same(theirsHere, here, `${told(at)}, official`);
      }
      compared += 1;
      better += theirsThere === there ? 0 : 1;
    }
    assert.ok(compared > COUNT / 2);
    console.log(`${dialect}: ${compared} values came as they should; with the official adapter ${better} of them did not reach the other server so`);
    clients.forEach((client) => client.stop());
  });

  // The numbers of values that the official adapter can send to another server.
  const sendable = [];

  it("what servers get is what they get by the official adapter", async () => {
    const heard = all.map(({ io }) => {
      const values = new Map();
      io.on("v", (at, value) => values.set(at, value));
      io.on("end", () => values.set("end"));
      return values;
    });
    const failures = new Map();
    for (const at of numbers) {
      failures.set(at, attempt(() => ours[0].io.serverSideEmit("v", at, make(at))));
      attempt(() => official[0].io.serverSideEmit("v", at, makeOfficial(at)));
    }
    [ours, official].forEach(([{ io }]) => io.serverSideEmit("end"));
    await until("the end", () => heard[1].has("end") && heard[3].has("end"));
    for (const at of numbers) {
      if (!heard[3].has(at)) {
        assert.ok(failures.get(at) === undefined || WRONG.test(failures.get(at)), `${told(at)}: ${failures.get(at)}`);
        continue;
      }
      assert.equal(failures.get(at), undefined, told(at));
      assert.ok(heard[1].has(at), told(at));
      same(written(heard[1].get(at)), written(heard[3].get(at)), told(at));
      sendable.push(at);
    }
    assert.ok(sendable.length > COUNT / 4, `${sendable.length} of ${COUNT}`);
  });

  it("so are answers, and the data of sockets", async () => {
    const clients = await Promise.all([ours[1], official[1]].map((server) => startClient(server)));
    [ours[1], official[1]].forEach(({ io }, kind) => io.on("ask", (at, answer) => answer(kind === 0 ? make(at) : makeOfficial(at))));
    for (const at of sendable.slice(0, 60)) {
      const [answers, data] = await Promise.all([
        Promise.all([ours[0], official[0]].map(({ io }) => io.serverSideEmitWithAck("ask", at))),
        Promise.all(
          [ours, official].map(async ([asking, asked], kind) => {
            const { id } = clients[kind].socket;
            asked.io.of("/").sockets.get(id).data = { value: kind === 0 ? make(at) : makeOfficial(at) };
            const [socket] = await asking.io.in(id).fetchSockets();
            return socket.data;
          }),
        ),
      ]);
      // An answer that is undefined is null with this adapter. With the official ones that depends on the dialect.
      same(written(answers[0]), written(answers[1].map((value) => value ?? null)), `${told(at)}, answer`);
      same(written(data[0]), written(data[1]), `${told(at)}, data`);
    }
    clients.forEach((client) => client.stop());
  });
}

describe("options", () => {
  const text = [["socket.io", "s", "é\n", "x".repeat(300)], ["", 5, null, {}, Buffer.from("x"), Symbol("x")]];
  const count = (...good) => [good, [-1, 0.5, NaN, Infinity, "10", 10n, null, [], new Number(5), { valueOf: () => 5 }, 2 ** 60]];
  const flag = [[true, false], [0, 1, "true", null, new Boolean(true)]];
  const one = (...good) => [good, ["", "Static", null, 5, [good[0]], new String(good[0])]];
  // By name: values that are taken, and values that are not.
  const table = {
    dialect: one("streams-0.2", "streams-0.3", "bridge", "sharded", "classic"),
    streamName: text,
    streamCount: count(1),
    channelPrefix: text,
    key: text,
    useShardedPubSub: flag,
    subscriptionMode: one("static", "dynamic", "dynamic-private"),
    publishOnSpecificResponseChannel: flag,
    maxLen: count(1, 10, 1_000_000),
    readCount: count(1, 100, 1_000),
    blockTimeInMs: count(1_000, 5_000),
    sessionKeyPrefix: text,
    heartbeatInterval: count(1_000, 5_000),
    heartbeatTimeout: count(10_000, 60_000),
    onlyPlaintext: flag,
    requestsTimeout: count(100, 5_000),
    limits: [[{}, { inFlight: 10 }, { inFlightBytes: 1_000_000, inFlightFor: undefined }], [null, 5, [], { inflight: 1 }, { requests: -1 }]],
    tls: [[undefined, {}], [null, true, "PEM", [], { ca: 5 }, { pem: "x" }]],
    also: [[undefined, []], ["host:1", [5], [""], { length: 1 }]],
    cluster: [[false, undefined], ["yes", null, 1]],
    url: [[undefined], ["", 5, null, new URL("redis://localhost")]],
  };
  // These values can't be read at all.
  const hostile = [
    () => new Proxy({}, { ownKeys: () => { throw new Error("own words"); } }),
    () => Object.defineProperty({}, "url", { enumerable: true, get: () => { throw new Error("own words"); } }),
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    },
    () => ({ ["x".repeat(100_000)]: 1 }),
    () => ({ constructor: 1 }),
    () => ({ toString: "x" }),
    () => JSON.parse('{"__proto__": {"url": "x"}}'),
    () => ({ duplicate() {}, sendCommand() {} }),
  ];

  it("a server with random ones runs, or the error names the wrong one", async () => {
    const random = randomOf(SEED);
    const pick = (list) => list[Math.floor(random() * list.length)];
    let started = 0;
    let refused = 0;
    for (let at = 0; at < COUNT; at++) {
      const options = { url: undefined };
      const wrong = [];
      for (const [name, [good, bad]] of Object.entries(table)) {
        if (random() < 0.3) {
          const isWrong = random() < 0.05;
          options[name] = pick(isWrong ? bad : good);
          if (isWrong) {
            wrong.push(name);
          }
        }
      }
      const said = `options ${at} of SIO_STREAMS_FUZZ_SEED=${SEED}: ${Object.keys(options)}`;
      if (wrong.length > 0) {
        const error = attempt(() => createAdapter(options));
        assert.ok(error instanceof TypeError && wrong.some((name) => error.message.includes(name)), `${said}: ${error}`);
        refused += 1;
        continue;
      }
      const adapter = createAdapter({ ...options, url: redis.url });
      // Some good ones don't go together.
      let io;
      try {
        io = new Server(createServer(), { adapter });
      } catch (error) {
        assert.ok(error instanceof TypeError && Object.keys(table).some((name) => error.message.includes(name)), `${said}: ${error}`);
        refused += 1;
        continue;
      }
      await new Promise((resolve) => io.of("/").adapter.once("ready", resolve));
      await io.close();
      started += 1;
    }
    assert.ok(started > COUNT / 10 && refused > COUNT / 10, `${started} servers ran, and ${refused} sets of options were refused`);
  });

  it("what can't be read is refused in words", () => {
    for (const make of hostile) {
      assert.throws(() => createAdapter(make()), /own words|revoked|there is no option|instead of a Redis client/);
    }
  });
});
