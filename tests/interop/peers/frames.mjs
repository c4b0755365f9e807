// From stream entries to the frames for clients, as the official adapter and the server's encoder make them, and what that takes.
//
// Started with one argument, a JSON object: {millis, entries: [{id, nsp, data}]}. Writes one JSON line for each entry: {nanos, text, attachments}, the
// time for one, and what came out, binary as base64.

import { decode } from "@msgpack/msgpack";
import { Encoder } from "socket.io-parser";

const encoder = new Encoder();

function frames({ id, nsp, data }) {
  const { packet } = data.startsWith("{") ? JSON.parse(data) : decode(Buffer.from(data, "base64"));
  packet.data.push(id);
  packet.nsp = nsp;
  return encoder.encode(packet);
}

function measure(entry, millis) {
  let done = 0;
  let nanos = 0n;
  const began = process.hrtime.bigint();
  const enough = BigInt(millis) * 1_000_000n;
  while (nanos < enough) {
    for (let at = 0; at < 16; at++) {
      frames(entry);
    }
    done += 16;
    nanos = process.hrtime.bigint() - began;
  }
  return Number(nanos) / done;
}

const { millis, entries } = JSON.parse(process.argv[2]);
for (const entry of entries) {
  // What is compiled as it runs has been compiled then.
  measure(entry, millis);
  const nanos = measure(entry, millis);
  const [text, ...attachments] = frames(entry);
  const base64 = attachments.map((attachment) => Buffer.from(attachment).toString("base64"));
  console.log(JSON.stringify({ nanos, text, attachments: base64 }));
}
