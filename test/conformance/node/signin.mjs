// Signs operators in to the console in a real browser, with its virtual authenticator, and
// prints the result of each step (see report.mjs):
//
//   node signin.mjs
//
// COUNTERSIGN_CONSOLE and COUNTERSIGN_SECOND_CONSOLE are the origins of the consoles of two
// nodes over one store; the first has the identity provider COUNTERSIGN_PROVIDER.
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY are for the API. COUNTERSIGN_HAND runs commands: see
// signin_test.go. COUNTERSIGN_CHROMIUM names the browser, by default /usr/bin/chromium.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { Report } from "./report.mjs";

const [first, second] = [process.env.COUNTERSIGN_CONSOLE, process.env.COUNTERSIGN_SECOND_CONSOLE];
const provider = process.env.COUNTERSIGN_PROVIDER;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: process.env.COUNTERSIGN_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const report = new Report("sign-in", browser.version());

// hand runs a command, or lets time pass.
async function hand(path, query = {}) {
  const reply = await fetch(process.env.COUNTERSIGN_HAND + path + "?" + new URLSearchParams(query), { method: "POST" });
  assert.ok(reply.ok, await reply.clone().text());
  return reply.text();
}

const link = (as, role = "viewer", at = first) => hand("/link", { as, role, at });
const command = (...args) => hand("/console", args.map((arg) => ["arg", arg]));

