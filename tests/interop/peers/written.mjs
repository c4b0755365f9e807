// Values in a form that leaves nothing open:
//
//   null true false    numbers: n and the 16 hexadecimal digits of the float    binary: b and hexadecimal digits
//   text: quoted, UTF-16 code units beyond printable ASCII as \uXXXX            dates: their ISO text, or null
//   lists: [a,b]       objects: {"key":value}, sorted by key as written here    undefined: u

import { ExtData } from "@msgpack/msgpack";

function text(string) {
  return `"${string.replace(/[^ -~]|["\\]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)}"`;
}

function number(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(Number.isNaN(value) ? NaN : value);
  return `n${bytes.toString("hex")}`;
}

export function written(value) {
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
