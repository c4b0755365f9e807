// Gathers the crates that the native module is built from into `rust/`, for `npm pack`: they are on no registry. With
// `--remove`, it removes them again: scripts/build.mjs would build them, and not those of the repository.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CRATES = ["core", "resp", "redis-model", "driver", "backend-redis-rs"];

const root = fileURLToPath(new URL("..", import.meta.url));
const repository = join(root, "..");
const packed = join(root, "rust");

// Files of the repository that belong to every package.
const SHARED = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];
rmSync(packed, { recursive: true, force: true });
if (process.argv.includes("--remove")) {
  SHARED.forEach((file) => rmSync(join(root, file), { force: true }));
  process.exit(0);
}
mkdirSync(packed);
// What tests need is left out of the manifests: it is not in the package.
const withoutTests = (manifest) =>
  manifest
    .split(/^(?=\[)/m)
    .filter((table) => !/^\[(dev-dependencies|\[?(test|bench|example))/.test(table))
    .join("");
// The files that `include` in a manifest leaves out, which are for tests.
const leftOut = (manifest) => [...manifest.matchAll(/^ *"!\/(.*?)\/?",$/gm)].map(([, path]) => path);
const gather = (from, to, files) => {
  const manifest = readFileSync(join(from, "Cargo.toml"), "utf8");
  const tests = leftOut(manifest).map((path) => join(from, path));
  for (const file of files) {
    cpSync(join(from, file), join(to, file), { recursive: true, filter: (path) => !tests.includes(path) });
  }
  writeFileSync(join(to, "Cargo.toml"), withoutTests(manifest));
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
for (const file of SHARED) {
  cpSync(join(repository, file), join(root, file));
}
