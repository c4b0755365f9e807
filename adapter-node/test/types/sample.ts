// How an application in TypeScript uses the package: every option, and every event. It is compiled, and never run.

import { Server } from "socket.io";
import { createAdapter, type Dialect, type Notices, type Options, SioStreamsAdapter } from "sio-streams";

const dialects: Record<Dialect, true> = { "streams-0.2": true, "streams-0.3": true, bridge: true, sharded: true, classic: true };

// An option that is missing here is an error of the compiler.
const options: Required<Options> = {
  dialect: "bridge",
  url: "rediss://localhost:6379",
  also: ["localhost:6380"],
  cluster: true,
  sentinel: { name: "mymaster", url: "redis://user@localhost" } satisfies Required<NonNullable<Options["sentinel"]>>,
  password: "secret",
  tls: { ca: "PEM", cert: "PEM", key: "PEM" } satisfies Required<NonNullable<Options["tls"]>>,
  streamName: "socket.io",
  streamCount: 1,
  channelPrefix: "socket.io",
  key: "socket.io",
  useShardedPubSub: false,
  subscriptionMode: "dynamic-private",
  publishOnSpecificResponseChannel: false,
  maxLen: 10_000,
  readCount: 100,
  blockTimeInMs: 5_000,
  sessionKeyPrefix: "sio:session:",
  heartbeatInterval: 5_000,
  heartbeatTimeout: 10_000,
  onlyPlaintext: false,
  requestsTimeout: 5_000,
  limits: { inFlight: 1, inFlightBytes: 2, inFlightFor: 3, requests: 4 } satisfies Required<NonNullable<Options["limits"]>>,
};

const io = new Server(3000, { adapter: createAdapter(options), connectionStateRecovery: {} });
new Server({ adapter: createAdapter() });
new Server({ adapter: createAdapter({ dialect: Object.keys(dialects)[0] as Dialect, subscriptionMode: undefined }) });

const adapter = io.of("/").adapter as SioStreamsAdapter;
const uid: string = adapter.uid;
const rooms: Promise<Set<string>> = adapter.allRooms();
const servers: Promise<number> = adapter.serverCount();

// An event that is missing here, too.
const listeners: { [E in keyof Notices]: (notice: Notices[E]) => unknown } = {
  ready: (notice: {}) => notice,
  gap: ({ stream, after, until, lost }) => [stream.length, after.length, until.length, lost === null ? "some" : lost.toFixed()],
  rewound: ({ stream, cursor, last, lost }) => [stream.length, cursor.length, last.length, lost === null ? "some" : lost.toFixed()],
  skipped: ({ place, id, reason }) => [place.length, id?.length, reason.length],
  repeated: ({ stream, id, node }) => [stream.length, id.length, node.length],
  name_taken: ({ stream, id }) => [stream.length, id.length],
  node_up: ({ node }) => node.length,
  node_down: ({ node, reason }) => [node.length, reason === "closed" || reason === "silent"],
  link: ({ lane, up, reason }) => [lane.length, up === true, reason?.length],
  refused: ({ what, reason }) => [what.length, reason.length],
  failed: ({ what, error }) => [what.length, error.stack],
};
adapter.on("gap", listeners.gap).once("link", listeners.link).off("gap", listeners.gap);
// The listener's argument has the event's type without being told.
adapter.on("rewound", ({ lost }) => lost?.toFixed());
adapter.on("failed", ({ error }) => error.message);
adapter.once("node_down", ({ reason }) => reason satisfies "closed" | "silent");
// The events of rooms are those of the base class.
adapter.on("create-room", (room: string) => room);

// @ts-expect-error There is no such dialect.
createAdapter({ dialect: "streams-0.4" });
// @ts-expect-error There is no such option.
createAdapter({ streamname: "socket.io" });
// @ts-expect-error A URL is a text.
createAdapter({ url: new URL("redis://localhost") });
// @ts-expect-error A Redis client is no option.
createAdapter({ duplicate: () => {}, sendCommand: () => {} });
// @ts-expect-error The length is a number.
createAdapter({ maxLen: "10" });
// @ts-expect-error A sentinel has a name.
createAdapter({ sentinel: { url: "redis://localhost" } });
// @ts-expect-error There is no such limit.
createAdapter({ limits: { inflight: 1 } });
// @ts-expect-error Only `createAdapter` makes one.
new SioStreamsAdapter();
// @ts-expect-error What socket.io declares is known, too.
const wrong: string = adapter.serverCount();
// @ts-expect-error The event has no such member.
adapter.on("gap", ({ missing }) => missing);

export { rooms, servers, uid, wrong };
