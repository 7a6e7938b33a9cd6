import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";

const made = JSON.parse(readFileSync(fileURLToPath(new URL("../src/reference.json", import.meta.url)), "utf8"));
const versions = JSON.parse(process.env.SITE_VERSIONS ?? "[]").map((version) => ({ ...version, target: "_self" }));
const page = (text, name) => ({ text, link: `/docs/${name}` });

const guides = [
  {
    text: "Integrators",
    items: [
      page("Integrating", "integrating"), page("Client libraries", "clients"), page("Tests of your application", "testing"), page("Errors", "errors"),
      page("Passkeys", "webauthn"), page("Pages and fields", "browser"), page("Events", "events"), page("Webhooks", "webhooks"),
      page("Signed receipts", "receipts"), page("RADIUS and PAM", "bridges"), page("Embedding in Go", "embedding"),
    ],
  },
  {
    text: "Operators",
    items: [
      page("Installing", "install"), page("Operating and configuration", "operating"), page("Many nodes", "scaling"), page("Text messages", "delivery"),
      {
        text: "Providers",
        items: [
          page("Routing", "delivery/routing"), page("Twilio", "delivery/twilio"), page("Vonage", "delivery/vonage"), page("AWS", "delivery/aws"), page("MessageBird", "delivery/messagebird"),
          page("Plivo", "delivery/plivo"), page("Telnyx", "delivery/telnyx"), page("SMPP", "delivery/smpp"), page("Your own", "delivery/webhook"),
        ],
      },
      page("Operator API", "operator-api"), page("Alerts and dashboard", "alerts"), page("Statistics", "statistics"), page("SIEM and log systems", "siem"), page("Traces", "telemetry"), page("Performance", "performance"),
      page("Security model", "security-model"), { text: "Changes and upgrades", link: "/CHANGELOG" },
    ],
  },
  { text: "Support", items: [page("Answers for a support desk", "support"), page("The console", "console")] },
  {
    text: "Project",
    items: [{ text: "Security reports", link: "/SECURITY" }, { text: "Contributing", link: "/CONTRIBUTING" }, page("Design decisions", "adr/README")],
  },
];

// A page that no list names is still found.
const listed = new Set(JSON.stringify(guides).match(/\/docs\/[\w/-]+/g));
const others = readdirSync(fileURLToPath(new URL("../src/docs", import.meta.url)))
  .filter((file) => file.endsWith(".md") && !listed.has("/docs/" + file.slice(0, -3)))
  .map((file) => page(readFileSync(fileURLToPath(new URL("../src/docs/" + file, import.meta.url)), "utf8").match(/^# (.*)$/m)[1], file.slice(0, -3)));
if (others.length > 0) {
  guides.push({ text: "More", items: others });
}

// accessible makes wide tables scroll by keyboard, and other corrections of the pages.
function accessible(md) {
  md.renderer.rules.table_open = () => '<div class="wide" tabindex="0" role="group" aria-label="Table"><table>\n';
  md.renderer.rules.table_close = () => "</table></div>\n";
  // A column without a title has no header cell.
  for (const [rule, tag] of [["th_open", "<td>"], ["th_close", "</td>"]]) {
    md.renderer.rules[rule] = (tokens, i, options, env, self) => {
      const title = tokens[rule === "th_open" ? i + 1 : i - 1];
      return title.content === "" ? tag : self.renderToken(tokens, i, options);
    };
  }
  // A block that is only indented is a command or an answer. Without this, Vue reads {{code}} in it.
  md.renderer.rules.code_block = (tokens, i, options, env, self) => {
    tokens[i].info = /^\s*[[{]/.test(tokens[i].content) ? "json" : /^\s*(GET|POST|PATCH|DELETE) /.test(tokens[i].content) ? "http" : "sh";
    return md.renderer.rules.fence(tokens, i, options, env, self);
  };
  const text = md.renderer.rules.text;
  md.renderer.rules.text = (tokens, i, ...rest) => (text ? text(tokens, i, ...rest) : md.utils.escapeHtml(tokens[i].content)).replaceAll("{{", "&#123;&#123;");
}

export default defineConfig({
  title: "Countersign",
  description: "A server for second factors: authenticator apps, passkeys, text messages and recovery codes over the WorkOS MFA API.",
  lang: "en-US",
  base: process.env.SITE_BASE ?? "/",
  srcDir: "src",
  outDir: process.env.SITE_OUTPUT,
  cleanUrls: false,
  lastUpdated: false,
  head: [["link", { rel: "icon", href: "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath fill='%230b6e5f' d='M6 4h20a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H14l-8 6v-6a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z'/%3E%3C/svg%3E" }]],
  markdown: { config: accessible, languageAlias: { alloy: "hcl" }, theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" } },
  vite: { logLevel: "warn", build: { chunkSizeWarningLimit: 4096 } },
  themeConfig: {
    nav: [
      { text: "Guides", link: "/docs/integrating" },
      { text: "API", link: "/reference/" },
      { text: "Errors", link: "/docs/errors" },
      { text: made.version, items: [...versions.length > 0 ? [{ text: "Versions", items: versions }] : [], { text: "Changes and upgrades", link: "/CHANGELOG" }, { text: "Security", link: "/docs/security-model" }] },
    ],
    sidebar: {
      "/reference/": [{ text: "API reference", link: "/reference/" }, ...made.sidebar],
      "/": guides,
    },
    outline: { level: [2, 3] },
    search: { provider: "local" },
    socialLinks: [{ icon: "github", link: "https://github.com/countersign-mfa/countersign" }],
    footer: { message: "Apache License 2.0" },
  },
});
