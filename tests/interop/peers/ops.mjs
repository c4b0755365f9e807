// What the controlling process may ask for: one function for each operation.

import { Emitter } from "@socket.io/redis-emitter";
import { Clients } from "./clients.mjs";
import { Journal } from "./journal.mjs";
import { disconnect } from "./redis-clients.mjs";
import { until } from "./ready.mjs";

const DEFAULT_TIMEOUT_MS = 5_000;
const WAIT_MS = 100_000;

export function operations(server, config) {
  const { io } = server;
  const clients = new Clients(server.port);
  const serverSide = new Map(); // namespace => Journal

  const namespace = (nsp = "/") => {
    if (!io._nsps.has(nsp)) {
      throw new Error(`no such namespace: ${nsp}`);
    }
    return io.of(nsp);
  };
  const localSocket = ({ nsp, sid }) => {
    for (const { sockets, name } of io._nsps.values()) {
      if ((nsp === undefined || nsp === name) && sockets.has(sid)) {
        return sockets.get(sid);
      }
    }
    throw new Error(`no such socket on this server: ${sid}`);
  };
  // io.of(nsp).to(rooms).except(except) with the flags.
  const select = ({ nsp, rooms = [], except = [], flags = {}, local = flags.local, timeoutMs = flags.timeout }) => {
    let operator = namespace(nsp).to(rooms).except(except);
    if (flags.compress !== undefined) {
      operator = operator.compress(flags.compress);
    }
    if (flags.volatile) {
      operator = operator.volatile;
    }
    if (local) {
      operator = operator.local;
    }
    return timeoutMs === undefined ? operator : operator.timeout(timeoutMs);
  };
  const journal = (nsp = "/") => {
    if (!serverSide.has(nsp)) {
      serverSide.set(nsp, new Journal());
    }
    return serverSide.get(nsp);
  };

  return {
    // -- clients ------------------------------------------------------------------------------------------------
    async connect({ count = 1, name, ...options }) {
      const query = name === undefined ? options.query : { ...options.query, name };
      const connected = [];
      for (let i = 0; i < count; i++) {
        connected.push(await clients.connect({ ...options, query }));
      }
      return connected;
    },
    client_received({ sid, event, clear = false }) {
      const { received } = clients.get(sid);
      const list = received.list(event);
      if (clear) {
        received.clear();
      }
      return list;
    },
    wait_client_event({ sid, event, count = 1, timeoutMs = WAIT_MS }) {
      return clients.get(sid).received.wait(event, count, timeoutMs);
    },
    client_disconnected({ sid, timeoutMs = 0 }) {
      return clients.waitDisconnected(sid, timeoutMs);
    },
    client_ack({ sid, event, reply, silent = false }) {
      clients.get(sid).acks.set(event, { reply, silent });
    },
    client_emit({ sid, event, args = [] }) {
      clients.get(sid).socket.emit(event, ...args);
    },
    // Resolves with the arguments of the acknowledgement.
    async client_ask({ sid, event, args = [], timeoutMs = WAIT_MS }) {
      const { socket } = clients.get(sid);
      return new Promise((resolve, reject) => {
        socket.timeout(timeoutMs).emit(event, ...args, (error, ...answer) => {
          error ? reject(error) : resolve(answer);
        });
      });
    },
    client_state({ sid }) {
      return clients.get(sid).state();
    },
    disconnect_client({ sid }) {
      clients.get(sid).socket.disconnect();
    },
    // Of a client of any server: nobody is waited for.
    cut_client({ sid }) {
      return clients.drop(sid);
    },
    // Replies when the server has noticed, and has stored the session if recovery is on.
    async drop_client({ sid }) {
      const socket = localSocket({ sid });
      const state = clients.drop(sid);
      await until("the server to notice", () => !socket.connected);
      if (config.recovery) {
        const prefix = config.adapter?.sessionKeyPrefix ?? "sio:session:";
        await until("the stored session", () => server.control.exists(prefix + state.pid));
      }
      return state;
    },
    reconnect_client({ sid }) {
      return clients.reconnect(sid);
    },

    // -- this server's own sockets --------------------------------------------------------------------------------
    async server_join({ sid, nsp, rooms }) {
      await localSocket({ sid, nsp }).join(rooms);
    },
    async server_leave({ sid, nsp, rooms }) {
      await Promise.all(rooms.map((room) => localSocket({ sid, nsp }).leave(room)));
    },
    set_data({ sid, nsp, data }) {
      localSocket({ sid, nsp }).data = data;
    },
    socket_emit({ sid, nsp, event, args = [] }) {
      localSocket({ sid, nsp }).emit(event, ...args);
    },
    rooms({ nsp }) {
      return Object.fromEntries([...namespace(nsp).adapter.rooms].map(([room, sids]) => [room, [...sids]]));
    },

    // -- the cluster --------------------------------------------------------------------------------------------
    emit({ event, args = [], ...selection }) {
      select(selection).emit(event, ...args);
    },
    async emit_with_ack({ event, args = [], timeoutMs = DEFAULT_TIMEOUT_MS, ...selection }) {
      try {
        return { acks: await select({ ...selection, timeoutMs }).emitWithAck(event, ...args) };
      } catch (error) {
        return { error: error.message, partial: error.responses };
      }
    },
    // An acknowledgement asked of one remote socket, as `remoteSocket.timeout().emitWithAck()` does.
    async remote_emit({ nsp, sid, event, args = [], timeoutMs }) {
      const [socket] = await namespace(nsp).in(sid).fetchSockets();
      if (socket === undefined) {
        throw new Error(`no such socket in the cluster: ${sid}`);
      }
      if (timeoutMs === undefined) {
        return socket.emit(event, ...args);
      }
      return new Promise((resolve) => {
        socket.timeout(timeoutMs).emit(event, ...args, (error, ack) => {
          resolve(error ? { error: error.message } : { ack });
        });
      });
    },
    sockets_join({ join, ...selection }) {
      select(selection).socketsJoin(join);
    },
    sockets_leave({ leave, ...selection }) {
      select(selection).socketsLeave(leave);
    },
    disconnect_sockets({ close, ...selection }) {
      select(selection).disconnectSockets(close);
    },
    async fetch_sockets(selection) {
      const sockets = await select(selection).fetchSockets();
      return sockets.map(({ id, handshake, rooms, data }) => {
        const { sessionStore, ...rest } = handshake;
        return { id, handshake: rest, rooms: [...rooms], data };
      });
    },
    server_side_emit({ nsp, event, args = [] }) {
      namespace(nsp).serverSideEmit(event, ...args);
    },
    async server_side_emit_with_ack({ nsp, event, args = [] }) {
      try {
        return { responses: await namespace(nsp).serverSideEmitWithAck(event, ...args) };
      } catch (error) {
        return { error: error.message, partial: error.responses };
      }
    },
    // Listens for a server-side event; replaces what was set for it before.
    on_server_side({ nsp, event, answer, silent = false, throw: thrown }) {
      const received = journal(nsp);
      namespace(nsp).removeAllListeners(event).on(event, (...args) => {
        const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
        received.add({ event, args, ack: ack !== undefined });
        if (thrown !== undefined) {
          throw new Error(thrown);
        }
        if (!silent) {
          ack?.(answer);
        }
      });
    },
    server_side_received({ nsp, event, clear = false }) {
      const list = journal(nsp).list(event);
      if (clear) {
        journal(nsp).clear();
      }
      return list;
    },
    wait_server_side({ nsp, event, count = 1, timeoutMs = WAIT_MS }) {
      return journal(nsp).wait(event, count, timeoutMs);
    },
    // The rooms of all servers; only the classic adapter has it.
    async all_rooms({ nsp }) {
      return [...(await namespace(nsp).adapter.allRooms())];
    },
    // An emitter from outside, on this server's Redis client.
    emitter({ nsp = "/", rooms = [], except = [], action, args = [] }) {
      let emitter = new Emitter(server.client).of(nsp);
      if (action !== "serverSideEmit") {
        emitter = emitter.to(rooms).except(except);
      }
      emitter[action](...args);
    },
    server_count({ nsp }) {
      return namespace(nsp).adapter.serverCount();
    },

    // -- the process --------------------------------------------------------------------------------------------
    stats() {
      const { user, system } = process.cpuUsage();
      return {
        pid: process.pid,
        cpuMs: (user + system) / 1_000,
        rssBytes: process.memoryUsage().rss,
        sockets: Object.fromEntries([...io._nsps].map(([nsp, { sockets }]) => [nsp, sockets.size])),
      };
    },
    // Orderly: the adapters say good-bye, and what they said has reached Redis when the reply comes.
    async close() {
      clients.close();
      await io.close();
      await server.client.quit();
      await disconnect(server.control);
    },
  };
}
