// The adapter of one namespace. The rooms are socket.io's: see its base class.
"use strict";

const { Adapter } = require("socket.io-adapter");
const { EncodedEvent, ReceivedPacket, encodeValue, isOwnParser } = require("./encoding.js");
const { Recovering } = require("./recovering.js");
const { nameable } = require("./records.js");

class SioStreamsAdapter extends Adapter {
  #node;
  #number;
  #options;
  #onClose;
  #closed;
  #recovering;
  // What the packet that is just being sent has been encoded to.
  #event;
  #warned = new Set();

  constructor(nsp, node, options, onClose) {
    super(nsp);
    this.#node = node;
    this.#options = options;
    this.#onClose = onClose;
    this.#recovering = new Recovering(this);
    if (isOwnParser(this.encoder)) {
      const { encoder } = this;
      // The packet is encoded already.
      this.encoder = { encode: (packet) => this.#event?.frames(packet) ?? encoder.encode(packet) };
    }
    this.#number = node.open(this);
    if (options.hasRoomChannels) {
      this.on("create-room", (room) => this.#occupied(room, 1));
      this.on("delete-room", (room) => this.#occupied(room, 0));
    }
  }

  // The node's name in the cluster.
  get uid() {
    return this.#node.uid;
  }

  get #batch() {
    return this.#node.batch;
  }

  #occupied(room, occupied) {
    const names = nameable([room]);
    if (names.length > 0 && this.#closed === undefined) {
      this.#batch.record("V", this.#number, occupied).names(names);
    }
  }

  // The addressees on other servers. Rooms of which none can have a name there select nobody, and not everybody.
  #others(opts) {
    if (opts.flags?.local || this.#closed !== undefined) {
      return undefined;
    }
    const rooms = nameable(opts.rooms);
    if (rooms.length === 0 && opts.rooms.size > 0) {
      return undefined;
    }
    return { rooms, except: opts.except === undefined ? [] : nameable(opts.except), flags: opts.flags };
  }

