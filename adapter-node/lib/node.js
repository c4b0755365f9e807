// A node of the cluster, which all namespaces of a server share. What its adapters say in one turn of the
// loop goes to Rust in one call, in order. What there is for them is taken a part at a time.
"use strict";

const native = require("./native.js");
const { inOptionsWords } = require("./options.js");
const { Batch, Reader } = require("./records.js");

// The length of a batch that is sent before the turn is over.
const LONG = 256 << 10;

// The longest time that an exiting process waits for what it has said, in milliseconds.
const AT_EXIT = 2_000;

class ClusterNode {
  #native;
  #adapters = new Map();
  #lastNamespace = 0;
  #calls = new Map();
  #lastCall = 0;
  #batch = new Batch();
  #isScheduled = false;
  #reader;
  #onExit = () => {
    this.#flush();
    this.#native.drain(AT_EXIT);
  };

  constructor(settings) {
    try {
      this.#native = new native.Node(JSON.stringify(settings), () => this.#take());
    } catch (error) {
      throw new TypeError(inOptionsWords(error.message));
    }
    process.on("exit", this.#onExit);
  }

  get uid() {
    return this.#native.uid;
  }

  // The batch of this turn, for one more record.
  get batch() {
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(() => this.#flush());
    } else if (this.#batch.text.length > LONG) {
      this.#send();
    }
    return this.#batch;
  }

  #flush() {
    this.#isScheduled = false;
    this.#send();
  }

  #send() {
    const { text, attachments, isEmpty } = this.#batch;
    if (!isEmpty) {
      this.#batch = new Batch();
      this.#native.send(text, attachments);
    }
  }

  // Opens a namespace for an adapter, and returns its number.
  open(adapter) {
    const number = ++this.#lastNamespace;
    this.#adapters.set(number, adapter);
    this.batch.record("O", number).name(adapter.nsp.name);
    return number;
  }

  // Keeps what is to be told of a call, and returns its number.
  expect(call) {
    this.#lastCall = (this.#lastCall % 0xffff_ffff) + 1;
    this.#calls.set(this.#lastCall, call);
    return this.#lastCall;
  }

  // Closes a namespace, and the node with the last one. Everything that was said before is done first.
  close(number) {
    return new Promise((resolve) => {
      const isLast = this.#adapters.delete(number) && this.#adapters.size === 0;
      this.batch.record("X", number, this.expect({ done: () => isLast || resolve() }));
      if (isLast) {
        const done = () => {
          this.#stop();
          resolve();
        };
        this.batch.record("Z", this.expect({ done }));
      }
    });
  }

  get isClosed() {
    return this.#adapters.size === 0;
  }

  #stop() {
    process.off("exit", this.#onExit);
    this.#native.stop();
  }

  #take() {
    if (this.#reader === undefined) {
      const part = this.#native.take();
      if (part !== null) {
        this.#reader = new Reader(part);
        this.#read();
      }
    }
  }

  #read() {
    const reader = this.#reader;
    let mustPause = false;
    while (!reader.isEmpty) {
      // A socket that is here again must exist before anything is done with the sockets.
      if (mustPause && reader.peek() !== "R") {
        setImmediate(() => this.#read());
        return;
      }
      mustPause = this.#record(reader.text(), reader);
    }
    this.#reader = undefined;
    // Others get their turn in between.
    setImmediate(() => this.#take());
  }

  // Reads a record, and does what it says. Returns true if a socket is here again.
  #record(kind, reader) {
    const number = kind === "n" ? reader.optional() : reader.number();
    switch (kind) {
      case "r":
        this.#end(number, reader.text());
        return false;
      case "g":
      case "s":
      case "m":
        this.#answer(number, kind, reader);
        return false;
      case "c":
        this.#tell(number, "clients", reader.number());
        return false;
      case "k":
        this.#tell(number, "ack", reader.value());
        return false;
      case "R":
        this.#restored(number, reader);
        return true;
      case "n": {
        const { event, ...detail } = reader.json();
        const adapters = number === undefined ? [...this.#adapters.values()] : [this.#adapters.get(number)];
        adapters.forEach((adapter) => adapter?.notice(event, detail));
        return false;
      }
      default:
        this.#event(this.#adapters.get(number), kind, reader);
        return false;
    }
  }

  // Reads all of an event before the adapter does anything, so that the next one is found whatever happens.
  #event(adapter, kind, reader) {
    const args = [];
    switch (kind) {
      case "o":
      case "x":
        args.push(kind === "x" ? reader.number() : undefined);
        break;
      case "e":
        args.push(reader.optional(), reader.value());
        break;
      case "b":
        args.push(reader.opts(), reader.optional(), reader.optional(), reader.event());
        break;
      case "j":
      case "l":
        args.push(reader.opts(), reader.names());
        break;
      default:
        args.push(reader.opts(), reader.number());
    }
    // The adapter may just have been closed.
    guarded(adapter, () => adapter?.follow(kind, args));
  }

  #tell(number, name, value) {
    const call = this.#calls.get(number);
    guarded(call?.adapter, () => call?.[name]?.(value));
    if (call?.isOnce) {
      this.#calls.delete(number);
    }
  }

  #end(number, error) {
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    guarded(call?.adapter, () => call?.done?.(error === "" ? undefined : new Error(error)));
  }

  #answer(number, kind, reader) {
    const outcome = reader.json();
    const count = kind === "g" ? 0 : reader.number();
    const answers = kind === "g" ? reader.names() : [];
    for (let at = 0; at < count; at++) {
      const socket = () => ({ id: reader.json(), handshake: reader.value(), rooms: reader.names(), data: reader.value() });
      answers.push(kind === "s" ? socket() : reader.value());
    }
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    guarded(call?.adapter, () => call?.answers(outcome, answers));
  }

  #restored(number, reader) {
    const session = { sid: reader.json(), pid: reader.json(), rooms: reader.names(), data: reader.value() };
    const missed = reader.number();
    session.missedPackets = [];
    for (let at = 0; at < missed; at++) {
      session.missedPackets.push(reader.event().decode());
    }
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    guarded(call?.adapter, () => call?.restored(session));
  }
}

// What a listener of the application throws must not keep the next event from anybody.
function guarded(adapter, action) {
  try {
    action();
  } catch (error) {
    if (adapter === undefined) {
      throw error;
    }
    adapter.notice("failed", { what: "a listener, or an answer to another server", error });
  }
}

module.exports = { ClusterNode };
