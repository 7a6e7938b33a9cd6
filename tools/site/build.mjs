// Builds the site of the documents:
//
//   node build.mjs OUTPUT
//
// It copies the Markdown files of the repository into a folder of its own, makes the pages
// of the API reference from openapi.yaml, and runs VitePress. SITE_BASE is the path under
// which the site will be served, by default /. OUTPUT/content-security-policy.txt is the
// policy with which the site works. versions.mjs sets SITE_ROOT, the folder of another version of the
// repository, and SITE_VERSIONS, the menu of versions.
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vitepress";
import { writePolicy } from "./policy.mjs";
import { reference } from "./reference.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(process.env.SITE_ROOT ?? join(here, "../.."));
const output = resolve(process.argv[2] ?? join(root, ".cache/site"));
const source = join(here, "src");
const github = "https://github.com/countersign-mfa/countersign";

// link returns the target of a link for the site: a file that is not a page is at GitHub.
function link(from, target) {
  if (/^[a-z]+:|^#/.test(target)) {
    return target.replace(`${github}/blob/main/docs/`, "/docs/");
  }
  const [path, anchor = ""] = target.split("#");
  const file = relative(root, resolve(root, dirname(from), path));
  if (file === "openapi.yaml") {
    return "/reference/";
  }
  if (file === "README.md") {
    return "/";
  }
  const page = file.endsWith(".md") && (file.startsWith("docs/") || !file.includes("/"));
  if (page || /\.(png|svg)$/.test(file)) {
    return target;
  }
  return `${github}/${path.endsWith("/") || !/\.\w+$/.test(file) && file !== "LICENSE" ? "tree" : "blob"}/main/${file}${anchor && "#" + anchor}`;
}

// stage copies a Markdown file. Links in blocks of code stay as they are.
async function stage(file, to = file) {
  let fenced = false;
  const text = (await readFile(join(root, file), "utf8")).split("\n").map((line) => {
    if (line.startsWith("```")) {
      fenced = !fenced;
    }
    return fenced ? line : line.replaceAll(/(\]\()([^)\s]+)(\))/g, (_, before, target, after) => before + link(file, target) + after);
  }).join("\n");
  await mkdir(dirname(join(source, to)), { recursive: true });
  await writeFile(join(source, to), text);
  return text;
}

await rm(source, { recursive: true, force: true });
for (const entry of await readdir(join(root, "docs"), { recursive: true, withFileTypes: true })) {
  const file = relative(root, join(entry.parentPath, entry.name));
  if (entry.isFile() && file.endsWith(".md")) {
    await stage(file);
  } else if (entry.isFile() && /\.(png|svg)$/.test(file)) {
    await cp(join(root, file), join(source, file));
  }
}
for (const file of ["CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"]) {
  await stage(file);
}
await cp(join(root, "tools/site/index.md"), join(source, "index.md"));
const openapi = await readFile(join(root, "openapi.yaml"), "utf8");
const { pages, sidebar, version } = reference(openapi);
await mkdir(join(source, "reference"), { recursive: true });
for (const [name, text] of Object.entries(pages)) {
  await writeFile(join(source, "reference", name + ".md"), text);
}
await mkdir(join(source, "public"), { recursive: true });
await writeFile(join(source, "public/openapi.yaml"), openapi);
await writeFile(join(source, "reference.json"), JSON.stringify({ sidebar, version }));

process.env.SITE_OUTPUT = output;
await build(here);

await writePolicy(output);
