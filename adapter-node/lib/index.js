"use strict";

const { SioStreamsAdapter } = require("./adapter.js");
const { ClusterNode } = require("./node.js");
const { readOptions } = require("./options.js");

// Returns what `new Server({ adapter })` wants. All namespaces of the server share one node of the cluster, which
// is started for the first of them, and closed with the last one.
function createAdapter(options) {
  const settings = readOptions(options);
  const names = new Set();
  let node;
  // socket.io calls it with `new`.
  return function adapterOf(nsp) {
    if (names.has(nsp.name)) {
      throw new Error(`the namespace ${nsp.name} has an adapter already: call createAdapter() for each server`);
    }
    const recovery = settings.hasStreams ? nsp.server?.opts?.connectionStateRecovery : undefined;
    if (node === undefined || node.isClosed) {
      node = new ClusterNode({ options: { config: config(settings, recovery) }, connection: settings.connection });
    }
    names.add(nsp.name);
    return new SioStreamsAdapter(nsp, node, { ...settings, isInStreamOrder: Boolean(recovery) }, () => names.delete(nsp.name));
  };
}

function config({ config, sessionKeyPrefix }, recovery) {
  if (!recovery) {
    return config;
  }
  return {
    ...config,
    local_delivery: "stream-order",
    recovery: {
      session_key_prefix: sessionKeyPrefix,
      max_disconnection_duration: recovery.maxDisconnectionDuration ?? 120_000,
    },
  };
}

module.exports = { createAdapter, SioStreamsAdapter };
