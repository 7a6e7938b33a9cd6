// Builds the site of this version and of every released one:
//
//   node versions.mjs OUTPUT
//
// A release is a tag vX.Y.Z. Its site is in OUTPUT/vX.Y.Z, and the version in the menu of each
// page leads to the others. All are built with the tools of this version. SITE_BASE is the path of
// the whole, by default /. SITE_ROOT is the repository.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { writePolicy } from "./policy.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(process.env.SITE_ROOT ?? join(here, "../.."));
const output = resolve(process.argv[2] ?? join(root, ".cache/site"));
const base = process.env.SITE_BASE ?? "/";
const git = (...args) => execFileSync("git", ["-C", root, ...args], { encoding: "utf8" });

// Releases from before the documents had a site are left out.
const tags = git("tag", "--list", "v[0-9]*", "--sort=-v:refname").split("\n")
  .filter((tag) => /^v\d+\.\d+\.\d+$/.test(tag) && git("ls-tree", "--name-only", tag, "openapi.yaml", "docs/integrating.md").split("\n").length > 2);

// build builds one site. Links to other versions are relative to its base, which VitePress puts before them.
function build(folder, from, to) {
  const versions = [{ text: "Newest", link: `${to}/` }, ...tags.map((tag) => ({ text: tag.slice(1), link: `${to}/${tag}/` }))];
  execFileSync(process.execPath, [join(here, "build.mjs"), folder], {
    stdio: "inherit",
    env: { ...process.env, SITE_ROOT: from, SITE_BASE: folder === output ? base : `${base}${folder.slice(output.length + 1)}/`, SITE_VERSIONS: JSON.stringify(versions) },
  });
}

build(output, root, "");
for (const tag of tags) {
  const checkout = await mkdtemp(join(tmpdir(), "countersign-site-"));
  try {
    git("worktree", "add", "--detach", "--force", checkout, tag);
    build(join(output, tag), checkout, "/..");
  } finally {
    await rm(checkout, { recursive: true, force: true });
    if (existsSync(join(root, ".git"))) {
      git("worktree", "prune");
    }
  }
}
await writePolicy(output);
