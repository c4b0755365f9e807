// Many sessions restored at once by the real adapter: argv[2] is {generation, url, sessions: [[pid, offset], ..]} in a file.
// Writes {ms, restored, packets, rssMb} when it is done.

import { readFileSync } from "node:fs";
import { exit } from "./exit.mjs";
import { startServer } from "./server.mjs";

const { sessions, ...config } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { io } = await startServer({ ...config, recovery: true });
const { adapter } = io.of("/");

let peak = 0;
const sample = () => {
  peak = Math.max(peak, process.memoryUsage.rss());
};
sample();
const before = peak;
const sampling = setInterval(sample, 20);

const start = performance.now();
let packets = 0;
const restored = await Promise.allSettled(
  sessions.map(async ([pid, offset]) => {
    const session = await adapter.restoreSession(pid, offset);
    packets += session.missedPackets.length;
    sample();
  }),
);
const ms = performance.now() - start;
clearInterval(sampling);
const count = restored.filter(({ status }) => status === "fulfilled").length;
console.log(JSON.stringify({ ms, restored: count, packets, peakMb: (peak - before) / 2 ** 20 }));
exit(0);
