// What the real adapters do with a message: to whom they send what, as the client's real parser reads it, who joins and leaves, and so on.
//
// The adapters run on Redis clients that do nothing. The sockets are real as far as rooms are concerned.

import { ExtData } from "@msgpack/msgpack";
import { Decoder, Encoder } from "socket.io-parser";
import redisAdapter from "@socket.io/redis-adapter";
import notepack from "notepack.io";
import { Socket } from "socket.io";
import * as streams02 from "streams-0.2";
import * as streams03 from "streams-0.3";
import { written } from "./written.mjs";

// The same as in tests/interop/tests/decoders/shapes.rs.
const SOCKETS = { s1: ["r1", "a"], s2: ["r2", "b"], s3: ["r1", "r2"] };
const OFFSET = "7-7";

const never = new Promise(() => {});

// A value as it goes through JSON, where binary values stay, and `kept` as well.
function throughJson(value, kept) {
  if (value === undefined || (typeof value === "number" && !Number.isFinite(value))) {
    return null;
  }
  if (typeof value === "number") {
    return value + 0;
  }
  if (value === null || typeof value !== "object" || value instanceof Date || (kept && value instanceof kept)) {
    return value;
  }
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map((inner) => throughJson(inner, kept));
  }
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => [key, throughJson(inner, kept)]));
}

// What a client gets by these frames, or what becomes of it. `meant`: what the server sent, if that is known.
function client([text, ...attachments], meant) {
  // As many binary values as one likes: a limit of some clients only.
  const decoder = new Decoder({ maxAttachments: Infinity });
  const packets = [];
  decoder.on("decoded", (packet) => packets.push(packet));
  try {
    [text, ...attachments].forEach((frame) => decoder.add(frame));
  } catch (error) {
    return `HARM cut off: ${error.message}`;
  }
  if (packets.length !== 1 || packets[0].type !== 2 || !Array.isArray(packets[0].data)) {
    return "HARM no event";
  }
  const data = written(packets[0].data);
  if (meant && written(throughJson(meant.data)) !== data) {
    return "HARM misread";
  }
  if (meant && Number(meant.id ?? NaN) !== packets[0].id && `${meant.id ?? ""}` !== `${packets[0].id ?? ""}`) {
    return "HARM an id that nobody gave";
  }
  return `gets ${packets[0].nsp} ${packets[0].id ?? "-"} ${data}`;
}

export function clientsGet({ text, attachments }) {
  return client([text, ...attachments.map((base64) => Buffer.from(base64, "base64"))]);
}

function fakeRedis() {
  const redis = {
    listeners: [],
    on: () => redis,
    off: () => redis,
    options: {},
    listenerCount: () => 0,
    duplicate: () => redis,
    connect: async () => {},
    disconnect: () => {},
    sSubscribe: () => {},
    sUnsubscribe: () => {},
    pSubscribe: () => {},
    pUnsubscribe: () => {},
    subscribe: (_channels, listener) => redis.listeners.push(listener),
    unsubscribe: () => {},
    xRead: () => never,
    xAdd: async () => "1-1",
    publish: async () => 1,
    sPublish: async () => 1,
  };
  return redis;
}

function namespace(recovery, effects) {
  const nsp = {
    name: "/",
    sockets: new Map(),
    server: { encoder: new Encoder(), opts: recovery ? { connectionStateRecovery: { maxDisconnectionDuration: 1000 } } : {} },
    _ids: 0,
    _onServerSideEmit: (packet) => {
      const emit = (...args) => {
        const asks = typeof args.at(-1) === "function";
        effects.push(`emit ${asks} ${written(throughJson(asks ? args.slice(0, -1) : args, ExtData))}`);
      };
      emit.apply(nsp, packet);
    },
  };
  return nsp;
}

