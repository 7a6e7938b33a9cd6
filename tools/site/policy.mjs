// Writes the Content-Security-Policy of a built site.
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

// writePolicy writes content-security-policy.txt into the folder of a site. VitePress has a few scripts in its
// pages: the policy names them by their hashes.
export async function writePolicy(output) {
  const hashes = new Set();
  for (const entry of await readdir(output, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name.endsWith(".html")) {
      const text = await readFile(join(entry.parentPath, entry.name), "utf8");
      for (const [, script] of text.matchAll(/<script(?![^>]* src=)[^>]*>([\s\S]*?)<\/script>/g)) {
        hashes.add(`'sha256-${createHash("sha256").update(script).digest("base64")}'`);
      }
    }
  }
  await writeFile(join(output, "content-security-policy.txt"),
    `default-src 'none'; script-src 'self' ${[...hashes].sort().join(" ")}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; ` +
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'\n");
}
