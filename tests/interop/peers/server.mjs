// A real Socket.IO server with a real adapter, set up as an application does it.

import { createServer } from "node:http";
import { instrument } from "@socket.io/admin-ui";
import { Server } from "socket.io";
import * as streams02 from "streams-0.2";
import * as streams03 from "streams-0.3";
import { createAdapter as createClassic, createShardedAdapter } from "@socket.io/redis-adapter";
import { connect, connectControl, duplicate } from "./redis-clients.mjs";
import { polledStreams, probeArrives, readersBlocked, streamOf, subscribed } from "./ready.mjs";

// By generation: how an application makes the adapter of its Redis client.
const ADAPTERS = {
  "0.2": async (client, options) => streams02.createAdapter(client, options),
  "0.3": async (client, options) => streams03.createAdapter(client, options),
  classic: async (client, options) => createClassic(client, await duplicate(client), options),
  sharded: async (client, options) => createShardedAdapter(client, await duplicate(client), options),
};

// config: {generation, client, url, cluster, adapter, namespaces, recovery, server, adminUi, probe}
export async function startServer(config) {
  const { generation, client: kind = "redis4", url, cluster, adapter: options = {}, namespaces = ["/"], recovery, probe = true } = config;
  const createAdapter = ADAPTERS[generation];
  if (createAdapter === undefined) {
    throw new Error(`no such generation: ${generation}`);
  }
  if (generation === "0.2" && kind === "redis5") {
    throw new Error("the adapter 0.2.3 cannot read with redis 5, which has no commandOptions()");
  }
  const name = `sio-peer-${process.pid}`;
  const control = await connectControl(url, cluster);
  const client = await connect(kind, url, name, cluster);

  const httpServer = createServer();
  const io = new Server(httpServer, {
    adapter: await createAdapter(client, options),
    ...recoveryOptions(recovery),
    ...config.server,
  });
  for (const nsp of namespaces) {
    io.of(nsp);
  }
  if (config.adminUi) {
    // It is in its namespace, which is among the others.
    instrument(io, { auth: false, mode: "development", serverId: config.adminUi });
  }
  await new Promise((resolve) => httpServer.listen(0, "127.0.0.1", resolve));

  const adapters = [...new Set(["/", ...namespaces])].map((nsp) => io.of(nsp).adapter);
  if (generation !== "0.2") {
    await subscribed(control, generation, options, adapters);
  }
  const streams = polledStreams(generation, options);
  await readersBlocked(control, name, streams.length);
  if (probe) {
    for (const stream of streams) {
      // Any namespace will do: an entry is handed to its adapter whatever stream it lies on.
      await probeArrives(control, stream, adapters[0]);
    }
  }
  return {
    io,
    control,
    client,
    port: httpServer.address().port,
    uids: Object.fromEntries(adapters.map((adapter) => [adapter.nsp.name, adapter.uid])),
    streams: Object.fromEntries(adapters.map(({ nsp }) => [nsp.name, streamOf(generation, options, nsp.name)])),
  };
}

function recoveryOptions(recovery) {
  if (!recovery) {
    return {};
  }
  return { connectionStateRecovery: recovery === true ? {} : { maxDisconnectionDuration: recovery } };
}
