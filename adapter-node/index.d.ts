import type { Adapter, Room } from "socket.io-adapter";

/** The servers that an adapter can talk to. */
export type Dialect = "streams-0.2" | "streams-0.3" | "bridge" | "sharded" | "classic";

export interface Options {
  /** Whom the adapter talks to. Default: `"streams-0.3"`. */
  dialect?: Dialect;
  /** `redis://`, `rediss://` (TLS) or `unix://`; the first sentinel with `sentinel`. Default: `redis://127.0.0.1:6379`. */
  url?: string;
  /** Further servers of the cluster, or further sentinels, each as `host:port`. */
  also?: string[];
  /** `url` belongs to a Redis Cluster. */
  cluster?: boolean;
  /** `url` is that of a sentinel. `name` is the master's; `url` has user, password, database and TLS of the servers. */
  sentinel?: { name: string; url?: string };
  /** The password, in place of one in the URL. */
  password?: string;
  /** Contents of PEM files. `ca` is trusted in place of the system's certificates. */
  tls?: { ca?: string; cert?: string; key?: string };

  /** The stream, or the first part of the names of streams. Default: `"socket.io"`. */
  streamName?: string;
  /** The number of streams. Default: 1. */
  streamCount?: number;
  /** The first part of the channels' names. Default: `"socket.io"`. */
  channelPrefix?: string;
  /** The same, as the classic adapter calls it. */
  key?: string;
  /** Sharded Pub/Sub, which needs Redis 7. Default: false. */
  useShardedPubSub?: boolean;
  /** The rooms that have channels, in the dialect `sharded`. Default: `"dynamic"`. */
  subscriptionMode?: "static" | "dynamic" | "dynamic-private";
  /** Answers of the dialect `classic` go to the asking server alone. Default: false. */
  publishOnSpecificResponseChannel?: boolean;
  /** The approximate number of entries that a stream keeps. Default: 10 000. */
  maxLen?: number;
  /** The number of entries of one read. Default: 100. */
  readCount?: number;
  /** The time for which a read waits. Default: 5 000. */
  blockTimeInMs?: number;
  /** The first part of the keys of sessions. Default: `"sio:session:"`. */
  sessionKeyPrefix?: string;
  /** The time between signs of life, in the dialects `streams-0.2` and `bridge`. Default: 5 000. */
  heartbeatInterval?: number;
  /** The time of silence after which a server counts as gone. Default: 10 000. */
  heartbeatTimeout?: number;
  /** Nothing that is broadcast holds binary values, so they need not be looked for. Default: false. */
  onlyPlaintext?: boolean;
  /** The time that requests wait for answers. Default: 5 000. */
  requestsTimeout?: number;
  /** What may wait for Redis. What exceeds it is refused: see the event `refused`. */
  limits?: {
    /** Default: 1 000 000 messages. */
    inFlight?: number;
    /** Default: 256 MiB. */
    inFlightBytes?: number;
    /** In milliseconds. Default: 60 000. */
    inFlightFor?: number;
    /** Default: 10 000 open requests. */
    requests?: number;
  };
}

/**
 * What the adapter tells, beside the events of rooms: `io.of("/").adapter.on("gap", …)`. What concerns the whole
 * server is told by the adapters of all namespaces.
 */
export interface Notices {
  /** The namespace hears everything from now on. */
  ready: {};
  /** Entries were trimmed before this server had read them. `lost` is null if their number is not known. */
  gap: { stream: string; after: string; until: string; lost: number | null };
  /** Redis has lost entries that this server had read. */
  rewound: { stream: string; cursor: string; last: string; lost: number | null };
  /** Something came that is no message. */
  skipped: { place: string; id: string | null; reason: string };
  /** An entry came twice. It has been passed over. */
  repeated: { stream: string; id: string; node: string };
  /** Another server has this one's name. */
  name_taken: { stream: string; id: string };
  node_up: { node: string };
  node_down: { node: string; reason: "closed" | "silent" };
  /** A connection to Redis was lost, or is there again. */
  link: { lane: string; up: boolean; reason: string | null };
  /** Something was not published, or may not have been. Without a listener it becomes a warning of the process. */
  refused: { what: string; reason: string };
  /** A listener has thrown, or a value can't be encoded. Without a listener it becomes a warning of the process. */
  failed: { what: string; error: Error };
}

export declare class SioStreamsAdapter extends Adapter {
  private constructor();
  /** The server's name in the cluster. */
  get uid(): string;
  /** The names of the rooms of all servers. It works in the dialect `classic`, as with the official adapter. */
  allRooms(): Promise<Set<Room>>;

  /** The notices, and the events of rooms: see the base class. */
  on<E extends keyof Notices>(event: E, listener: (notice: Notices[E]) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
  once<E extends keyof Notices>(event: E, listener: (notice: Notices[E]) => void): this;
  once(event: string | symbol, listener: (...args: any[]) => void): this;
  off<E extends keyof Notices>(event: E, listener: (notice: Notices[E]) => void): this;
  off(event: string | symbol, listener: (...args: any[]) => void): this;
  addListener<E extends keyof Notices>(event: E, listener: (notice: Notices[E]) => void): this;
  addListener(event: string | symbol, listener: (...args: any[]) => void): this;
  removeListener<E extends keyof Notices>(event: E, listener: (notice: Notices[E]) => void): this;
  removeListener(event: string | symbol, listener: (...args: any[]) => void): this;
}

/** Makes the adapter of a server: `new Server({ adapter: createAdapter({ url }) })`. */
export declare function createAdapter(options?: Options): (nsp: any) => SioStreamsAdapter;
