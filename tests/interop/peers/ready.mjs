// Finds out when an adapter really reads its streams and is subscribed. By conditions, never by a delay.

import { setTimeout as sleep } from "node:timers/promises";
import { serversOf } from "./redis-clients.mjs";

const BOUND_MS = 60_000;
const EMITTER = "emitter";
const HEARTBEAT = "2";

// `what`: a text, or a function that makes it when the time is up.
export async function until(what, condition, boundMs = BOUND_MS) {
  const deadline = Date.now() + boundMs;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > deadline) {
      throw new Error(`timed out: ${typeof what === "function" ? what() : what}`);
    }
    await sleep(5);
  }
}

// The streams that a peer polls.
export function polledStreams(generation, options) {
  const { streamName = "socket.io", streamCount = 1 } = options;
  if (!generation.startsWith("0.")) {
    return [];
  }
  if (generation === "0.2" || streamCount === 1) {
    return [streamName];
  }
  return Array.from({ length: streamCount }, (_, i) => `${streamName}-${i}`);
}

// The stream to which a peer writes the messages of a namespace; not always one that is polled.
export function streamOf(generation, options, nsp) {
  const { streamName = "socket.io", streamCount = 1 } = options;
  if (generation === "0.2" || streamCount === 1) {
    return streamName;
  }
  let hash = 0;
  for (let i = 0; i < nsp.length; i++) {
    hash = (hash * 31 + nsp.charCodeAt(i)) | 0;
  }
  return `${streamName}-${hash % streamCount}`;
}

// Every stream has its own blocked XREAD.
export async function readersBlocked(control, name, count) {
  await until("a blocked XREAD on every stream", async () => {
    const lists = await Promise.all(serversOf(control).map((server) => server.client("LIST")));
    const blocked = lists.join("").split("\n").filter((line) => {
      const fields = Object.fromEntries(line.split(" ").map((pair) => pair.split(/=(.*)/s)));
      return fields.name === name && fields.cmd === "xread" && fields.flags?.includes("b");
    });
    return blocked.length >= count;
  });
}

// The private channel of every adapter has its subscriber. It is the last to be subscribed to.
export async function subscribed(control, generation, options, adapters) {
  const { channelPrefix = "socket.io", key = "socket.io", useShardedPubSub = false } = options;
  const prefix = generation === "classic" ? `${key}-response` : channelPrefix;
  const sharded = generation === "sharded" || useShardedPubSub;
  const channels = adapters.map((adapter) => `${prefix}#${adapter.nsp.name}#${adapter.uid}#`);
  await until("the subscriptions", async () => {
    const command = sharded ? "SHARDNUMSUB" : "NUMSUB";
    const counts = await Promise.all(serversOf(control).map((server) => server.call("PUBSUB", command, ...channels)));
    return channels.every((_, i) => counts.some((some) => Number(some[2 * i + 1]) > 0));
  });
}

// Writes harmless entries (a heartbeat of an emitter, which no node counts or answers) until one has arrived. From then
// on the reader has an entry's id as its cursor and not "$", so it misses nothing that is written between two XREADs.
export async function probeArrives(control, stream, adapter) {
  const id = `${adapter.uid}-${stream}`;
  let arrived = false;
  const onMessage = adapter.onMessage;
  adapter.onMessage = function (message, offset) {
    if (message.uid === EMITTER && message.data?.probe === id) {
      arrived = true;
      return;
    }
    return onMessage.call(this, message, offset);
  };
  try {
    await until(`a probe on ${stream}`, async () => {
      if (!arrived) {
        const data = JSON.stringify({ probe: id });
        await control.xadd(stream, "*", "uid", EMITTER, "nsp", adapter.nsp.name, "type", HEARTBEAT, "data", data);
        const deadline = Date.now() + 200;
        while (!arrived && Date.now() < deadline) {
          await sleep(2);
        }
      }
      return arrived;
    });
  } finally {
    delete adapter.onMessage;
  }
}