  // True if this server's own sockets follow an order when it comes back by the stream.
  #comesBack(others) {
    return others !== undefined && this.#options.isInStreamOrder;
  }

  close() {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #close() {
    this.#onClose();
    this.#recovering.close();
    return this.#node.close(this.#number);
  }

  serverCount() {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) {
        return resolve(0);
      }
      const call = this.#node.expect({ adapter: this, isOnce: true, clients: resolve, done: reject });
      this.#batch.record("N", this.#number, call);
    });
  }

  // The names of the rooms of all servers. Only servers of one dialect ask each other for them.
  allRooms() {
    const { dialect } = this.#options;
    if (dialect !== "classic") {
      return Promise.reject(new Error(`allRooms() works only in the dialect classic, and this one is ${dialect}`));
    }
    return new Promise((resolve, reject) => {
      const own = [...this.rooms.keys()];
      if (this.#closed !== undefined) {
        return resolve(new Set(own));
      }
      const answers = (outcome, names) => {
        if (outcome.timedOut) {
          reject(new Error("timeout reached while waiting for allRooms response"));
        } else {
          resolve(new Set([...own, ...names]));
        }
      };
      const call = this.#node.expect({ adapter: this, answers, done: reject });
      this.#batch.record("G", this.#number, call);
    });
  }

  broadcast(packet, opts) {
    const event = EncodedEvent.of(packet.data, this.#options.onlyPlaintext);
    const others = this.#others(opts);
    if (others !== undefined) {
      this.#batch.record("B", this.#number).opts(others).record(packet.id ?? "").event(event);
    }
    if (!this.#comesBack(others)) {
      this.#with(event, () => super.broadcast(packet, opts));
    }
  }

  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    const event = EncodedEvent.of(packet.data, this.#options.onlyPlaintext);
    const others = this.#others(opts);
    if (others !== undefined) {
      const done = (error) => error && this.notice("refused", { what: "a broadcast", reason: error.message });
      const call = this.#node.expect({ adapter: this, clients: clientCountCallback, ack, done });
      this.#batch.record("A", this.#number, call).opts(others).event(event);
    }
    if (!this.#comesBack(others)) {
      this.#with(event, () => super.broadcastWithAck(packet, opts, clientCountCallback, ack));
    }
  }

  #with(event, send) {
    this.#event = event;
    try {
      send();
    } finally {
      this.#event = undefined;
    }
  }

  addSockets(opts, rooms) {
    const others = this.#order("J", opts, nameable(rooms));
    if (!this.#comesBack(others)) {
      super.addSockets(opts, rooms);
    }
  }

  delSockets(opts, rooms) {
    const others = this.#order("L", opts, nameable(rooms));
    if (!this.#comesBack(others)) {
      super.delSockets(opts, rooms);
    }
  }

  #order(kind, opts, names) {
    const others = names.length > 0 ? this.#others(opts) : undefined;
    if (others !== undefined) {
      this.#batch.record(kind, this.#number).opts(others).names(names);
    }
    return others;
  }

  disconnectSockets(opts, close) {
    const others = this.#others(opts);
    if (others !== undefined) {
      this.#batch.record("D", this.#number).opts(others).record(close ? 1 : 0);
    }
    if (!this.#comesBack(others)) {
      super.disconnectSockets(opts, close);
    }
  }

  fetchSockets(opts) {
    const own = super.fetchSockets(opts);
    const others = this.#others(opts);
    if (others === undefined) {
      return own;
    }
    return new Promise((resolve, reject) => {
      const answers = async (outcome, sockets) => {
        if (outcome.timedOut) {
          reject(this.#timedOut(outcome, true));
        } else {
          resolve([...(await own), ...sockets]);
        }
      };
      const call = this.#node.expect({ adapter: this, answers, done: reject });
      this.#batch.record("F", this.#number, call).opts(others);
    });
  }

  serverSideEmit(packet) {
    const isAnswered = typeof packet.at(-1) === "function";
    const ack = isAnswered ? packet.pop() : undefined;
    if (this.#closed !== undefined) {
      ack?.(null, []);
      return;
    }
    const value = this.#encode(packet);
    if (!isAnswered) {
      this.#batch.record("E", this.#number).value(value);
      return;
    }
    const answers = (outcome, values) => ack(outcome.timedOut ? this.#timedOut(outcome) : null, values);
    const call = this.#node.expect({ adapter: this, answers, done: (error) => ack(error, []) });
    this.#batch.record("Q", this.#number, call).value(value);
  }

  // In the form in which the official adapter of the dialect sends it. `isAck`: a client has said it.
  #encode(value, isAck) {
    switch (this.#options.dialect) {
      case "streams-0.3":
        return encodeValue(value, "msgpack");
      case "classic":
        return encodeValue(value, isAck ? "msgpack" : "json");
      case "sharded":
        return encodeValue(value, "like json");
      default:
        return encodeValue(value);
    }
  }

  // The words of the official adapter of the same dialect.
  #timedOut({ answered, missing }, isFetch) {
    switch (this.#options.dialect) {
      case "streams-0.2":
        return new Error(`timeout reached: missing ${missing} responses`);
      case "classic":
        if (isFetch) {
          return new Error("timeout reached while waiting for fetchSockets response");
        }
      // falls through
      default:
        return new Error(`timeout reached: only ${answered} responses received out of ${answered + missing}`);
    }
  }

  persistSession({ sid, pid, rooms, data }) {
    if (!this.#options.isInStreamOrder) {
      return;
    }
    try {
      const value = encodeValue(data, "msgpack");
      this.#batch.record("P", this.#number, 0).name(sid).name(pid).names(nameable(rooms)).value(value);
    } catch (error) {
      this.notice("failed", { what: "to store a session", error });
    }
  }

  restoreSession(pid, offset) {
    if (!this.#options.isInStreamOrder || this.#closed !== undefined) {
      return null;
    }
    return new Promise((resolve, reject) => {
      const restored = (session) => {
        this.#recovering.add(session);
        resolve(session);
      };
      const call = this.#node.expect({ adapter: this, restored, done: reject });
      this.#batch.record("R", this.#number, call).name(pid).name(offset);
    });
  }

  addAll(id, rooms) {
    super.addAll(id, rooms);
    this.#recovering.joined(id);
  }

  delAll(id) {
    super.delAll(id);
    this.#recovering.left(id);
  }

  // Tells the application something. What it must not miss becomes a warning if nobody listens.
  notice(event, detail) {
    const isHeard = this.emit(event, detail);
    if (!isHeard && (event === "refused" || event === "failed") && !this.#warned.has(detail.what)) {
      this.#warned.add(detail.what);
      const reason = detail.reason ?? detail.error?.stack ?? detail.error;
      const text = `${this.nsp.name}: ${detail.what}: ${reason} (told once; listen to "${event}" of the adapter for all)`;
      process.emitWarning(text, "SioStreamsWarning");
    }
  }

  // Does what the node tells, with this server's sockets.
  follow(kind, args) {
    switch (kind) {
      case "o":
        return this.notice("ready", {});
      case "b":
        return this.#delivered(...args);
      case "x":
        return this.#nobodyWaits(...args);
      case "j":
        this.#recovering.join(...args);
        return super.addSockets(...args);
      case "l":
        this.#recovering.leave(...args);
        return super.delSockets(args[0], args[1].flatMap(bothForms));
      case "d":
        this.#recovering.disconnect(args[0], args[1] === 1);
        return super.disconnectSockets(args[0], args[1] === 1);
      case "f":
        return this.#described(...args);
      case "e":
        return this.#emitted(...args);
    }
  }

  #asked = new Map();

  #delivered(opts, question, id, event) {
    const packet = new ReceivedPacket(event, id);
    if (question === undefined) {
      this.#with(event, () => super.broadcast(packet, opts));
      this.#recovering.deliver(packet, opts);
      return;
    }
    let waitsFor = 0;
    const onCount = (count) => {
      waitsFor = count;
      this.#batch.record("C", question, count);
    };
    const onAck = (value) => {
      waitsFor -= 1;
      this.#answer("K", question, value);
      if (waitsFor <= 0) {
        this.#asked.delete(question);
      }
    };
    this.#with(event, () => super.broadcastWithAck(packet, opts, onCount, onAck));
    if (waitsFor > 0) {
      this.#asked.set(question, packet.id);
    }
  }

  // Whoever wanted acknowledgements waits no longer, and the clients that have not answered are forgotten.
  #nobodyWaits(question) {
    const id = this.#asked.get(question);
    if (this.#asked.delete(question)) {
      this.nsp.sockets.forEach((socket) => socket.acks?.delete(id));
    }
  }

  // Answers another server. What can't be encoded is answered with null.
  #answer(kind, question, value) {
    let encoded = encodeValue(null);
    try {
      encoded = this.#encode(value, kind === "K");
    } finally {
      this.#batch.record(kind, question).value(encoded);
    }
  }

  async #described(opts, question) {
    const sockets = await super.fetchSockets(opts);
    const encode = (value) => {
      try {
        return this.#encode(value);
      } catch (error) {
        this.notice("failed", { what: "to describe a socket", error });
        return encodeValue({});
      }
    };
    const described = sockets.map(({ id, handshake, rooms, data }) => {
      // As the official adapters do: it may be circular.
      const { sessionStore, ...rest } = handshake;
      return { id, handshake: encode(rest), rooms: nameable(rooms), data: encode(data) };
    });
    const batch = this.#batch.record("S", question, described.length);
    for (const { id, handshake, rooms, data } of described) {
      batch.name(id).value(handshake).names(rooms).value(data);
    }
  }

  #emitted(question, packet) {
    if (question === undefined) {
      this.nsp._onServerSideEmit(packet);
      return;
    }
    let isAnswered = false;
    this.nsp._onServerSideEmit([
      ...packet,
      (value) => {
        if (!isAnswered) {
          isAnswered = true;
          this.#answer("M", question, value);
        }
      },
    ]);
  }
}

// A room of this server may be a number. The wire does not tell which of both it is.
function bothForms(name) {
  return String(Number(name)) === name ? [name, Number(name)] : [name];
}

module.exports = { SioStreamsAdapter };