// A Person has a browser with an authenticator.
async function person(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    // Refused requests are part of these tests.
    if (["error", "warning"].includes(message.type()) && !/the server responded with a status of 4\d\d/.test(message.text())) {
      page.faults.push(`${message.type()} on the console: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => page.faults.push(`script: ${error}`));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (![first, second, provider].includes(origin) && protocol !== "data:") {
      page.faults.push(`request to ${request.url()}`);
    }
  });
  page.setDefaultTimeout(15_000);
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  page.authenticator = (method, params = {}) => devtools.send("WebAuthn." + method, { authenticatorId, ...params });
  return page;
}

async function leave(page) {
  await page.waitForTimeout(100); // for errors that arrive late
  const faults = page.faults;
  await page.context().close();
  assert.deepEqual(faults, [], "faults of the page");
}

async function register(page, address, name = "Laptop") {
  await page.goto(address);
  await make(page, name);
}

async function make(page, name) {
  await page.getByLabel("Name of the passkey").fill(name);
  await page.getByRole("button", { name: "Register a passkey" }).click();
}

const signedIn = (page, name) => page.locator(".who b", { hasText: name }).waitFor({ state: "attached" });
const problem = (page, text) => page.locator("#passkey-problem", { hasText: text }).waitFor();

async function signOut(page) {
  await page.evaluate(() => document.querySelector('form[action="/console/sign-out"]').requestSubmit());
  await page.waitForURL(/\/console\/sign-in$/);
}

async function signIn(page, at = first) {
  await page.goto(at + "/console/sign-in");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
}

const ada = await person();

await report.step("a one-time link registers a passkey", async () => {
  const address = await link("ada", "admin");
  await register(ada, address);
  await ada.waitForURL(first + "/console/**");
  await signedIn(ada, "ada");
  const { credentials } = await ada.authenticator("getCredentials");
  assert.equal(credentials.length, 1);
  assert.equal(credentials[0].rpId, "localhost");
});

await report.step("the secret of a link leaves the address bar, and a reload keeps it", async () => {
  const page = await person();
  const address = await link("late");
  await page.goto(address);
  assert.equal(page.url(), first + "/console/enroll");
  await page.reload();
  await make(page, "Laptop");
  await signedIn(page, "late");
  await page.goto(first + "/console/enroll");
  await problem(page, "The link is not complete");
  await leave(page);
});

await report.step("the browser keeps the session in a cookie that scripts cannot read", async () => {
  const cookies = (await ada.context().cookies()).filter(({ name }) => name.startsWith("__Host-"));
  assert.deepEqual(cookies.map(({ name, httpOnly, secure, sameSite, path, expires }) => ({ name, httpOnly, secure, sameSite, path, expires })), [
    { name: "__Host-countersign_session", httpOnly: true, secure: true, sameSite: "Strict", path: "/", expires: -1 },
  ]);
  assert.equal(await ada.evaluate(() => document.cookie.includes("__Host")), false);
});

await report.step("sign out, and sign in with the passkey", async () => {
  await signOut(ada);
  await ada.goto(first + "/console/environments");
  await ada.getByRole("heading", { name: "Sign in" }).waitFor();
  await ada.getByRole("link", { name: "Sign in" }).click();
  await ada.getByRole("button", { name: "Sign in with a passkey" }).click();
  await ada.waitForURL(first + "/console/environments");
  await signedIn(ada, "ada");
});

await report.step("a link works once", async () => {
  const address = await link("bob");
  const bob = await person();
  await register(bob, address);
  await signedIn(bob, "bob");
  const thief = await person();
  await register(thief, address);
  await problem(thief, "This link was used");
  await leave(thief);
  await leave(bob);
});

await report.step("a link expires", async () => {
  const page = await person();
  const address = await link("carol");
  await hand("/after-15-minutes");
  await register(page, address);
  await problem(page, "has expired");
  await leave(page);
});

await report.step("a person who is not verified, a bogus signature and a removed passkey are refused", async () => {
  const page = await person();
  await register(page, await link("dora"));
  await signedIn(page, "dora");
  await signOut(page);
  await page.authenticator("setUserVerified", { isUserVerified: false });
  await signIn(page);
  await problem(page, "No passkey was used");
  await page.authenticator("setUserVerified", { isUserVerified: true });
  await page.authenticator("setResponseOverrideBits", { isBogusSignature: true });
  await signIn(page);
  await problem(page, "This was not accepted");
  await page.authenticator("setResponseOverrideBits", { isBadUV: true });
  await signIn(page);
  await problem(page, "This was not accepted");
  await page.authenticator("setResponseOverrideBits", {});
  await signIn(page);
  await signedIn(page, "dora");
  await signOut(page);
  await page.authenticator("clearCredentials");
  await signIn(page);
  await problem(page, "No passkey was used");
  await leave(page);
});

await report.step("a cloned passkey is refused", async () => {
  const page = await person();
  await register(page, await link("erin"));
  await signedIn(page, "erin");
  await signOut(page);
  await signIn(page);
  await signedIn(page, "erin");
  await signOut(page);
  const { credentials: [key] } = await page.authenticator("getCredentials");
  await page.authenticator("removeCredential", { credentialId: key.credentialId });
  await page.authenticator("addCredential", { credential: { ...key, signCount: 0 } });
  await signIn(page);
  await problem(page, "This was not accepted");
  await leave(page);
});

await report.step("an action on a person needs a recent use of the passkey", async () => {
  const reply = await fetch(process.env.COUNTERSIGN_URL + "/auth/factors/enroll", {
    method: "POST",
    headers: { Authorization: "Bearer " + process.env.COUNTERSIGN_API_KEY, "Content-Type": "application/json" },
    body: JSON.stringify({ type: "generic_otp", user_id: "user_42" }),
  });
  const factor = await reply.json();
  const address = `${first}/console/e/staging/factors/${factor.id}`;
  await hand("/after-5-minutes");
  await ada.goto(address);
  assert.equal(await ada.getByText("Suspend the factor").count(), 0);
  await ada.getByRole("link", { name: "Confirm with your passkey" }).click();
  await ada.getByRole("button", { name: "Confirm with your passkey" }).click();
  await ada.waitForURL(address);
  await ada.locator("summary", { hasText: "Suspend the factor" }).click();
  await ada.locator("#reason-suspend").fill("ticket 4711");
  await hand("/after-5-minutes"); // while she types
  await ada.locator('form[action$="/suspend"] button').click();
  await ada.getByRole("heading", { name: "Confirm first" }).waitFor();
  await ada.getByRole("link", { name: "Confirm with your passkey" }).click();
  await ada.getByRole("button", { name: "Confirm with your passkey" }).click();
  await ada.waitForURL(address);
  await ada.locator("summary", { hasText: "Suspend the factor" }).click();
  await ada.locator("#reason-suspend").fill("ticket 4711");
  await ada.locator('form[action$="/suspend"] button').click();
  await ada.locator('[role="status"]', { hasText: "suspended" }).waitFor();
});

await report.step("a second passkey is added and removed", async () => {
  await ada.goto(first + "/console/account");
  const old = ada.authenticator;
  await ada.authenticator("clearCredentials"); // another device
  await ada.getByLabel("Name of a new passkey").fill("Phone");
  await ada.getByRole("button", { name: "Add a passkey" }).click();
  await ada.locator('[role="status"]', { hasText: "The passkey was added" }).waitFor();
  assert.equal((await old("getCredentials")).credentials.length, 1);
  await ada.getByRole("button", { name: "Remove the passkey Laptop" }).click();
  await ada.locator('[role="status"]', { hasText: "The passkey was removed" }).waitFor();
  await signedIn(ada, "ada");
});

await report.step("an administrator invites an operator", async () => {
  await ada.goto(first + "/console/operators");
  await ada.getByLabel("Name", { exact: true }).fill("frank");
  await ada.locator("#role").selectOption("support");
  await ada.locator("#reason").fill("new colleague");
  await ada.getByRole("button", { name: "Create a one-time link" }).click();
  const address = await ada.locator("main code").textContent();
  const frank = await person();
  await register(frank, address);
  await signedIn(frank, "frank");
  await frank.goto(first + "/console/operators");
  assert.equal(await frank.getByRole("button", { name: "Create a one-time link" }).count(), 0);
  await leave(frank);
});

await report.step("two nodes share sessions and passkeys", async () => {
  await ada.goto(second + "/console/environments");
  await signedIn(ada, "ada");
  await signOut(ada);
  await ada.goto(first + "/console/environments");
  await ada.getByRole("heading", { name: "Sign in" }).waitFor();
  await signIn(ada, second);
  await signedIn(ada, "ada");
  await ada.goto(first + "/console/environments");
  await signedIn(ada, "ada");
});

await report.step("sessions end on every node at once", async () => {
  for (const [end, again] of [
    [() => command("sign-out", "ada"), null],
    [() => hand("/after-30-minutes"), null],
    [() => command("disable", "ada"), () => command("enable", "ada")],
  ]) {
    await end();
    for (const node of [first, second]) {
      await ada.goto(node + "/console/environments");
      await ada.getByRole("heading", { name: "Sign in" }).waitFor();
    }
    if (again) {
      await signIn(ada, second);
      await problem(ada, "This was not accepted");
      await again();
    }
    await signIn(ada);
    await signedIn(ada, "ada");
  }
});

await report.step("the identity provider signs in and confirms", async () => {
  const grace = await person();
  await grace.goto(first + "/console/sign-in?back=/console/operators");
  await grace.getByRole("button", { name: /^Sign in with 127/ }).click();
  await grace.waitForURL(first + "/console/operators");
  await signedIn(grace, "grace");
  await grace.getByRole("link", { name: "Confirm to change operators" }).click();
  await grace.getByRole("button", { name: /^Sign in again with/ }).click();
  await grace.waitForURL(first + "/console/operators");
  await grace.getByRole("button", { name: "Create a one-time link" }).waitFor();
  await signOut(grace);
  assert.equal((await grace.context().cookies()).some(({ name }) => name.startsWith("__Host-countersign_session")), false);
  await leave(grace);
});

await report.step("every page of sign-in fits, and axe finds nothing", async () => {
  await ada.goto(first + "/console");
  const paths = ["sign-in", "enroll", "confirm?back=/console/operators", "account", "operators"];
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [320, 768, 1280]) {
      const stranger = await person({ viewport: { width, height: 800 }, colorScheme });
      await ada.setViewportSize({ width, height: 800 });
      await ada.emulateMedia({ colorScheme });
      for (const path of paths) {
        const page = path === "sign-in" || path === "enroll" ? stranger : ada;
        await page.goto(first + "/console/" + path);
        const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
        assert.ok(wide <= room, `${path} is ${wide} px wide in ${room} px`);
        // The policy of the page allows no script of a test, so axe runs outside of it.
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
        assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), [], `${path} at ${width} px, ${colorScheme}`);
      }
      await leave(stranger);
    }
  }
});

await report.step("no page had a fault", async () => leave(ada));

await browser.close();
report.end();
