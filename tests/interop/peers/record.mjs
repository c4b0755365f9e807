// Records what the real adapters write, as test vectors: `npm run record -- <redis url> [directory]`.
//
// Needs an empty Redis of its own. One JSON object per line; see README.md.

import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decode } from "@msgpack/msgpack";
import { Redis } from "ioredis";
import { Clients } from "./clients.mjs";
import { toJson } from "./codec.mjs";
import { exit } from "./exit.mjs";
import { until } from "./ready.mjs";
import { CASES } from "./record-cases.mjs";
import { startServer } from "./server.mjs";

const NAMES = [
  undefined, "initial-heartbeat", "heartbeat", "broadcast", "sockets-join", "sockets-leave", "disconnect-sockets", "fetch-sockets",
  "fetch-sockets-response", "server-side-emit", "server-side-emit-response", "broadcast-client-count", "broadcast-ack", "adapter-close",
];
const HEARTBEAT = 2;

const url = process.argv[2];
if (url === undefined) {
  console.error("usage: npm run record -- <redis url> [directory]");
  process.exit(2);
}
const directory = process.argv[3] ?? fileURLToPath(new URL("../../../core/tests/vectors", import.meta.url));

// Sees everything that is written to the streams and published.
class Spy {
  #lastIds = new Map();
  #published = [];

  static async start() {
    const spy = new Spy();
    spy.redis = new Redis(url);
    spy.subscriber = new Redis(url);
    spy.subscriber.on("pmessageBuffer", (_, channel, payload) => {
      spy.#published.push({ transport: "pubsub", channel: channel.toString(), payload: payload.toString("base64"), message: toJson(decode(payload)) });
    });
    // A pattern: the adapters count the subscribers of a channel, and patterns are not among them.
    await spy.subscriber.psubscribe("*#*");
    return spy;
  }

  // Everything since the last call that `wanted` lets through, once there are `count`.
  async take(what, count, wanted) {
    const seen = [];
    await until(() => `${what}: ${count} messages, seen: ${JSON.stringify(seen)}`, async () => {
      seen.push(...(await this.#entries()), ...this.#published.splice(0));
      return seen.filter(wanted).length >= count;
    });
    return seen.filter(wanted);
  }

  async #entries() {
    const entries = [];
    for (const key of (await this.redis.keys("*")).sort()) {
      if ((await this.redis.type(key)) !== "stream") {
        continue;
      }
      const from = this.#lastIds.has(key) ? `(${this.#lastIds.get(key)}` : "-";
      for (const [id, flat] of await this.redis.xrange(key, from, "+")) {
        this.#lastIds.set(key, id);
        const fields = Array.from({ length: flat.length / 2 }, (_, i) => flat.slice(2 * i, 2 * i + 2));
        entries.push({ transport: "stream", key, fields, message: decodeEntry(Object.fromEntries(fields)) });
      }
    }
    return entries;
  }

  stop() {
    this.redis.disconnect();
    this.subscriber.disconnect();
  }
}

function decodeEntry({ uid, nsp, type, data }) {
  const message = { uid, nsp, type: Number(type) };
  if (data !== undefined) {
    message.data = data.startsWith("{") ? toJson(JSON.parse(data)) : toJson(decode(Buffer.from(data, "base64")));
  }
  return message;
}

const isProbe = ({ message }) => message.uid === "emitter";
const isHeartbeat = ({ message }) => message.type <= HEARTBEAT;

class Recorder {
  lines = [];

  constructor(dialect) {
    this.dialect = dialect;
  }

