// The three Redis clients that the adapters support, behind what the peer itself needs of them.

import { createClient as createRedis4 } from "redis";
import { createClient as createRedis5 } from "redis5";
import { Redis } from "ioredis";

// Connects a client as an application would. The name shows in CLIENT LIST; duplicates of the client inherit it.
export async function connect(kind, url, name) {
  if (kind === "ioredis") {
    const client = new Redis(url, { connectionName: name, lazyConnect: false });
    client.on("error", () => {});
    await new Promise((resolve) => client.once("ready", resolve));
    return client;
  }
  const create = { redis4: createRedis4, redis5: createRedis5 }[kind];
  if (create === undefined) {
    throw new Error(`no such client: ${kind}`);
  }
  const client = create({ url, name });
  client.on("error", () => {});
  await client.connect();
  return client;
}

// A second client like the first, which subscribes: as the Pub/Sub adapters want it.
export async function duplicate(client) {
  const copy = client.duplicate();
  copy.on("error", () => {});
  if (copy.status === undefined) {
    await copy.connect();
  } else if (copy.status !== "ready") {
    await new Promise((resolve) => copy.once("ready", resolve));
  }
  return copy;
}

// A connection of the peer's own, to look at the server and to send probes.
export async function connectControl(url) {
  const client = new Redis(url, { connectionName: "sio-peer-control" });
  client.on("error", () => {});
  await new Promise((resolve) => client.once("ready", resolve));
  return client;
}

export function disconnect(client) {
  return client.disconnect();
}
