// What is recorded: every case is one thing that an application does, and the types of the messages that come of it.
//
// A case: {name, what, types, run({a, b, sid}), only?, server?}. `a` acts; `b` answers and has one client, `sid`, in "/chat".

const BROADCAST = 3, JOIN = 4, LEAVE = 5, DISCONNECT = 6, FETCH = 7, FETCH_RESPONSE = 8, SERVER_SIDE = 9;
const SERVER_SIDE_RESPONSE = 10, CLIENT_COUNT = 11, ACK = 12;

const bytes = Buffer.from([0, 1, 2, 253, 254, 255]);
const times = (count, make) => Array.from({ length: count }, (_, i) => make(i));
const nested = (depth) => times(depth, (i) => i).reduce((inner, i) => ({ [`level${i}`]: inner }), "bottom");
// A method of the class, not of the object: MessagePack throws at a function among an object's own values.
class BinaryInJson {
  kept = 1;
  toJSON() {
    return bytes;
  }
}
const own = (key, value) => Object.defineProperty({}, key, { value, enumerable: true });

// -- broadcasts: arguments -----------------------------------------------------------------------------------------

const JSON_ARGS = {
  simple: ["text, number, object", [1, "two", { three: [3] }]],
  "no-args": ["an event without arguments", []],
  scalars: ["booleans, null, empty text, list and object", [true, false, null, "", [], {}]],
  unicode: ["text beyond ASCII, control characters, quotes", ["ü€😀\u0000\u001f\u2028\"\\/", { "ключ": "値" }]],
  surrogate: ["half of a surrogate pair", ["\ud83d", "a\udc00b"]],
  undefined: ["undefined as argument, in a list, as a value", [undefined, [undefined, 1], { gone: undefined, kept: null }]],
  numbers: ["edges of what a number can be", [0, -0, 1.5, -1e-7, 1e21, 2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 53, 2 ** 64]],
  "not-finite": ["NaN and the infinities", [NaN, Infinity, -Infinity]],
  dates: ["dates, the last one invalid", [new Date("2020-02-03T04:05:06.789Z"), { at: new Date(0) }, new Date(NaN)]],
  "to-json": ["an object with its own idea of JSON", [{ toJSON: () => ({ as: "json" }), hidden: 1 }]],
  collections: ["a Map, a Set, an Error, a RegExp, a boxed text", [new Map([["a", 1]]), new Set([1]), new Error("e"), /r/, new String("s")]],
  deep: ["60 levels", [nested(60)]],
  long: ["long text, a long list, an object of many keys", ["x".repeat(300), times(20, (i) => i), Object.fromEntries(times(20, (i) => [`k${i}`, i]))]],
  "odd-keys": ["keys that look like something else", [{ 1: "one", "": "empty", "a.b": "dot" }, own("__proto__", 1)]],
  placeholder: ["an object that looks like the placeholder of a binary", [{ _placeholder: true, num: 0 }]],
};

