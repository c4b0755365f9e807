// Values that JSON has no word for, as JSON: binaries, dates, undefined, odd numbers.
//
//   Buffer, typed array, ArrayBuffer  {"$bin": "<base64>"}
//   Date                              {"$date": "<iso>"}, null for an invalid one
//   undefined                         {"$undefined": true}
//   NaN, Infinity, -Infinity, -0      {"$num": "NaN"}, ...
//   bigint                            {"$bigint": "<decimal>"}
//   Error                             {"$error": "<message>"}
//   text with half a surrogate pair   {"$utf16": [<code units>]}

export function toJson(value) {
  switch (typeof value) {
    case "undefined":
      return { $undefined: true };
    case "bigint":
      return { $bigint: value.toString() };
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0) ? value : { $num: Object.is(value, -0) ? "-0" : `${value}` };
    case "string":
      return value.isWellFormed() ? value : { $utf16: Array.from({ length: value.length }, (_, i) => value.charCodeAt(i)) };
    case "function":
    case "symbol":
      return { $opaque: typeof value };
    case "object":
      return value === null ? null : objectToJson(value);
    default:
      return value;
  }
}

function objectToJson(value) {
  if (value instanceof Date) {
    return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() };
  }
  if (value instanceof ArrayBuffer) {
    return { $bin: Buffer.from(value).toString("base64") };
  }
  if (ArrayBuffer.isView(value)) {
    return { $bin: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (value instanceof Error) {
    return { $error: value.message };
  }
  if (value instanceof Map || Array.isArray(value) || value instanceof Set) {
    return [...value].map(toJson);
  }
  return Object.fromEntries(Object.keys(value).map((key) => [key, toJson(value[key])]));
}

export function fromJson(value) {
  if (Array.isArray(value)) {
    return value.map(fromJson);
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  const keys = Object.keys(value);
  if (keys.length === 1) {
    switch (keys[0]) {
      case "$bin":
        return Buffer.from(value.$bin, "base64");
      case "$date":
        return new Date(value.$date ?? NaN);
      case "$undefined":
        return undefined;
      case "$num":
        return Number(value.$num);
      case "$bigint":
        return BigInt(value.$bigint);
      case "$utf16":
        return String.fromCharCode(...value.$utf16);
    }
  }
  return Object.fromEntries(keys.map((key) => [key, fromJson(value[key])]));
}
