// What the tests of browser module and examples share: Chromium, pages that collect their
// faults, and checks of accessibility.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// launch starts the browser that COUNTERSIGN_CHROMIUM names, by default /usr/bin/chromium.
export const launch = () =>
  chromium.launch({
    executablePath: process.env.COUNTERSIGN_CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

// open returns a page that collects in page.faults what is wrong: errors on the console,
// which include violations of the policy, errors of scripts, and requests to other origins.
// page.expected lists statuses of replies that are part of the test.
export async function open(browser, origins, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.faults = [];
  page.expected = [];
  page.on("console", (message) => {
    const refused = /the server responded with a status of (\d+)/.exec(message.text());
    if (["error", "warning"].includes(message.type()) && !(refused && page.expected.includes(Number(refused[1])))) {
      page.faults.push(`${message.type()} on the console of ${page.url()}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => page.faults.push(`script of ${page.url()}: ${error}`));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (!origins.includes(origin) && protocol !== "data:") {
      page.faults.push(`request to ${request.url()}`);
    }
  });
  page.setDefaultTimeout(30_000);
  return page;
}

// close closes a page and fails if it had faults.
export async function close(page) {
  await page.waitForTimeout(100); // for errors that arrive late
  const { faults } = page;
  await page.context().close();
  assert.deepEqual(faults, [], "faults of the page");
}

// authenticator adds a virtual authenticator and returns a function that calls methods of the
// domain WebAuthn of the DevTools protocol.
export async function authenticator(page, options = {}) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
  });
  return (method, params = {}) => devtools.send("WebAuthn." + method, { authenticatorId, ...params });
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