const BINARY_ARGS = {
  simple: ["a Buffer", [bytes]],
  nested: ["Buffers deep inside", [{ a: [{ b: bytes }] }, [[bytes]], "text"]],
  empty: ["an empty Buffer", [Buffer.alloc(0)]],
  long: ["a Buffer of 300 bytes", [Buffer.alloc(300, 7)]],
  views: ["Uint8Array, part of a Buffer, Float32Array, DataView", [new Uint8Array([1, 2]), bytes.subarray(1, 3), new Float32Array([1.5]), new DataView(new ArrayBuffer(3))]],
  "array-buffer": ["an ArrayBuffer, which loses its bytes", [new Uint8Array([1, 2, 3]).buffer]],
  scalars: ["booleans, null, undefined, empties", [bytes, true, false, null, undefined, "", [], {}, { gone: undefined }]],
  unicode: ["text beyond ASCII", [bytes, "ü€😀\u0000\"\\", { "ключ": "値" }]],
  surrogate: ["half of a surrogate pair", [bytes, "\ud83d", "a\udc00b"]],
  integers: [
    "every width of an integer",
    [bytes, 0, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53 - 1)],
  ],
  floats: ["floats, what is beyond the safe integers, what is not finite", [bytes, 0.5, -0, 2 ** 53, -(2 ** 53), 2 ** 64, 1e300, NaN, Infinity, -Infinity]],
  dates: [
    "dates of 32, 64 and 96 bits, and an invalid one",
    [bytes, new Date("2020-02-03T04:05:06.000Z"), new Date("2020-02-03T04:05:06.789Z"), new Date("1960-01-01T00:00:00.001Z"), new Date("2600-01-01T00:00:00.000Z"), new Date(NaN)],
  ],
  lengths: ["text at the edges of its widths", [bytes, ...[31, 32, 255, 256].map((n) => "x".repeat(n))]],
  containers: ["lists and objects at the edges of their widths", [bytes, times(15, (i) => i), times(16, (i) => i), ...[15, 16].map((n) => Object.fromEntries(times(n, (i) => [`k${i}`, i])))]],
  "to-json": ["an object whose JSON is binary: found, but not called", [new BinaryInJson()]],
  collections: ["a Map, a Set, an Error, a boxed number", [bytes, new Map([["a", 1]]), new Set([1]), new Error("e"), Object(1)]],
  deep: ["60 levels", [bytes, nested(60)]],
};

function broadcastOf(format, argsByName) {
  return Object.entries(argsByName).map(([name, [what, args]]) => ({
    name: `broadcast-${format}-${name}`,
    what: `broadcast: ${what}`,
    types: [BROADCAST],
    run: ({ a }) => a.io.emit("event", ...args),
  }));
}

// -- broadcasts: whom for ------------------------------------------------------------------------------------------

const TARGETS = {
  room: ["to one room", (io) => io.to("room1")],
  rooms: ["to two rooms, one of them twice", (io) => io.to(["room1", "room2"]).to("room1")],
  except: ["to all but a room", (io) => io.except("room1")],
  "rooms-except": ["to rooms but not to others", (io) => io.to("room1").except(["room2", "room3"])],
  "odd-rooms": ["to rooms of odd names, one of them a number", (io) => io.to(["", "ü 😀", "a#b/c", 5])],
  volatile: ["volatile", (io) => io.volatile],
  "compress-on": ["with compression", (io) => io.compress(true)],
  "compress-off": ["without compression", (io) => io.compress(false)],
  timeout: ["with a timeout, without acknowledgements", (io) => io.timeout(1_500)],
  flags: ["with every flag", (io) => io.to("room1").volatile.compress(false).timeout(1_500)],
};

function broadcastTo(nsp, format, arg) {
  const suffix = nsp === "/" ? "" : nsp.replace("/", "-");
  return Object.entries(TARGETS).map(([name, [what, select]]) => ({
    name: `broadcast-${format}-to-${name}${suffix}`,
    what: `broadcast ${what}`,
    types: [BROADCAST],
    run: ({ a }) => select(a.io.of(nsp)).emit("event", arg),
  }));
}

// -- sockets -------------------------------------------------------------------------------------------------------

const remote = async ({ a, sid }) => (await a.io.of("/chat").in(sid).fetchSockets())[0];

