// The checks of the official adapters' own test suites, in each dialect and each way of using it.
"use strict";

const { after, before } = require("node:test");
const { describeChecks } = require("./checks.js");
const { startRedis } = require("./support.js");

let redis;
before(async () => (redis = await startRedis()));
after(() => redis.stop());

const WAYS = {
  "streams 0.2": { dialect: "streams-0.2" },
  "streams 0.3": { dialect: "streams-0.3", readCount: 1 },
  "streams 0.3, five streams": { dialect: "streams-0.3", streamCount: 5 },
  "streams 0.3, sharded Pub/Sub": { dialect: "streams-0.3", useShardedPubSub: true },
  bridge: { dialect: "bridge" },
  classic: { dialect: "classic" },
  "classic, answers to the asking server alone": { dialect: "classic", publishOnSpecificResponseChannel: true },
  "sharded, dynamic": { dialect: "sharded", subscriptionMode: "dynamic" },
  "sharded, dynamic for clients too": { dialect: "sharded", subscriptionMode: "dynamic-private" },
  "sharded, static": { dialect: "sharded", subscriptionMode: "static" },
};
for (const [what, options] of Object.entries(WAYS)) {
  const isTwice = ["streams 0.2", "streams 0.3", "bridge"].includes(what);
  describeChecks(what, () => ({ url: redis.url }), options, isTwice);
}
