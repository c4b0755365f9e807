// A Redis Cluster, Sentinel and TLS.
"use strict";

const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { after, before, describe, it } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../lib/index.js");
const { describeChecks } = require("./checks.js");
const { acquainted, serve, startClient, startOurs, until, withAll } = require("./support.js");

// After a failover messages arrive again, and requests are answered.
async function survives(redis, settings) {
  await withAll(async (keep) => {
    const servers = [keep(await startOurs(settings)), keep(await startOurs(settings))];
    await acquainted(servers);
    const client = keep(await startClient(servers[1]));
    servers[1].io.on("ask", (answer) => answer("there"));
    servers[0].io.emit("before", 1);
    await client.wait("before");
    await redis.failOver();
    await until("the link to be lost", () =>
      servers.every(({ notices }) => notices.some(({ event, up }) => event === "link" && !up)),
    );
    let said = 0;
    await until("what is said after a failover", () => {
      servers[0].io.emit("after", ++said);
      return client.got("after").length > 0;
    });
    await until("an answer", async () => (await servers[0].io.serverSideEmitWithAck("ask").catch(() => [])).includes("there"));
    const order = client.got("after").map(([number]) => number);
    assert.deepEqual(order, [...new Set(order)].sort((one, other) => one - other));
  });
}

describe("a Redis Cluster", () => {
  let redis;
  before(async () => (redis = await serve("cluster")));
  after(() => redis.stop());
  const at = () => ({ url: redis.url, also: redis.also, cluster: true });

  describeChecks("streams 0.2", at, { dialect: "streams-0.2" });
  describeChecks("streams 0.3, five streams", at, { dialect: "streams-0.3", streamCount: 5 });
  describeChecks("streams 0.3, sharded Pub/Sub", at, { dialect: "streams-0.3", useShardedPubSub: true });
  describeChecks("classic", at, { dialect: "classic" });
  describeChecks("sharded", at, { dialect: "sharded" });

  it("a failover of the stream's master", () => survives(redis, { ...at(), dialect: "streams-0.3" }));
});

describe("Sentinel", () => {
  let redis;
  before(async () => (redis = await serve("sentinel")));
  after(() => redis.stop());
  const at = () => ({ url: redis.url, also: redis.also, sentinel: { name: redis.name } });

  describeChecks("streams 0.3", at, { dialect: "streams-0.3" });

  it("tells of a master that no sentinel knows", async () => {
    await refusedOf({ ...at(), sentinel: { name: "nobody" } }, /nobody/);
  });

  it("a failover", () => survives(redis, { ...at(), dialect: "streams-0.3", streamName: "failover" }));
});

describe("TLS", () => {
  let redis;
  let files;
  before(async () => {
    redis = await serve("tls");
    files = Object.fromEntries(["ca", "cert", "key"].map((name) => [name, readFileSync(redis[name], "utf8")]));
  });
  after(() => redis.stop());

  describeChecks("streams 0.3", () => ({ url: redis.url, tls: { ca: files.ca } }), { dialect: "streams-0.3" });
  describeChecks("sharded, with a certificate of its own", () => ({ url: redis.url, tls: files }), { dialect: "sharded" });

  it("takes the password in an option of its own", async () => {
    const url = new URL(redis.url);
    const { password } = url;
    url.password = "";
    await withAll(async (keep) => {
      const settings = { url: url.href, password: decodeURIComponent(password), tls: { ca: files.ca }, dialect: "streams-0.3", streamName: "password" };
      const client = keep(await startClient(keep(await startOurs(settings))));
      assert.ok(client.socket.connected);
    });
  });

  it("tells of a certificate that it does not trust, and of a wrong password", async () => {
    await refusedOf({ url: redis.url }, /certificate|UnknownIssuer/i);
    const url = new URL(redis.url);
    url.password = "wrong";
    await refusedOf({ url: url.href, tls: { ca: files.ca } }, /WRONGPASS|password/i);
  });
});

// A server that can't connect says why, and can be closed.
async function refusedOf(settings, words) {
  const io = new Server(createServer(), { adapter: createAdapter(settings) });
  const told = [];
  const { adapter } = io.of("/");
  adapter.on("link", (notice) => told.push(notice));
  adapter.on("refused", (notice) => told.push(notice));
  await until(
    () => `${words} among ${JSON.stringify(told)}`,
    () => told.some(({ reason }) => words.test(reason)),
  );
  await io.close();
}
