// Random values of JavaScript, by a seed.
"use strict";

// A generator of numbers below 1: the same ones for the same seed.
function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

class Point {
  constructor(x) {
    this.x = x;
  }
  get double() {
    return 2 * this.x;
  }
}

class Money {
  constructor(cents) {
    this.cents = cents;
  }
  toJSON() {
    return `${this.cents} ¢`;
  }
}

// The MessagePack of the official Pub/Sub adapters takes whole numbers of more than 64 bits for others.
const NUMBERS = [0, -0, 1, -1, 0.1, NaN, Infinity, -Infinity, 255, 65_536, 2 ** 31, -(2 ** 31) - 1, 2 ** 53 - 1, 2 ** 60, 1e-320, 2 ** 63];
const TEXTS = ["", "a", "é", "𝄞", "\u0000", "\n\r\t\"\\/", "\u2028\u2029", "{}", "[1]", "_placeholder", "5-1"];
// They have no place in MessagePack, and the official adapters take some for others.
const HALVES = ["\ud800", "\udc00x"];
const KEYS = ["a", "b", "", "0", "17", "\n", "é", "constructor", "toString", "length", "type", "num", "nsp", "data"];
const VIEWS = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array];

// Makes values.
class Values {
  #random;
  #bytes;
  #wrong;

  // `wrong`: the share of parts that can't be sent. `bytes`: whether there are binary ones.
  constructor(seed, { wrong = 0, bytes = true } = {}) {
    this.#random = randomOf(seed);
    this.#wrong = wrong;
    this.#bytes = bytes;
  }

  #below(bound) {
    return Math.floor(this.#random() * bound);
  }

  #one(list) {
    return list[this.#below(list.length)];
  }

  #list(most, make) {
    return Array.from({ length: this.#below(most + 1) }, make);
  }

  #key(value, key = this.#one(KEYS)) {
    return (inner) => Object.defineProperty(value, key, { value: inner, enumerable: true, writable: true, configurable: true });
  }

  value(depth = 5) {
    if (this.#random() < this.#wrong) {
      return this.#broken(depth);
    }
    return this.#random() < 0.45 && depth > 0 ? this.#container(depth - 1) : this.#leaf();
  }

  #leaf() {
    switch (this.#below(this.#bytes ? 14 : 10)) {
      case 0:
        return undefined;
      case 1:
        return null;
      case 2:
        return this.#random() < 0.5;
      case 3:
        return this.#one(NUMBERS);
      case 4:
        return (this.#random() - 0.5) * 2 ** this.#below(62);
      case 5:
        return this.#one(this.#bytes ? TEXTS : [...TEXTS, ...HALVES]).repeat(1 + this.#below(3));
      case 6:
        // Rarely something huge.
        return this.#one(TEXTS).repeat(this.#random() < 0.05 ? 200_000 : 40);
      case 7:
        return new Date(this.#random() < 0.1 ? NaN : this.#below(2 ** 45) - 2 ** 44);
      case 8:
        return new Money(this.#below(1_000));
      case 9:
        return this.#one([new Map([["a", 1]]), new Set([1]), /x/g, new Error("some error"), new Number(5), new String("ab"), new Boolean(false)]);
      default:
        return this.#binary();
    }
  }

  #binary() {
    const length = this.#random() < 0.05 ? 100_000 : this.#below(20);
    const bytes = Uint8Array.from({ length: length + 8 }, () => this.#below(256));
    switch (this.#below(4)) {
      case 0:
        return Buffer.from(bytes).subarray(this.#below(8));
      case 1:
        return bytes.buffer;
      case 2:
        return new DataView(bytes.buffer, this.#below(8));
      default: {
        const View = this.#one(VIEWS);
        const count = Math.floor(bytes.length / View.BYTES_PER_ELEMENT) - 1;
        return new View(bytes.buffer.slice(0, (count + 1) * View.BYTES_PER_ELEMENT), View.BYTES_PER_ELEMENT, count);
      }
    }
  }

  #container(depth) {
    const inner = () => this.value(depth);
    switch (this.#below(10)) {
      case 0:
      case 1:
        return this.#list(4, inner);
      case 2: {
        // With holes.
        const list = this.#list(3, inner);
        list[list.length + this.#below(3)] = inner();
        return list;
      }
      case 3:
        return Object.assign(new Point(inner()), { y: inner() });
      case 4:
        return this.#object(Object.create(null), inner);
      case 5: {
        const made = inner();
        return { toJSON: () => made };
      }
      case 6: {
        const made = inner();
        return this.#object(Object.defineProperty({}, "got", { enumerable: true, get: () => made }), inner);
      }
      case 7:
        return new Proxy(this.#random() < 0.5 ? this.#list(3, inner) : this.#object({}, inner), {});
      case 8: {
        // Twice the same, which is no circle.
        const made = inner();
        return [made, { made }];
      }
      default:
        return this.#object({ hidden: inner() }, inner);
    }
  }

  #object(object, inner) {
    for (const value of this.#list(4, inner)) {
      this.#key(object)(value);
    }
    return object;
  }

  // A value that can't be sent, as a whole or in one place.
  #broken(depth) {
    const fail = () => {
      throw new Error("own words");
    };
    switch (this.#below(6)) {
      case 0:
        return BigInt(this.#below(2 ** 40)) ** 3n;
      case 1: {
        const circle = { inner: this.value(Math.max(0, depth - 1)) };
        circle.self = [circle];
        return circle;
      }
      case 2:
        return Object.defineProperty({ first: 1 }, "broken", { enumerable: true, get: fail });
      case 3:
        return { toJSON: fail };
      case 4:
        return new Proxy({ a: 1 }, { [this.#one(["ownKeys", "get"])]: fail });
      default: {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      }
    }
  }
}

// The words of what can't be sent.
const WRONG = /own words|circular|BigInt|revoked|Unrecognized object|Too deep|call stack/i;

// The official adapters lose some bytes where they use MessagePack: an ArrayBuffer is an empty object, or a view of
// longer numbers loses their upper parts. Buffers are right.
function withBuffers(value) {
  if (value instanceof ArrayBuffer) {
    return Buffer.from(value);
  }
  if (ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  if (typeof value === "function") {
    // It is some toJSON().
    return (...args) => withBuffers(value(...args));
  }
  if (!value || typeof value !== "object" || [Date, Number, String, Boolean].some((kind) => value instanceof kind)) {
    return value;
  }
  if (Array.isArray(value)) {
    return Array.from(value, withBuffers);
  }
  const entries = Object.keys(value).map((key) => [key, { value: withBuffers(value[key]), enumerable: true }]);
  return Object.create(Object.getPrototypeOf(value), Object.fromEntries(entries));
}

module.exports = { Values, WRONG, withBuffers, randomOf };
