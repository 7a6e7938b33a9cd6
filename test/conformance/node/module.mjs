// Imports the browser module of countersign dev in a page of another origin with a strict
// policy, and prints the result of each step (see report.mjs):
//
//   node module.mjs
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name a new server. COUNTERSIGN_CHROMIUM names the
// browser, by default /usr/bin/chromium.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { authenticator, close, launch, open } from "./chromium.mjs";
import { Report } from "./report.mjs";

const countersign = process.env.COUNTERSIGN_URL;

// The page of an application. It counts the submissions of its form.
const html = `<!doctype html><html lang="en"><title>Page</title><link rel="icon" href="data:,">
<form><label>Code <input name="code" maxlength="6"></label><button type="button" id="other">Use a recovery code</button><button>Sign in</button></form>
<script type="module" src="/page.js"></script>`;
const script = `import * as module from "${countersign}/js/countersign.js";
window.countersign = module;
window.sent = [];
const form = document.forms[0];
form.addEventListener("submit", (event) => { event.preventDefault(); window.sent.push(form.code.value); });`;
const app = createServer((request, reply) => {
  const js = request.url === "/page.js";
  reply.writeHead(200, {
    "Content-Type": js ? "text/javascript" : "text/html; charset=utf-8",
    "Content-Security-Policy": `default-src 'none'; script-src 'self' ${countersign}; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'self'`,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
  });
  reply.end(js ? script : html);
});
await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
const origin = `http://localhost:${app.address().port}`;

