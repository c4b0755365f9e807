// The peers' own decoders, to be compared with. Reads lines `<decoder> <base64>`, answers each with one line: `ok <value>` or
// `error <why>`. A value is written as `written.mjs` does it. What the adapters do with a message, `adapters.mjs` tells.

import { createInterface } from "node:readline";
import { decode } from "@msgpack/msgpack";
import notepack from "notepack.io";
import { Decoder, PacketType } from "socket.io-parser";
import { clientsGet, does } from "./adapters.mjs";
import { exit } from "./exit.mjs";
import { written } from "./written.mjs";

const decoders = {
  msgpack: (bytes) => decode(bytes),
  notepack: (bytes) => withoutUndefined(notepack.decode(bytes)),
  // As the redis clients hand a field over: as text.
  json: (bytes) => JSON.parse(bytes.toString("utf8")),
  // What RedisStreamsAdapter.decode does with a field that is no JSON.
  base64: (bytes) => decode(Buffer.from(bytes.toString("utf8"), "base64")),
  parser: packets,
  int: (bytes) => parseInt(bytes.toString("utf8"), 10),
};

// The packets that the parser makes of the frames of a connection. The frames are [[mark, base64], ...]; the mark of a text is "t".
function packets(bytes) {
  const decoder = new Decoder();
  const decoded = [];
  decoder.on("decoded", (packet) => {
    // Only events and acknowledgements use the id, and an acknowledgement without data has no arguments.
    if (packet.type !== PacketType.EVENT && packet.type !== PacketType.ACK) {
      delete packet.id;
    }
    if (packet.type === PacketType.ACK) {
      packet.data ??= [];
    }
    decoded.push(packet);
  });
  for (const [mark, base64] of JSON.parse(bytes)) {
    const frame = Buffer.from(base64, "base64");
    decoder.add(mark === "t" ? frame.toString("utf8") : frame);
  }
  return decoded;
}

// As JSON has it.
function withoutUndefined(value) {
  if (Array.isArray(value)) {
    return value.map(withoutUndefined);
  }
  if (value === undefined || Object.prototype.toString.call(value) !== "[object Object]") {
    return value ?? null;
  }
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutUndefined(inner)]));
}

async function answer(line) {
  const [decoder, base64] = line.split(" ");
  const bytes = Buffer.from(base64, "base64");
  try {
    if (decoder === "frames") {
      return `ok ${clientsGet(JSON.parse(bytes))}`;
    }
    return `ok ${decoder in decoders ? written(decoders[decoder](bytes)) : await does(decoder, bytes)}`;
  } catch (error) {
    return `error ${error.message.replaceAll("\n", " ")}`;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${await answer(line)}\n`);
}
// Timers of adapters are of no use any more.
exit(0);
