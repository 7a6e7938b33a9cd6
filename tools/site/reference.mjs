// Makes the pages of the API reference from the text of openapi.yaml.
import { parse } from "yaml";

const methods = ["get", "post", "put", "patch", "delete"];

// reference returns the text of each page by its name, and the sidebar.
export function reference(text) {
  const api = parse(text);
  const resolve = (value) => {
    while (value?.$ref) {
      value = value.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], api);
    }
    return value;
  };
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    methods.filter((method) => item[method]).map((method) => ({ path, method, item, ...item[method] })));

  const pages = {};
  for (const operation of operations) {
    pages[operation.operationId] = page(api, resolve, operation);
  }
  const tags = api.tags.map((tag) => ({ ...tag, operations: operations.filter((operation) => operation.tags[0] === tag.name) }));
  pages.index = [
    "# API reference", "",
    `Version ${api.info.version}, from [openapi.yaml](/openapi.yaml){target="_self"}. The server itself serves this file at \`/openapi.yaml\`: tools such as Bruno, Postman or Insomnia import it and call \`countersign dev\`, whose page \`/dev/explorer\` sends each request. `
    + "A page of another site cannot call the API, because API keys do not belong in browsers; so these pages show commands for a terminal.", "",
    ...tags.flatMap((tag) => [`## ${tag.name}`, "", clean(tag.description), "", "| operation | request |", "|---|---|",
      ...tag.operations.map((operation) => `| [${cell(operation.summary)}](./${operation.operationId}.md) | \`${operation.method.toUpperCase()} ${operation.path}\` |`), ""]),
    "## Development", "", "`countersign dev` also serves `/dev/inbox`, `/dev/clock`, `/dev/faults` and `/dev/reset`, which no other server has: see [tests of your application](/docs/testing.md).", "",
    "## General rules", "", clean(api.info.description).replaceAll(/^## /gm, "### "),
  ].join("\n");
  const sidebar = tags.map((tag) => ({
    text: tag.name,
    items: tag.operations.map((operation) => ({ text: operation.summary, link: `/reference/${operation.operationId}` })),
  }));
  return { pages, sidebar, version: api.info.version };
}

function page(api, resolve, operation) {
  const { path, method, item } = operation;
  const out = [`# ${operation.summary}`, "", `\`${method.toUpperCase()} ${path}\``, "", clean(operation.description ?? ""), ""];
  const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
  if (parameters.length > 0) {
    out.push("## Parameters", "", "| name | in | meaning |", "|---|---|---|",
      ...parameters.map((p) => `| \`${p.name}\`${p.required ? ", required" : ""} | ${p.in} | ${cell([p.description, limits(resolve, p.schema)].filter(Boolean).join(" "))} |`), "");
  }
  const body = resolve(operation.requestBody);
  const content = body?.content["application/json"];
  if (content) {
    out.push("## Request body", "", ...fields(resolve, content.schema));
  }
  out.push("## Example", "", "```sh", curl(api, operation, parameters, content && example(resolve, content)), "```", "");
  out.push("## Replies", "");
  for (const [status, reference] of Object.entries(operation.responses)) {
    const reply = resolve(reference);
    out.push(`### ${status}`, "", clean(reply.description), "");
    const json = reply.content?.["application/json"];
    if (json) {
      if (status < "300") {
        out.push(...fields(resolve, json.schema));
      }
      for (const [summary, value] of examples(resolve, json)) {
        out.push(...(summary ? [summary + ":", ""] : []), "```json", JSON.stringify(value, null, 2), "```", "");
      }
    }
  }
  return out.join("\n");
}

// clean returns text of openapi.yaml for a page: links inside the description of the API lead to its pages.
function clean(text) {
  return text.replaceAll(/\]\(#\/components\/schemas\/Error\)/g, "](/docs/errors.md)")
    .replaceAll(/\[([^\]]*)\]\(#\/[^)]*\)/g, "$1")
    .replaceAll("https://github.com/countersign-mfa/countersign/blob/main/docs/", "/docs/")
    .replaceAll(/(?<!\/)\bdocs\/([a-z-]+)\.md\b/g, "[$1](/docs/$1.md)")
    .trim();
}

const cell = (text) => clean(text ?? "").replaceAll(/\s*\n\s*/g, " ").replaceAll("|", "\\|");

// limits describes a schema in a few words.
function limits(resolve, schema) {
  const s = resolve(schema) ?? {};
  const out = [];
  const type = Array.isArray(s.type) ? s.type.join(" or ") : s.type;
  if (type) out.push(`Type: ${type}.`);
  if (s.enum) out.push(`One of ${s.enum.map((value) => `\`${JSON.stringify(value)}\``).join(", ")}.`);
  if (s.const !== undefined) out.push(`Always \`${JSON.stringify(s.const)}\`.`);
  if (s.default !== undefined) out.push(`Default \`${JSON.stringify(s.default)}\`.`);
  if (s.minimum !== undefined) out.push(`At least ${s.minimum}.`);
  if (s.maximum !== undefined) out.push(`At most ${s.maximum}.`);
  if (s.maxLength !== undefined) out.push(`At most ${s.maxLength} characters.`);
  return out.join(" ");
}

// members returns the keys of an object, also of the schemas that it combines.
function members(resolve, schema, prefix = "", depth = 0, seen = new Map()) {
  const s = resolve(schema) ?? {};
  for (const part of [...(s.allOf ?? []), ...(s.oneOf ?? []), ...(s.anyOf ?? [])]) {
    members(resolve, part, prefix, depth, seen);
  }
  for (const [name, value] of Object.entries(s.properties ?? {})) {
    const key = prefix + name;
    const v = resolve(value) ?? {};
    if (!seen.has(key)) {
      seen.set(key, { required: s.required?.includes(name) && !s.oneOf, text: [v.description, limits(resolve, v)].filter(Boolean).join(" ") });
    }
    if (depth < 2) {
      members(resolve, v, key + ".", depth + 1, seen);
      if (v.items) {
        members(resolve, v.items, key + "[].", depth + 1, seen);
      }
    }
  }
  if (s.items && depth === 0) {
    members(resolve, s.items, prefix + "[].", depth + 1, seen);
  }
  return seen;
}

function fields(resolve, schema) {
  const all = members(resolve, schema);
  if (all.size === 0) {
    return [];
  }
  return ["| key | meaning |", "|---|---|", ...[...all].map(([name, { required, text }]) => `| \`${name}\`${required ? ", required" : ""} | ${cell(text)} |`), ""];
}

function examples(resolve, content) {
  if (content.examples) {
    return Object.values(content.examples).map(resolve).map(({ summary, value }) => [summary, value]);
  }
  return content.example === undefined ? [] : [["", content.example]];
}

const example = (resolve, content) => examples(resolve, content)[0]?.[1];

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// curl returns a command that calls an operation of countersign dev.
function curl(api, { path, method, security }, parameters, body) {
  const open = security?.length === 0;
  const variable = path.replaceAll(/\{(\w+)\}/g, (_, name) => "$" + name.toUpperCase());
  const lines = [`curl -sS${method === "get" || (method === "post" && body !== undefined) ? "" : " -X " + method.toUpperCase()} "${api.servers[0].url}${variable}"`];
  if (!open) {
    lines.push(`  -H "Authorization: Bearer $${path.startsWith("/operator") ? "OPERATOR_KEY" : "API_KEY"}"`);
  }
  if (body !== undefined) {
    lines.push(`  -d ${quote(JSON.stringify(body))}`);
  }
  return lines.join(" \\\n");
}
