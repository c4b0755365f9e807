// Real Socket.IO clients, in the same process as the server they connect to.

import { setTimeout as sleep } from "node:timers/promises";
import { io as connectClient } from "socket.io-client";
import msgpackParser from "socket.io-msgpack-parser";
import { Journal } from "./journal.mjs";

class Client {
  received = new Journal();
  acks = new Map(); // event => {reply} | {silent}
  disconnectReason = null;

  constructor(socket) {
    this.socket = socket;
    socket.onAny((event, ...args) => {
      const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
      const setting = this.acks.get(event);
      if (ack && setting && !setting.silent) {
        ack(setting.reply);
      }
      this.received.add({ event, args, ack: ack !== undefined });
    });
    socket.on("disconnect", (reason) => {
      this.disconnectReason = reason;
    });
  }

  // Connects, or connects again, and waits for the server's word.
  async connect() {
    await new Promise((resolve, reject) => {
      const done = (settle, value) => {
        this.socket.off("connect", onConnect).off("connect_error", onError);
        settle(value);
      };
      const onConnect = () => done(resolve);
      const onError = (error) => done(reject, error);
      this.socket.on("connect", onConnect).on("connect_error", onError);
      this.socket.connect();
    });
    this.disconnectReason = null;
  }

  state() {
    const { id, recovered, _pid: pid, _lastOffset: offset } = this.socket;
    return { sid: id, recovered: recovered === true, pid: pid ?? null, offset: offset ?? null };
  }
}

export class Clients {
  #clients = new Map(); // every socket id that a client ever had => client

  constructor(port) {
    this.url = `http://127.0.0.1:${port}`;
  }

  // `recover`: {pid, offset} of a session that some other client left behind.
  // `port`: of another server. `msgpack`: that server's parser is the one for MessagePack.
  async connect({ nsp = "/", auth, query, headers, transports, recover, port, msgpack = false }) {
    const url = port === undefined ? this.url : `http://127.0.0.1:${port}`;
    const socket = connectClient(url + nsp, {
      autoConnect: false,
      forceNew: true,
      reconnection: false,
      transports: transports ?? ["websocket"],
      auth,
      query,
      extraHeaders: headers,
      parser: msgpack ? msgpackParser : undefined,
    });
    if (recover) {
      socket._pid = recover.pid;
      socket._lastOffset = recover.offset;
    }
    const client = new Client(socket);
    await client.connect();
    this.#clients.set(socket.id, client);
    return client.state();
  }

  get(sid) {
    const client = this.#clients.get(sid);
    if (client === undefined) {
      throw new Error(`no such client: ${sid}`);
    }
    return client;
  }

  // Closes the connection below the feet of the Socket.IO client: the server sees a transport that closed.
  drop(sid) {
    const client = this.get(sid);
    const state = client.state();
    client.socket.io.engine.close();
    return { ...state, sid };
  }

  async reconnect(sid) {
    const client = this.get(sid);
    await client.connect();
    this.#clients.set(client.socket.id, client);
    return client.state();
  }

  async waitDisconnected(sid, timeoutMs) {
    const client = this.get(sid);
    const deadline = Date.now() + timeoutMs;
    while (client.socket.connected && Date.now() < deadline) {
      await sleep(2);
    }
    return { disconnected: !client.socket.connected, reason: client.disconnectReason };
  }

  close() {
    for (const client of this.#clients.values()) {
      client.socket.disconnect();
    }
  }
}
