// What tests of pages share: a browser, and checks of a page.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const widths = [320, 768, 1280]; // 320 is the narrowest width that WCAG 2.2 requires (1.4.10)
export const themes = ["light", "dark"];

export const browser = await chromium.launch({
  executablePath: process.env.COUNTERSIGN_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// open returns a page that collects what is wrong with it in page.faults, for a server at origin.
export async function open(origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
      page.faults.push(`${message.type()} on the console of ${page.url()}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => page.faults.push(`script of ${page.url()}: ${error}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && url.protocol !== "data:") {
      page.faults.push(`request to ${request.url()}`);
    }
  });
  page.setDefaultTimeout(30_000);
  return page;
}

export async function close(page) {
  const faults = page.faults;
  await page.context().close();
  assert.deepEqual(faults, [], "faults of the page");
}

// fits checks that the reader does not have to scroll sideways.
export async function fits(page) {
  const { wide, room, culprit } = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    const over = [...document.body.querySelectorAll("*")].find((element) => element.getBoundingClientRect().right > room + 1);
    return { wide: document.documentElement.scrollWidth, room, culprit: over?.outerHTML.slice(0, 200) };
  });
  assert.ok(wide <= room, `${page.url()} is ${wide} px wide in ${room} px: ${culprit}`);
}

// accessible checks a page with axe-core: WCAG 2.2 A and AA, and axe's best practices.
export async function accessible(page) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + " " + node.any.map((check) => check.message).join(" ")).join("; ")}`);
  });
  assert.deepEqual(violations, [], `axe-core on ${page.url()}`);
}
