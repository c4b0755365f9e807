// The peers' own decoders, to be compared with. Reads lines `<decoder> <base64>`, answers each with one line: `ok <value>` or
// `error <why>`. A value is written in a form that leaves nothing open:
//
//   null true false    numbers: n and the 16 hexadecimal digits of the float    binary: b and hexadecimal digits
//   text: quoted, UTF-16 code units beyond printable ASCII as \uXXXX            dates: their ISO text, or null
//   lists: [a,b]       objects: {"key":value}, sorted by key as written here    undefined: u

import { createInterface } from "node:readline";
import { decode, ExtData } from "@msgpack/msgpack";
import notepack from "notepack.io";

const decoders = {
  msgpack: (bytes) => decode(bytes),
  notepack: (bytes) => notepack.decode(bytes),
  // As the redis clients hand a field over: as text.
  json: (bytes) => JSON.parse(bytes.toString("utf8")),
  // What RedisStreamsAdapter.decode does with a field that is no JSON.
  base64: (bytes) => decode(Buffer.from(bytes.toString("utf8"), "base64")),
  int: (bytes) => parseInt(bytes.toString("utf8"), 10),
};

function text(string) {
  return `"${string.replace(/[^ -~]|["\\]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`;
}

function number(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(Number.isNaN(value) ? NaN : value);
  return `n${bytes.toString("hex")}`;
}

function written(value) {
  switch (typeof value) {
    case "string":
      return text(value);
    case "number":
      return number(value);
    case "boolean":
      return `${value}`;
    case "undefined":
      return "u";
  }
  if (value === null) {
    return "null";
  }
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? "null" : text(value.toISOString());
  }
  if (value instanceof ExtData) {
    return written(value.data);
  }
  if (value instanceof ArrayBuffer) {
    return `b${Buffer.from(value).toString("hex")}`;
  }
  if (ArrayBuffer.isView(value)) {
    return `b${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}`;
  }
  if (Array.isArray(value)) {
    return `[${value.map(written).join(",")}]`;
  }
  const entries = Object.keys(value).map((key) => `${text(key)}:${written(value[key])}`);
  return `{${entries.sort().join(",")}}`;
}

function answer(line) {
  const [decoder, base64] = line.split(" ");
  try {
    return `ok ${written(decoders[decoder](Buffer.from(base64, "base64")))}`;
  } catch (error) {
    return `error ${error.message.replaceAll("\n", " ")}`;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${answer(line)}\n`);
}