  add(name, what, messages) {
    const ordered = [...messages].sort((x, y) => x.message.type - y.message.type);
    const count = new Map();
    for (const { transport, message, ...rest } of ordered) {
      const type = NAMES[message.type];
      const nth = (count.get(type) ?? 0) + 1;
      count.set(type, nth);
      const full = (ordered.length > 1 ? `${name}/${type}` : name) + (nth > 1 ? `-${nth}` : "");
      this.lines.push({ dialect: this.dialect, transport, ...locate(rest), name: full, what, ...content(rest), message });
    }
  }
}

const locate = ({ key, channel }) => (key === undefined ? { channel } : { key });
const content = ({ fields, payload, value }) => (fields ? { fields } : payload ? { payload } : { value });

const SETUPS = {
  plain: { namespaces: ["/", "/chat"] },
  recovery: { namespaces: ["/", "/chat"], recovery: 120_000 },
  "stream-count": { namespaces: ["/", "/chat", "/orders", "/notifications", "/dashboard", "/ü😀"], adapter: { streamCount: 4 } },
  "only-plaintext": { namespaces: ["/"], adapter: { onlyPlaintext: true } },
};

async function record(generation) {
  const recorder = new Recorder(`streams-${generation}`);
  const spy = await Spy.start();
  for (const [setup, options] of Object.entries(SETUPS)) {
    const cases = CASES.filter(({ server = "plain", only = generation }) => server === setup && only === generation);
    if (cases.length > 0) {
      await spy.redis.flushall();
      await recordSetup(recorder, spy, generation, setup, options, cases);
    }
  }
  spy.stop();
  return recorder.lines;
}

async function recordSetup(recorder, spy, generation, setup, options, cases) {
  // No heartbeats but the first ones: they would come at random.
  const adapter = { heartbeatInterval: 3_600_000, heartbeatTimeout: 7_200_000, ...options.adapter };
  const start = () => startServer({ generation, client: "redis4", url, ...options, adapter });
  const a = await start();
  const ofA = ({ message }) => Object.values(a.uids).includes(message.uid);
  const heartbeats = generation === "0.2" ? await spy.take("start", 4, (one) => ofA(one) && isHeartbeat(one)) : [];
  const b = await start();
  await allKnown([a, b]);
  if (setup === "plain" && generation === "0.2") {
    recorder.add("start", "a node starts: twice in each namespace", heartbeats.filter(({ message }) => message.nsp === "/"));
    const answers = await spy.take("start-answer", 1, (one) => ofA(one) && one.message.type === HEARTBEAT && one.message.nsp === "/chat");
    recorder.add("start-answer", "a node answers the start of another", answers.slice(0, 1));
  }

  const clients = new Clients(b.port);
  const nsp = options.namespaces.includes("/chat") ? "/chat" : "/";
  const { sid, pid } = await clients.connect({
    nsp, auth: { token: "secret" }, query: { version: "ü" }, headers: { "x-tenant": "one", cookie: "a=b" },
  });
  const client = clients.get(sid);
  for (const { name, what, types, keep = types, run } of cases) {
    await run({ a, b, sid, client });
    const messages = await spy.take(name, types.length, (one) => !isProbe(one) && !isHeartbeat(one));
    const found = messages.map(({ message }) => message.type).sort((x, y) => x - y);
    if (`${found}` !== `${[...types].sort((x, y) => x - y)}`) {
      throw new Error(`${name}: types ${found} instead of ${types}`);
    }
    recorder.add(name, what, messages.filter(({ message }) => keep.includes(message.type)));
  }
  if (setup === "recovery") {
    await recordSession(recorder, spy, b, clients, sid, pid);
  }
  clients.close();
  for (const server of [b, a]) {
    await server.io.close();
    await server.client.quit();
    server.control.disconnect();
  }
  const farewells = await spy.take("close", generation === "0.2" ? 4 : 0, ({ message }) => message.type === 13);
  if (setup === "plain") {
    recorder.add("close", "a node closes", farewells.filter((one) => ofA(one) && one.message.nsp === "/"));
  }
}

// The stored session of a client whose connection broke. Not a message: transport "session", a key and its value.
async function recordSession(recorder, spy, server, clients, sid, pid) {
  const socket = server.io.of("/chat").sockets.get(sid);
  await socket.join(["room1", "ü"]);
  socket.data = { user: 7, avatar: Buffer.from([1, 2, 3]), since: new Date("2020-02-03T04:05:06.789Z") };
  clients.drop(sid);
  const key = `sio:session:${pid}`;
  const value = await until("the session", () => spy.redis.get(key));
  const message = toJson(decode(Buffer.from(value, "base64")));
  const what = `a stored session; expires after ${120_000} ms`;
  recorder.lines.push({ dialect: recorder.dialect, transport: "session", key, name: "session", what, value, message });
}

async function allKnown(servers) {
  const adapters = servers.flatMap(({ io }) => [...io._nsps.values()].map((nsp) => nsp.adapter));
  await until("the servers to know each other", async () => {
    const counts = await Promise.all(adapters.map((adapter) => adapter.serverCount()));
    return counts.every((count) => count === servers.length);
  });
}

const redis = new Redis(url);
if ((await redis.dbsize()) > 0) {
  console.error(`${url} is not empty, and recording would wipe it`);
  process.exit(2);
}
mkdirSync(directory, { recursive: true });
for (const generation of ["0.2", "0.3"]) {
  const lines = await record(generation);
  const file = `${directory}/streams-${generation}.jsonl`;
  writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  console.log(`${file}: ${lines.length} vectors`);
}
exit(0);
