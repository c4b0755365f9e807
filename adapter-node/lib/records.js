// Records as they go between JavaScript and Rust: fields of text, each with a newline behind it, and binary
// values beside them. See src/fields.rs and src/records.rs.
"use strict";

const { EncodedEvent, decodeValue } = require("./encoding.js");

const FLAGS = { v: "volatile", c: "compress", s: "expectSingleResponse" };

// Rooms that another server can know: texts and numbers. No value of another kind equals one that has been
// sent, so that it selects nobody there.
function nameable(rooms) {
  const names = [];
  for (const room of rooms) {
    if (typeof room === "string") {
      names.push(room);
    } else if (typeof room === "number") {
      names.push(String(room));
    }
  }
  return names;
}

// What is in a batch for Rust. A record must be complete before the application's code runs again, so values are
// encoded before.
class Batch {
  text = "";
  attachments = [];

  get isEmpty() {
    return this.text === "";
  }

  record(kind, ...fields) {
    this.text += `${kind}\n`;
    for (const field of fields) {
      this.text += `${field}\n`;
    }
    return this;
  }

  name(name) {
    this.text += `${JSON.stringify(name)}\n`;
    return this;
  }

  names(names) {
    this.text += names.length > 0 ? `${JSON.stringify(names)}\n` : "\n";
    return this;
  }

  opts({ rooms, except, flags }) {
    this.names(rooms).names(except);
    let text = "";
    if (flags !== undefined) {
      for (const letter in FLAGS) {
        const value = flags[FLAGS[letter]];
        text += value === undefined ? "" : `${letter}${value ? 1 : 0}`;
      }
      text += Number.isFinite(flags.timeout) ? `t${Math.max(0, Math.trunc(flags.timeout))}` : "";
    }
    this.text += `${text}\n`;
    return this;
  }

  event({ json, attachments }) {
    this.text += `${attachments.length}\n${json}\n`;
    this.attachments.push(...attachments);
    return this;
  }

  // What `encodeValue` has made of a value.
  value({ text, attachments }) {
    this.text += `${text}\n`;
    this.attachments.push(...attachments);
    return this;
  }
}

// Reads records from Rust.
class Reader {
  #fields;
  #at = 0;
  #attachments;
  #attached = 0;

  constructor({ text, attachments }) {
    this.#fields = text.split("\n");
    this.#attachments = attachments;
  }

  get isEmpty() {
    // There is nothing behind the last newline.
    return this.#at + 1 >= this.#fields.length;
  }

  peek() {
    return this.#fields[this.#at];
  }

  text() {
    return this.#fields[this.#at++];
  }

  number() {
    return Number(this.text());
  }

  optional() {
    const text = this.text();
    return text === "" ? undefined : Number(text);
  }

  json() {
    return JSON.parse(this.text());
  }

  names() {
    const text = this.text();
    return text === "" ? [] : JSON.parse(text);
  }

  opts() {
    return { rooms: this.#rooms(), except: this.#rooms(), flags: this.#flags() };
  }

  // A room may be a number here, and the wire does not tell which of both it is.
  #rooms() {
    const rooms = new Set();
    for (const name of this.names()) {
      rooms.add(name);
      const number = Number(name);
      if (String(number) === name) {
        rooms.add(number);
      }
    }
    return rooms;
  }

  #flags() {
    const flags = {};
    for (const [, letter, digits] of this.text().matchAll(/([a-z])(\d+)/g)) {
      if (letter === "t") {
        flags.timeout = Number(digits);
      } else {
        flags[FLAGS[letter]] = digits === "1";
      }
    }
    return flags;
  }

  event() {
    const count = this.number();
    return new EncodedEvent(this.text(), this.#take(count));
  }

  value() {
    const text = this.text();
    return text === "m" ? decodeValue(this.#take(1)[0]) : JSON.parse(text.slice(1));
  }

  #take(count) {
    this.#attached += count;
    return this.#attachments.slice(this.#attached - count, this.#attached);
  }
}

module.exports = { Batch, Reader, nameable };
