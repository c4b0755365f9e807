// Makes the package with the compiled module for this platform, in the directory that is the argument. `npm pack` packs it.

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { libc, platformPackage } = createRequire(import.meta.url)("../lib/platform.js");

const directory = process.argv[2];
if (directory === undefined) {
  console.error("usage: node scripts/platform.mjs <directory>");
  process.exit(1);
}
mkdirSync(directory, { recursive: true });
const { status } = spawnSync(process.execPath, [join(root, "scripts/build.mjs")], {
  stdio: "inherit",
  env: { ...process.env, SIO_STREAMS_NODE_PROFILE: "release", SIO_STREAMS_NODE_OUTPUT: join(directory, "sio-streams.node") },
});
if (status !== 0) {
  process.exit(status ?? 1);
}

const { name, version, license, repository, engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const manifest = {
  name: platformPackage(),
  version,
  description: `The native module of ${name}, compiled for ${process.platform} on ${process.arch}`,
  license,
  repository,
  main: "sio-streams.node",
  files: ["sio-streams.node", "CHANGELOG.md", "LICENSE-*"],
  engines,
  os: [process.platform],
  cpu: [process.arch],
  ...(process.platform === "linux" && { libc: [libc() === "-gnu" ? "glibc" : "musl"] }),
};
writeFileSync(join(directory, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
writeFileSync(
  join(directory, "README.md"),
  `# ${manifest.name}\n\n${manifest.description}. The package [\`${name}\`](https://www.npmjs.com/package/${name}) asks for it.\n`,
);
for (const file of ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"]) {
  copyFileSync(join(root, "..", file), join(directory, file));
}