async function call(path, body = {}) {
  const reply = await fetch(countersign + path, {
    method: "POST",
    headers: { Authorization: "Bearer " + process.env.COUNTERSIGN_API_KEY, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const json = await reply.json();
  assert.equal(reply.status, 201, JSON.stringify(json));
  return json;
}

const enroll = async (user) => (await call("/auth/factors/enroll", { type: "webauthn", user_id: user, webauthn_user: user })).id;
const challenge = (factor) => call(`/auth/factors/${factor}/challenge`);
const verify = (challenge, body) => call(`/auth/challenges/${challenge.id}/verify`, body);

const browser = await launch();
const report = new Report("browser module", browser.version());

async function visit(options) {
  const page = await open(browser, [origin, countersign], options);
  if (options?.script) await page.addInitScript(options.script);
  await page.goto(origin);
  await page.waitForFunction(() => window.countersign);
  return page;
}

// ceremony calls a function of the module and returns its result, or the kind of its error.
const ceremony = (page, name, code) =>
  page.evaluate(async ([name, code]) => {
    try {
      return await window.countersign[name](code);
    } catch (error) {
      return { kind: error.kind, name: error.name, cause: error.cause?.name };
    }
  }, [name, code]);

// signs registers a passkey and uses it.
async function signs(page, user) {
  const factor = await enroll(user);
  const create = await challenge(factor);
  const registered = await verify(create, await ceremony(page, "register", create.code));
  assert.equal(registered.valid, true);
  const get = await challenge(factor);
  const verified = await verify(get, await ceremony(page, "authenticate", get.code));
  assert.equal(verified.valid, true);
  assert.equal(verified.webauthn.user_verified, true);
  assert.equal(verified.webauthn.attachment, "platform");
  return factor;
}

await report.step("a passkey is registered and used from a page of another origin", async () => {
  const page = await visit();
  assert.equal(await page.evaluate(() => window.crossOriginIsolated), true);
  await authenticator(page);
  await signs(page, "user_1");
  await close(page);
});

await report.step("a browser without the methods for JSON", async () => {
  const page = await visit({
    script: () => {
      delete PublicKeyCredential.parseCreationOptionsFromJSON;
      delete PublicKeyCredential.parseRequestOptionsFromJSON;
      delete PublicKeyCredential.prototype.toJSON;
    },
  });
  assert.equal(await page.evaluate(() => "parseCreationOptionsFromJSON" in PublicKeyCredential || "toJSON" in PublicKeyCredential.prototype), false);
  await authenticator(page);
  const factor = await signs(page, "user_2");
  const second = await challenge(await enroll("user_2"));
  assert.equal((await ceremony(page, "register", second.code)).kind, "already_registered", "excluded credentials are decoded too");
  assert.ok(factor);
  await close(page);
});

await report.step("each failure has its kind", async () => {
  const page = await visit();
  await authenticator(page);
  const factor = await signs(page, "user_3");
  const again = await challenge(await enroll("user_3"));
  assert.deepEqual(await ceremony(page, "register", again.code), { kind: "already_registered", name: "CeremonyError", cause: "InvalidStateError" });

  const get = await challenge(factor);
  const elsewhere = JSON.stringify({ ...JSON.parse(get.code), rpId: "example.com" });
  assert.deepEqual(await ceremony(page, "authenticate", elsewhere), { kind: "not_allowed", name: "CeremonyError", cause: "SecurityError" });
  assert.equal((await ceremony(page, "authenticate", "no JSON")).kind, "failed");
  await close(page);

  const old = await visit({ script: () => delete window.PublicKeyCredential });
  assert.equal(await old.evaluate(() => window.countersign.supported), false);
  assert.equal((await ceremony(old, "authenticate", get.code)).kind, "unsupported");
  await close(old);
});

await report.step("a user who cancels can try again with the same challenge", async () => {
  const page = await visit();
  const devtools = await authenticator(page);
  const factor = await signs(page, "user_4");
  const get = await challenge(factor);
  await devtools("setUserVerified", { isUserVerified: false });
  const required = JSON.stringify({ ...JSON.parse(get.code), userVerification: "required" });
  assert.deepEqual(await ceremony(page, "authenticate", required), { kind: "cancelled", name: "CeremonyError", cause: "NotAllowedError" });
  await devtools("setUserVerified", { isUserVerified: true });
  assert.equal((await verify(get, await ceremony(page, "authenticate", get.code))).valid, true);
  await close(page);
});

await report.step("a page ends a pending ceremony, and a new ceremony ends the one before", async () => {
  // No real ceremony waits here: Chromium ends when the wait of its virtual authenticator is aborted.
  const page = await visit({
    script: () => {
      window.signals = [];
      navigator.credentials.get = ({ signal }) =>
        new Promise((resolve, reject) => {
          window.signals.push(signal);
          signal.addEventListener("abort", () => reject(signal.reason));
          window.touch = () => resolve({ toJSON: () => ({ id: "credential" }) });
        });
    },
  });
  const get = JSON.stringify({ challenge: "AAAA", rpId: "localhost" });
  const cancelled = { kind: "cancelled", name: "CeremonyError", cause: "AbortError" };
  const started = (n) => page.waitForFunction((n) => window.signals.length === n, n);

  const waiting = ceremony(page, "authenticate", get);
  await started(1);
  await page.evaluate(() => window.countersign.cancel());
  assert.deepEqual(await waiting, cancelled);

  const first = ceremony(page, "authenticate", get);
  await started(2);
  const second = ceremony(page, "authenticate", get);
  assert.deepEqual(await first, cancelled);
  await started(3);
  await page.evaluate(() => window.touch());
  assert.deepEqual(await second, { code: `{"id":"credential"}` });
  await page.evaluate(() => window.countersign.cancel()); // nothing is pending
  await close(page);
});

await report.step("the browser forgets a passkey of a deleted factor", async () => {
  const page = await visit();
  const devtools = await authenticator(page);
  const factor = await signs(page, "user_6");
  const other = await enroll("user_7");
  const create = await challenge(other);
  await verify(create, await ceremony(page, "register", create.code));
  const { credentials } = await devtools("getCredentials");
  assert.equal(credentials.length, 2);

  // The response of a passkey whose factor was deleted, to the challenge of another factor.
  const reply = await fetch(`${countersign}/auth/factors/${factor}`, { method: "DELETE", headers: { Authorization: "Bearer " + process.env.COUNTERSIGN_API_KEY } });
  assert.equal(reply.status, 204);
  const get = await challenge(other);
  const { allowCredentials } = JSON.parse(get.code);
  const old = credentials.find(({ credentialId }) => Buffer.from(credentialId, "base64").toString("base64url") !== allowCredentials[0].id);
  const id = Buffer.from(old.credentialId, "base64").toString("base64url");
  const options = JSON.stringify({ ...JSON.parse(get.code), allowCredentials: [{ type: "public-key", id }] });
  const refused = await verify(get, await ceremony(page, "authenticate", options));
  assert.equal(refused.valid, false);
  assert.deepEqual(refused.signal.unknown_credential, { rpId: "localhost", credentialId: id });
  const given = await page.evaluate(async (signal) => {
    const given = [];
    PublicKeyCredential.signalUnknownCredential = async (details) => given.push(details);
    await window.countersign.forget(undefined);
    await window.countersign.forget({});
    await window.countersign.forget(signal);
    delete PublicKeyCredential.signalUnknownCredential;
    await window.countersign.forget(signal); // a browser without it
    return given;
  }, refused.signal);
  assert.deepEqual(given, [refused.signal.unknown_credential]);
  await close(page);
});

await report.step("a pasted text is cleaned", async () => {
  const page = await visit();
  for (const [text, want] of [
    ["123456", "123456"],
    [" 123 456\n", "123456"],
    ["123-456", "123456"],
    ["１２３４５６", "123456"],
    ["\u2068123\u200b456\u2069", "123456"],
    ["747723 is your Example code.", "747723"],
    ["Your Example code is 747 723.\n\n@example.com #747723", "747723"],
    ["Call +1 607 351 7112. Code: 123456", "123456"],
    ["1234 567 890", "1234567890"], // a bypass code
    ["ABCD-EFGH-JKMN-PQRS", "ABCD-EFGH-JKMN-PQRS"],
    ["Code 3: abcd\u2010efgh\u2010jkmn\u20101234", "abcd-efgh-jkmn-1234"],
    ["1234-5678-9012-3456", "1234567890123456"],
    ["nothing", "nothing"],
    ["", ""],
  ]) {
    assert.equal(await page.evaluate((text) => window.countersign.clean(text), text), want, JSON.stringify(text));
  }
  await close(page);
});

// field prepares the field of the page for codes.
const field = (page, options = {}) =>
  page.evaluate((options) => {
    const { code, other } = document.forms[0].elements;
    window.ended = window.countersign.codeInput(code, { other, ...options });
  }, options);
const sent = (page) => page.evaluate(() => window.sent);

async function paste(page, text) {
  await page.evaluate((text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text", text);
    document.forms[0].code.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, text);
}

// stopClock lets time pass in the page only by page.clock.runFor.
async function stopClock(page) {
  await page.clock.install({ time: new Date("2026-01-01T00:00:00Z") });
  await page.clock.pauseAt(new Date("2026-01-01T01:00:00Z"));
}

await report.step("the field for codes", async () => {
  const page = await visit();
  await field(page);
  const input = page.getByLabel("Code");
  assert.deepEqual(
    await input.evaluate((input) => ["autocomplete", "inputmode", "spellcheck", "maxlength"].map((name) => input.getAttribute(name))),
    ["one-time-code", "numeric", "false", null],
  );
  await paste(page, "Your code: 123 456");
  await page.waitForFunction(() => window.sent.length === 1);
  assert.equal(await input.inputValue(), "123456");

  await input.fill(""); // then typed, with a space
  await input.pressSequentially("654 321");
  await page.waitForFunction(() => window.sent.length === 2);
  assert.deepEqual(await sent(page), ["123456", "654 321"]);

  await page.getByRole("button", { name: "Use a recovery code" }).click();
  assert.equal(await input.evaluate((input) => input.inputMode), "text");
  assert.equal(await page.evaluate(() => document.activeElement.name), "code");
  await paste(page, "7K3M-9QRS-TVWX-YZ01");
  await page.waitForFunction(() => window.sent.length === 3);
  assert.equal((await sent(page))[2], "7K3M-9QRS-TVWX-YZ01");
  await close(page);
});

await report.step("a code that is longer than six digits is not cut", async () => {
  const page = await visit();
  await field(page);
  await stopClock(page);
  const input = page.getByLabel("Code");
  await input.pressSequentially("123456");
  await page.clock.runFor(500);
  await input.pressSequentially("7890");
  await page.clock.runFor(2000);
  assert.deepEqual(await sent(page), ["1234567890"]);
  await input.fill("");
  await input.pressSequentially("1234567");
  await page.clock.runFor(2000);
  assert.deepEqual(await sent(page), ["1234567890"], "seven digits are no code");
  await close(page);
});

await report.step("a code is submitted once, also if the user presses Enter", async () => {
  const page = await visit();
  await field(page);
  await stopClock(page);
  const input = page.getByLabel("Code");
  await input.pressSequentially("123456");
  await input.press("Enter");
  await page.clock.runFor(2000);
  assert.deepEqual(await sent(page), ["123456"]);
  await page.evaluate(() => window.ended());
  await input.fill("");
  await input.pressSequentially("654321");
  await page.clock.runFor(2000);
  assert.deepEqual(await sent(page), ["123456"], "after the end of the module's work");
  await close(page);
});

await report.step("the code of a message is read and submitted, until the page ends it", async () => {
  const page = await visit({
    script: () => {
      window.OTPCredential ??= class {};
      navigator.credentials.get = ({ otp, signal }) =>
        new Promise((resolve, reject) => {
          window.asked = otp;
          window.receive = (code) => resolve({ code });
          signal.addEventListener("abort", () => ((window.aborted = true), reject(signal.reason)));
        });
    },
  });
  await field(page);
  assert.equal(await page.evaluate(() => window.asked), undefined, "without the option");
  await page.evaluate(() => window.ended());
  await field(page, { sms: true });
  assert.deepEqual(await page.evaluate(() => window.asked), { transport: ["sms"] });
  await page.evaluate(() => window.receive("112233"));
  await page.waitForFunction(() => window.sent.length === 1);
  assert.deepEqual(await sent(page), ["112233"]);
  await page.evaluate(() => window.ended());
  await field(page, { sms: true });
  await page.evaluate(() => window.ended());
  assert.equal(await page.evaluate(() => window.aborted), true);
  await close(page);
});

await browser.close();
app.close();
report.end();
