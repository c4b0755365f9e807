// The chat's Node.js server: socket.io with the official adapter. server.rs does the same in Rust.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

// The packages that the project's tests install. An application would import "socket.io", and so on.
const require = createRequire(new URL("../../../tests/interop/peers/package.json", import.meta.url));
const { Server } = require("socket.io");
const { createAdapter } = require("streams-0.3"); // @socket.io/redis-streams-adapter 0.3.1
const { createClient } = require("redis");

const KEY = "node";
const LOOK = 2_000;
const [url, port] = process.argv.slice(2);

const toLauncher = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
// The launcher decides when to end, not the terminal.
process.on("SIGINT", () => {});
// The adapter leaves some commands alone that fail when the link breaks.
process.on("unhandledRejection", (error) => console.error(`node: ${error.message}`));

const page = new URL("page/", import.meta.url);
const files = {
  "/": ["index.html", "text/html"],
  "/style.css": ["style.css", "text/css"],
  "/chat.js": ["chat.js", "text/javascript"],
};
const httpServer = createServer(async (request, response) => {
  const file = files[new URL(request.url, "http://localhost").pathname];
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  const [name, kind] = file;
  response.writeHead(200, { "content-type": `${kind}; charset=utf-8` }).end(await readFile(new URL(name, page)));
});

const link = { server: KEY, up: true, outages: 0, lost: null }; // the adapter doesn't tell what is lost
let servers = [];
let io;

const redis = createClient({ url });
redis.on("error", (error) => linkIs(false, error.message));
redis.on("ready", () => linkIs(true));
await redis.connect();
io = new Server(httpServer, { adapter: createAdapter(redis) });

function linkIs(up, reason) {
  if (link.up === up) {
    return;
  }
  link.up = up;
  link.outages += up ? 0 : 1;
  io?.local.emit("link", link);
  io?.local.emit("notice", up ? "The link to Redis is back." : `The link to Redis is down: ${reason}`);
}

let wake = () => {};

function peopleHaveChanged() {
  wake();
  io.serverSideEmit("people changed");
}

async function lookForPeople() {
  for (;;) {
    const changed = new Promise((resolve) => (wake = resolve));
    try {
      const sockets = await io.fetchSockets();
      io.local.emit("people", sockets.map(({ data }) => data).filter(({ name }) => name !== undefined));
    } catch {
      // A server did not answer in time. The last list stays.
    }
    await Promise.race([changed, sleep(LOOK)]);
  }
}

io.on("people changed", () => wake());

io.on("connection", (socket) => {
  socket.on("enter", (name, room) => {
    const before = socket.data.room;
    socket.data = { name, room, server: KEY };
    socket.join(room);
    if (before !== undefined && before !== room) {
      socket.leave(before);
    }
    peopleHaveChanged();
  });
  socket.on("say", (id, text, ack) => {
    const { name, room, server } = socket.data;
    if (room !== undefined) {
      io.to(room).emit("message", { id, name, room, server, text });
      ack?.(null); // the adapter doesn't tell when the message is in Redis
    }
  });
  socket.on("typing", (isTyping) => {
    const { name, room } = socket.data;
    if (room !== undefined) {
      socket.to(room).emit("typing", name, isTyping);
    }
  });
  socket.on("order", toLauncher);
  socket.on("disconnect", peopleHaveChanged);
  socket.emit("servers", servers);
  socket.emit("link", link);
});

lookForPeople();
httpServer.on("error", (error) => {
  console.error(`the Node.js server can't listen on port ${port} (another one: --port): ${error.message}`);
  process.exit(1);
});
httpServer.listen(Number(port), "127.0.0.1", () => toLauncher({ ready: httpServer.address().port }));

for await (const line of createInterface({ input: process.stdin })) {
  servers = JSON.parse(line);
  io.local.emit("servers", servers);
  wake();
}
// The adapter's connections to Redis would keep the process alive.
process.exit(0);