const SOCKETS = [
  { name: "join", what: "everyone joins one room", types: [JOIN], run: ({ a }) => a.io.socketsJoin("room1") },
  { name: "join-rooms", what: "a room but not another joins two rooms", types: [JOIN], run: ({ a }) => a.io.of("/chat").in("none").except("other").socketsJoin(["r1", "ü"]) },
  { name: "join-remote", what: "one remote socket joins", types: [JOIN, FETCH, FETCH_RESPONSE], keep: [JOIN], run: async (x) => (await remote(x)).join("room9") },
  { name: "leave", what: "everyone leaves one room", types: [LEAVE], run: ({ a }) => a.io.socketsLeave("room1") },
  { name: "leave-rooms", what: "a room leaves two rooms", types: [LEAVE], run: ({ a }) => a.io.of("/chat").in("none").socketsLeave(["r1", "r2"]) },
  { name: "leave-remote", what: "one remote socket leaves", types: [LEAVE, FETCH, FETCH_RESPONSE], keep: [LEAVE], run: async (x) => (await remote(x)).leave("room9") },
  { name: "disconnect", what: "a room is disconnected", types: [DISCONNECT], run: ({ a }) => a.io.in("none").disconnectSockets() },
  { name: "disconnect-close", what: "a room is disconnected, and its connections closed", types: [DISCONNECT], run: ({ a }) => a.io.of("/chat").in("none").except("other").disconnectSockets(true) },
  { name: "emit-remote", what: "an event to one remote socket", types: [BROADCAST, FETCH, FETCH_RESPONSE], keep: [BROADCAST], run: async (x) => (await remote(x)).emit("event", 1) },
];

const DATA = {
  plain: ["with data", { user: { id: 7, name: "Ann" } }],
  binary: ["with binary data", { avatar: bytes, since: new Date("2020-02-03T04:05:06.789Z"), gone: undefined }],
};

const FETCH_CASES = [
  { name: "fetch-nobody", what: "the sockets of an empty room", types: [FETCH, FETCH_RESPONSE], run: ({ a }) => a.io.in("none").fetchSockets() },
  { name: "fetch-timeout", what: "sockets, with options and a timeout", types: [FETCH, FETCH_RESPONSE], run: ({ a }) => a.io.of("/chat").in(["none", "r2"]).except("r3").timeout(1_500).fetchSockets() },
  ...Object.entries(DATA).map(([name, [what, data]]) => ({
    name: `fetch-${name}`,
    what: `all sockets, one of them ${what}`,
    types: [FETCH, FETCH_RESPONSE],
    run: ({ a, b, sid }) => {
      b.io.of("/chat").sockets.get(sid).data = data;
      return a.io.of("/chat").fetchSockets();
    },
  })),
];

// -- answers -------------------------------------------------------------------------------------------------------

const ANSWERS = {
  json: ["an object", { answer: [42, "ü", null] }],
  text: ["a text", "yes"],
  undefined: ["nothing", undefined],
  null: ["null", null],
  date: ["a date", new Date("2020-02-03T04:05:06.789Z")],
  binary: ["binary", { file: bytes, size: 6 }],
};

const ACK_CASES = [
  { name: "ack-nobody", what: "acknowledgements wanted of an empty room", types: [BROADCAST, CLIENT_COUNT], run: ({ a }) => a.io.in("none").timeout(1_500).emitWithAck("event", 1) },
  { name: "ack-binary-request", what: "acknowledgements wanted for a binary event", types: [BROADCAST, CLIENT_COUNT, ACK], run: (x) => acknowledged(x, "ok", bytes) },
  ...Object.entries(ANSWERS).map(([name, [what, answer]]) => ({
    name: `ack-${name}`,
    what: `a client acknowledges with ${what}`,
    types: [BROADCAST, CLIENT_COUNT, ACK],
    run: (x) => acknowledged(x, answer, "question"),
  })),
  {
    name: "ack-remote",
    what: "an acknowledgement of one remote socket",
    types: [BROADCAST, CLIENT_COUNT, ACK, FETCH, FETCH_RESPONSE],
    keep: [BROADCAST, CLIENT_COUNT, ACK],
    run: async (x) => {
      x.client.acks.set("event", { reply: "one" });
      const socket = await remote(x);
      await new Promise((resolve) => socket.timeout(1_500).emit("event", resolve));
    },
  },
];

function acknowledged({ a, client }, answer, argument) {
  client.acks.set("event", { reply: answer });
  return a.io.of("/chat").timeout(1_500).emitWithAck("event", argument);
}

