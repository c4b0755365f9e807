// Values as they go to other servers, and back.
"use strict";

const msgpack = require("@msgpack/msgpack");

function isBinary(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

// The rule of socket.io's own adapters: what toJSON() returns is looked at, too, but only once.
function hasBinary(value, inJson) {
  if (!value || typeof value !== "object") {
    return false;
  }
  if (isBinary(value)) {
    return true;
  }
  if (Array.isArray(value)) {
    return value.some((inner) => hasBinary(inner));
  }
  for (const key in value) {
    if (Object.prototype.hasOwnProperty.call(value, key) && hasBinary(value[key])) {
      return true;
    }
  }
  return typeof value.toJSON === "function" && !inJson && hasBinary(value.toJSON(), true);
}

function holdsBinary(value) {
  try {
    return hasBinary(value);
  } catch (error) {
    // A circle has no end. Whoever encodes the value says so in words.
    if (error instanceof RangeError) {
      return false;
    }
    throw error;
  }
}

// A copy: the application may change its own before it is sent.
function bytesOf(value) {
  return value instanceof ArrayBuffer
    ? Buffer.from(new Uint8Array(value))
    : Buffer.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
}

// Puts placeholders in the place of binary values, as socket.io's parser does.
function detach(value, attachments, inJson) {
  if (!value || typeof value !== "object" || value instanceof Date) {
    return value;
  }
  if (isBinary(value)) {
    return { _placeholder: true, num: attachments.push(bytesOf(value)) - 1 };
  }
  if (typeof value.toJSON === "function" && !inJson) {
    return detach(value.toJSON(), attachments, true);
  }
  if (Array.isArray(value)) {
    return value.map((inner) => detach(inner, attachments));
  }
  return Object.fromEntries(Object.keys(value).map((key) => [key, detach(value[key], attachments)]));
}

// Puts binary values in the place of their placeholders.
function attach(value, attachments) {
  if (!value || typeof value !== "object") {
    return value;
  }
  if (value._placeholder === true && Number.isInteger(value.num)) {
    return attachments[value.num];
  }
  for (const key of Object.keys(value)) {
    value[key] = attach(value[key], attachments);
  }
  return value;
}

// The arguments of an event for clients, encoded once for the other servers and for this one's clients.
class EncodedEvent {
  constructor(json, attachments) {
    this.json = json;
    this.attachments = attachments;
  }

  static of(data, onlyPlaintext) {
    const [name] = data;
    if (typeof name !== "string" && typeof name !== "number") {
      throw new TypeError(`the name of an event is a string, not ${typeof name}`);
    }
    if (onlyPlaintext || !holdsBinary(data)) {
      return new EncodedEvent(JSON.stringify(data), none);
    }
    const attachments = [];
    return new EncodedEvent(JSON.stringify(detach(data, attachments)), attachments);
  }

  decode() {
    const data = JSON.parse(this.json);
    return this.attachments.length > 0 ? attach(data, this.attachments) : data;
  }

  // What socket.io's parser makes of the packet.
  frames({ nsp, id }) {
    const count = this.attachments.length;
    const head = count > 0 ? `5${count}-` : "2";
    return [`${head}${nsp === "/" ? "" : `${nsp},`}${id ?? ""}${this.json}`, ...this.attachments];
  }
}

const none = Object.freeze([]);

// An event of another server. It is decoded only if somebody looks at its arguments.
class ReceivedPacket {
  #event;
  #data;

  constructor(event, id) {
    this.type = 2;
    this.nsp = undefined;
    this.id = id;
    this.#event = event;
  }

  get data() {
    return (this.#data ??= this.#event.decode());
  }
}

// True if the server's clients are sent what `frames()` makes: its parser is socket.io's own.
function isOwnParser(encoder) {
  if (encoder?.replacer !== undefined) {
    return false;
  }
  const data = ["e", { a: [1, null, "\u00e9"] }, Buffer.from([1])];
  const sample = () => ({ type: 2, nsp: "/n", id: 3, data: structuredClone(data) });
  try {
    const theirs = encoder.encode({ ...sample(), data: data.slice(0, 2) });
    const binary = encoder.encode(sample());
    const is = (frames, expected) => JSON.stringify(frames) === JSON.stringify(expected);
    const ours = EncodedEvent.of(data).frames(sample());
    return (
      is(theirs, EncodedEvent.of(data.slice(0, 2)).frames(sample())) && binary.length === 2 && binary[0] === ours[0]
    );
  } catch {
    return false;
  }
}

// A value for another server's application: a field of text, and bytes if it is in MessagePack. That keeps what JSON
// can't, such as dates and bytes. The forms are those of the official adapters: "json" and "msgpack" always are what
// they say, the others are JSON unless there are bytes. With "like json" MessagePack leaves out what JSON does.
function encodeValue(value, form) {
  if (form === "msgpack" || (form !== "json" && holdsBinary(value))) {
    return { text: "m", attachments: [Buffer.from(msgpack.encode(packable(value, form === "like json")))] };
  }
  return { text: `j${JSON.stringify(value) ?? "null"}`, attachments: none };
}

// Returns the value in a form that the encoder takes. It knows views of bytes, and takes an ArrayBuffer for an empty object.
function packable(value, isLikeJson, depth = 0) {
  if (value instanceof ArrayBuffer) {
    return new Uint8Array(value);
  }
  if (!value || typeof value !== "object" || ArrayBuffer.isView(value) || value instanceof Date || depth > 100) {
    return value;
  }
  const inner = (part) => packable(part, isLikeJson, depth + 1);
  if (Array.isArray(value)) {
    return value.map(inner);
  }
  if (isLikeJson && typeof value.toJSON === "function") {
    return inner(value.toJSON());
  }
  const isLeftOut = (part) => isLikeJson && (part === undefined || typeof part === "function");
  const entries = Object.keys(value).map((key) => [key, value[key]]);
  return Object.fromEntries(entries.filter(([, part]) => !isLeftOut(part)).map(([key, part]) => [key, inner(part)]));
}

function decodeValue(bytes) {
  return msgpack.decode(bytes);
}

module.exports = { EncodedEvent, ReceivedPacket, isOwnParser, encodeValue, decodeValue };
