// Gathers the crates that the native module is built from into `rust/`, for `npm pack`: they are on no registry. With
// `--remove`, it removes them again: scripts/build.mjs would build them, and not those of the repository.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CRATES = ["core", "resp", "redis-model", "driver", "backend-redis-rs"];

const root = fileURLToPath(new URL("..", import.meta.url));
const repository = join(root, "..");
const packed = join(root, "rust");

const LICENCES = ["LICENSE-APACHE", "LICENSE-MIT"];
rmSync(packed, { recursive: true, force: true });
if (process.argv.includes("--remove")) {
  LICENCES.forEach((licence) => rmSync(join(root, licence)));
  process.exit(0);
}
mkdirSync(packed);
// What tests need is left out of the manifests: it is not in the package.
const withoutTests = (manifest) =>
  manifest
    .split(/^(?=\[)/m)
    .filter((table) => !/^\[(dev-dependencies|\[?(test|bench|example))/.test(table))
    .join("");
const gather = (from, to, files) => {
  for (const file of files) {
    cpSync(join(from, file), join(to, file), { recursive: true });
  }
  writeFileSync(join(to, "Cargo.toml"), withoutTests(readFileSync(join(from, "Cargo.toml"), "utf8")));
};
for (const crate of CRATES) {
  gather(join(repository, crate), join(packed, crate), ["src"]);
}
gather(root, join(packed, "adapter-node"), ["src", "build.rs", "Cargo.lock"]);
const workspace = readFileSync(join(repository, "Cargo.toml"), "utf8")
  .replace(/members = \[[^\]]*\]/, `members = ${JSON.stringify(CRATES)}`)
  .replace(/^default-members.*\n/m, "")
  .replace(/^exclude = .*/m, 'exclude = ["adapter-node"]');
writeFileSync(join(packed, "Cargo.toml"), workspace);
// The documentation of the driver's crate shows the repository's page.
cpSync(join(repository, "README.md"), join(packed, "README.md"));
for (const licence of LICENCES) {
  cpSync(join(repository, licence), join(root, licence));
}