const SERVER_SIDE_CASES = [
  { name: "server-side", what: "an event to the servers", types: [SERVER_SIDE], run: ({ a }) => a.io.serverSideEmit("event", 1, { two: null }, undefined) },
  { name: "server-side-binary", what: "a binary event to the servers", types: [SERVER_SIDE], run: ({ a }) => a.io.of("/chat").serverSideEmit("event", { file: bytes }) },
  { name: "server-side-date", what: "an event with a date to the servers", types: [SERVER_SIDE], run: ({ a }) => a.io.serverSideEmit("event", new Date("2020-02-03T04:05:06.000Z")) },
  ...Object.entries(ANSWERS).map(([name, [what, answer]]) => ({
    name: `server-side-ack-${name}`,
    what: `a server answers with ${what}`,
    types: [SERVER_SIDE, SERVER_SIDE_RESPONSE],
    run: async ({ a, b }) => {
      b.io.of("/chat").removeAllListeners("ask").on("ask", (_, callback) => callback(answer));
      await a.io.of("/chat").serverSideEmitWithAck("ask", 1);
    },
  })),
];

// -- what only one set-up does ---------------------------------------------------------------------------------------

const clientSocket = ({ b, sid }) => b.io.of("/chat").sockets.get(sid);

// With recovery on, what a server says to one of its own sockets lies on the stream, too.
const RECOVERY_CASES = [
  { name: "recovery-broadcast", what: "a broadcast with recovery on: the entry bears no offset", types: [BROADCAST], run: ({ a }) => a.io.of("/chat").emit("event", 1) },
  { name: "recovery-socket", what: "an event to one's own socket", types: [BROADCAST], run: (x) => clientSocket(x).emit("event", 1) },
  { name: "recovery-socket-ack", what: "the same with an acknowledgement: the packet has an id", types: [BROADCAST], run: (x) => clientSocket(x).emit("event", 1, () => {}) },
  { name: "recovery-socket-timeout", what: "the same with a timeout", types: [BROADCAST], run: (x) => clientSocket(x).timeout(1_500).emit("event", 1, () => {}) },
  { name: "recovery-socket-volatile", what: "a volatile event to one's own socket", types: [BROADCAST], run: (x) => clientSocket(x).volatile.emit("event", 1) },
  { name: "recovery-socket-binary", what: "a binary event to one's own socket", types: [BROADCAST], run: (x) => clientSocket(x).emit("event", bytes) },
].map((one) => ({ ...one, server: "recovery" }));

const SOCKET_CASES = [
  { name: "socket-broadcast", what: "a socket to all others", types: [BROADCAST], run: (x) => clientSocket(x).broadcast.emit("event", 1) },
  { name: "socket-to", what: "a socket to a room, itself left out", types: [BROADCAST], run: (x) => clientSocket(x).to("room1").emit("event", 1) },
];

const STREAM_COUNT_CASES = ["/", "/chat", "/orders", "/notifications", "/dashboard", "/ü😀"].map((nsp) => ({
  name: `stream-count-4-${nsp.slice(1) || "root"}`,
  what: `the stream of ${nsp} out of four`,
  types: [BROADCAST],
  only: "0.3",
  server: "stream-count",
  run: ({ a }) => a.io.of(nsp).emit("event", 1),
}));

const PLAINTEXT_CASES = [
  { name: "only-plaintext", what: "a Buffer under onlyPlaintext", types: [BROADCAST], only: "0.3", server: "only-plaintext", run: ({ a }) => a.io.emit("event", bytes) },
];

export const CASES = [
  ...broadcastOf("json", JSON_ARGS),
  ...broadcastOf("binary", BINARY_ARGS),
  ...broadcastTo("/", "json", 1),
  ...broadcastTo("/chat", "binary", bytes),
  ...SOCKETS,
  ...FETCH_CASES,
  ...ACK_CASES,
  ...SERVER_SIDE_CASES,
  ...SOCKET_CASES,
  ...RECOVERY_CASES,
  ...STREAM_COUNT_CASES,
  ...PLAINTEXT_CASES,
];
