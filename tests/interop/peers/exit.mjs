// Ends the process once everything that was written to stdout has been handed over. `process.exit` alone drops what a
// pipe has not taken yet.

export function exit(code) {
  process.stdout.write("", () => process.exit(code));
}
