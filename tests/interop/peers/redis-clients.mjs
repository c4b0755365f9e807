// The three Redis clients that the adapters support, behind what the peer itself needs of them.

import { createClient as createRedis4, createCluster as createRedis4Cluster } from "redis";
import { createClient as createRedis5, createCluster as createRedis5Cluster } from "redis5";
import { Cluster, Redis } from "ioredis";

// Connects a client as an application would, to a server or to the cluster that it belongs to. The name shows in CLIENT LIST; duplicates of the
// client inherit it.
export async function connect(kind, url, name, cluster = false) {
  if (kind === "ioredis") {
    const client = cluster
      ? new Cluster([hostOf(url)], { redisOptions: { connectionName: name }, shardedSubscribers: true })
      : new Redis(url, { connectionName: name, lazyConnect: false });
    client.on("error", () => {});
    await new Promise((resolve) => client.once("ready", resolve));
    return client;
  }
  const client = create(kind, url, name, cluster);
  client.on("error", () => {});
  await client.connect();
  return client;
}

function create(kind, url, name, cluster) {
  const [createClient, createCluster] = {
    redis4: [createRedis4, createRedis4Cluster],
    redis5: [createRedis5, createRedis5Cluster],
  }[kind] ?? [];
  if (createClient === undefined) {
    throw new Error(`no such client: ${kind}`);
  }
  return cluster ? createCluster({ rootNodes: [{ url }], defaults: { name } }) : createClient({ url, name });
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
export async function connectControl(url, cluster = false) {
  const connectionName = "sio-peer-control";
  const client = cluster
    ? new Cluster([hostOf(url)], { redisOptions: { connectionName } })
    : new Redis(url, { connectionName });
  client.on("error", () => {});
  await new Promise((resolve) => client.once("ready", resolve));
  return client;
}

// The servers themselves: what is asked of each of them.
export function serversOf(control) {
  return control instanceof Cluster ? control.nodes("all") : [control];
}

export function disconnect(client) {
  return client.disconnect();
}

function hostOf(url) {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
