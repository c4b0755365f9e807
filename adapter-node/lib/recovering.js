// Clients that are here again, and whose sockets are not connected yet. Socket.io makes such a socket at once, and
// connects it when its middlewares have run. What comes for it in between is kept, in order.
"use strict";

// The time after which a socket is not waited for any more, in milliseconds. Socket.io gives up before.
const PATIENCE = 120_000;

class Recovering {
  #adapter;
  #clients = new Map();

  constructor(adapter) {
    this.#adapter = adapter;
  }

  add(session) {
    const timer = setTimeout(() => this.#clients.delete(session.sid), PATIENCE).unref();
    this.#clients.set(session.sid, { session, packets: [], timer, isToClose: undefined });
  }

  close() {
    this.#clients.forEach(({ timer }) => clearTimeout(timer));
    this.#clients.clear();
  }

  #take(id) {
    const client = this.#clients.get(id);
    if (client !== undefined) {
      clearTimeout(client.timer);
      this.#clients.delete(id);
    }
    return client;
  }

  // A socket has joined rooms. It is connected if the namespace has it.
  joined(id) {
    const socket = this.#clients.size > 0 && this.#clients.has(id) ? this.#adapter.nsp.sockets.get(id) : undefined;
    if (socket === undefined) {
      return;
    }
    const { packets, isToClose } = this.#take(id);
    packets.forEach((packet) => socket.packet(packet));
    if (isToClose !== undefined) {
      process.nextTick(() => socket.disconnect(isToClose));
    }
  }

  // A socket has left all rooms. If it was never connected, its client may try again.
  left(id) {
    const client = this.#take(id);
    if (client !== undefined && client.isToClose === undefined) {
      this.#adapter.persistSession(client.session);
    }
  }

  *#matching({ rooms, except }) {
    for (const [id, client] of this.#clients) {
      const own = this.#adapter.sids.get(id) ?? new Set(client.session.rooms);
      const isIn = (selected) => [...selected].some((room) => own.has(room));
      if ((rooms.size === 0 || isIn(rooms)) && !isIn(except)) {
        yield [id, client];
      }
    }
  }

  deliver(packet, opts) {
    if (this.#clients.size > 0) {
      for (const [, client] of this.#matching(opts)) {
        client.packets.push({ type: 2, id: packet.id, data: packet.data });
      }
    }
  }

  join(opts, rooms) {
    for (const [id, { session }] of this.#matching(opts)) {
      session.rooms.push(...rooms);
      if (this.#adapter.sids.has(id)) {
        this.#adapter.addAll(id, new Set(rooms));
      }
    }
  }

  leave(opts, rooms) {
    for (const [id, { session }] of this.#matching(opts)) {
      session.rooms = session.rooms.filter((room) => !rooms.includes(room));
      rooms.forEach((room) => this.#adapter.del(id, room));
    }
  }

  disconnect(opts, close) {
    for (const [, client] of this.#matching(opts)) {
      client.isToClose = close;
    }
  }
}

module.exports = { Recovering };