function populate(nsp, adapter, effects) {
  for (const [id, rooms] of Object.entries(SOCKETS)) {
    const socket = Object.create(Socket.prototype);
    let sent;
    Object.assign(socket, {
      adapter,
      id,
      nsp,
      acks: new Map(),
      handshake: {},
      data: {},
      client: { writeToEngine: (frames) => effects.push(`${id} ${client(frames, sent)}`) },
      notifyOutgoingListeners: (packet) => {
        sent = packet;
      },
      disconnect: (close) => effects.push(`${id} disconnected ${Boolean(close)}`),
    });
    nsp.sockets.set(id, socket);
    adapter.addAll(id, new Set([id, ...rooms]));
  }
  adapter.on("join-room", (room, id) => effects.push(`${id} joins ${name(room)}`));
  adapter.on("leave-room", (room, id) => effects.push(`${id} leaves ${name(room)}`));
}

// An object is one of a kind; all others go by their text.
function name(value) {
  return written(typeof value === "object" && value !== null ? "[object Object]" : String(value));
}

function answered(effects, data) {
  const what = data.clientCount ?? data.sockets?.map((socket) => socket.id ?? socket).sort().join() ?? data.rooms?.length ?? "";
  effects.push(`answer ${name(data.requestId)} ${what}`.trim());
}

// Each makes an adapter for a namespace and gives the function that takes a message.
const dialects = {
  classic: (nsp) => {
    const adapter = redisAdapter.createAdapter(fakeRedis(), fakeRedis())(nsp);
    return [adapter, (bytes) => adapter.onmessage(null, Buffer.from("socket.io#/#"), bytes)];
  },
  request: (nsp, effects) => {
    const adapter = redisAdapter.createAdapter(fakeRedis(), fakeRedis())(nsp);
    adapter.publishResponse = (_request, response) => {
      const data = response[0] === "{" ? JSON.parse(response) : notepack.decode(response);
      answered(effects, data);
    };
    return [adapter, (bytes) => adapter.onrequest(Buffer.from("socket.io-request#/#"), bytes)];
  },
  sharded: (nsp, effects) => {
    const adapter = redisAdapter.createShardedAdapter(fakeRedis(), fakeRedis(), {})(nsp);
    adapter.publishResponse = (_uid, { data }) => answered(effects, data);
    return [adapter, (bytes) => adapter.onRawMessage(bytes, Buffer.from("socket.io#/#"))];
  },
  push03: (nsp, effects) => {
    const redis = fakeRedis();
    const adapter = streams03.createAdapter(redis, {})(nsp);
    adapter.publishResponse = (_uid, { data }) => answered(effects, data);
    return [
      adapter,
      async (bytes) => {
        while (redis.listeners.length === 0) {
          await new Promise(setImmediate);
        }
        redis.listeners[0](bytes);
      },
    ];
  },
};
for (const [name, { createAdapter }] of Object.entries({ entry02: streams02, entry03: streams03 })) {
  dialects[name] = (nsp, effects) => {
    const adapter = createAdapter(fakeRedis(), { heartbeatInterval: 1e8, heartbeatTimeout: 1e9 })(nsp);
    adapter.publishResponse = (_uid, { data }) => answered(effects, data);
    // The type as a text of two characters stands before the data.
    return [
      adapter,
      (bytes) => {
        const text = bytes.toString("utf8");
        adapter.onRawMessage({ uid: "u", nsp: "/", type: text.slice(0, 2).trim(), data: text.slice(2) }, OFFSET);
      },
    ];
  };
}

let rejected;
process.on("unhandledRejection", (reason) => {
  rejected = reason;
});

export async function does(dialect, bytes) {
  const effects = [];
  const nsp = namespace(dialect.startsWith("entry"), effects);
  const [adapter, take] = dialects[dialect](nsp, effects);
  populate(nsp, adapter, effects);
  rejected = undefined;
  try {
    await take(bytes);
    // Some answers take a turn or two.
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    if (rejected) {
      throw rejected;
    }
  } catch (error) {
    effects.push(`throws ${error.message.split("\n")[0]}`);
  } finally {
    adapter.close?.();
  }
  return [...new Set(effects)].sort().join("; ");
}
