// Registers and uses passkeys in a real browser with its virtual authenticator, through the API
// of the server, and prints the result of each step (see report.mjs):
//
//   node webauthn.mjs
//
// COUNTERSIGN_URL and COUNTERSIGN_SECOND_URL are two nodes over one store. The challenges of
// COUNTERSIGN_SHORT_URL, a third node, expire after three seconds. COUNTERSIGN_API_KEY belongs to a
// sandbox. COUNTERSIGN_CHROMIUM names the browser, by default /usr/bin/chromium.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { Report } from "./report.mjs";

const [first, second, short] = ["", "SECOND_", "SHORT_"].map((name) => process.env[`COUNTERSIGN_${name}URL`]);
const user = "user_42";

// A page of the application: it has no content.
async function site() {
  const server = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>Application</title>"));
  await new Promise((resolve) => server.listen(0, resolve));
  return server;
}
const sites = [await site(), await site()];
const [origin, other] = sites.map((s) => `http://localhost:${s.address().port}`);

const browser = await chromium.launch({
  executablePath: process.env.COUNTERSIGN_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const report = new Report("webauthn", browser.version());

async function call(method, path, body, at = first) {
  const reply = await fetch(at + path, {
    method,
    headers: { Authorization: "Bearer " + process.env.COUNTERSIGN_API_KEY, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return { ...(await reply.json()), status: reply.status };
}

async function created(path, body, at) {
  const reply = await call("POST", path, body, at);
  assert.equal(reply.status, 201, JSON.stringify(reply));
  return reply;
}

const enroll = async (of = user) => (await created("/auth/factors/enroll", { type: "webauthn", user_id: of, webauthn_user: "ada@example.com" })).id;
const challenge = (factor, body = {}, at = first) => created(`/auth/factors/${factor}/challenge`, body, at);
const verify = (c, code, at = first) => created(`/auth/challenges/${c.id}/verify`, { code }, at);

// reason returns the reason of the newest wrong response of a factor. An event can be read
// within a second of its response.
async function reason(factor) {
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const { data } = await call("GET", `/events?events=authentication.mfa_failed&factor_id=${factor}&limit=100`);
  return data.at(-1)?.data.reason;
}

// clones counts the reports of suspected clones of a factor.
async function clones(factor) {
  return (await call("GET", `/events?events=factor.clone_suspected&factor_id=${factor}&limit=100`)).data.length;
}

// device opens a page in a browser with an authenticator of its own.
async function device(at = origin, options = {}) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(at);
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", ctap2Version: "ctap2_1", transport: "usb", hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
  });
  page.authenticator = (method, params = {}) => devtools.send("WebAuthn." + method, { authenticatorId, ...params });
  return page;
}

// respond is what docs/webauthn.md shows: the code of a page, without a library.
function respond(page, c, change) {
  return page.evaluate(
    async ([code, ceremony, change]) => {
      const json = JSON.parse(code);
      Object.assign(json, change);
      const credential =
        ceremony === "create"
          ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(json) })
          : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(json) });
      return JSON.stringify(credential.toJSON());
    },
    [c.code, c.webauthn.ceremony, change ?? {}],
  );
}

// register enrolls a factor and registers a passkey on a device.
async function register(page, of = user) {
  const factor = await enroll(of);
  const c = await challenge(factor);
  const v = await verify(c, await respond(page, c));
  assert.equal(v.valid, true, JSON.stringify(v));
  return { page, factor, ...v.webauthn };
}

async function right(passkey, body) {
  const c = await challenge(passkey.factor, body);
  const v = await verify(c, await respond(passkey.page, c));
  assert.equal(v.valid, true, `${JSON.stringify(v)} ${await reason(passkey.factor)}`);
  return v.webauthn;
}

async function wrong(passkey, want, { body = {}, change, page = passkey.page } = {}) {
  const c = await challenge(passkey.factor, body);
  const v = await verify(c, await respond(page, c, change));
  assert.equal(v.valid, false, JSON.stringify(v));
  assert.equal(await reason(passkey.factor), want);
  return v;
}

// only returns the one credential of an authenticator.
async function only(page) {
  const { credentials } = await page.authenticator("getCredentials");
  assert.equal(credentials.length, 1);
  return credentials[0];
}

// rewind gives the credential of an authenticator another counter.
async function rewind(page, signCount) {
  const credential = await only(page);
  await page.authenticator("removeCredential", { credentialId: credential.credentialId });
  await page.authenticator("addCredential", { credential: { ...credential, signCount } });
}

// once sets something of an authenticator for one use.
async function once(page, set, unset, use) {
  await page.authenticator(...set);
  try {
    return await use();
  } finally {
    await page.authenticator(...unset);
  }
}

const ada = await register(await device());

await report.step("a passkey is registered and used", async () => {
  assert.deepEqual([ada.user_verified, ada.backup_eligible, ada.backed_up, ada.attachment], [true, false, false, "cross-platform"]);
  const before = ada.sign_count;
  const used = await right(ada);
  assert.ok(used.sign_count > before, `the counter is ${used.sign_count} after ${before}`);
  const factor = await call("GET", `/auth/factors/${ada.factor}`);
  assert.equal(factor.webauthn.status, "registered");
  assert.equal(factor.webauthn.sign_count, used.sign_count);
});

await report.step("the user is verified if the challenge says so", async () => {
  await right(ada, { user_verification: "required", origin });
  const c = await challenge(ada.factor, { user_verification: "required" });
  // A browser does not respond then, so the page asks for less than the challenge.
  await once(ada.page, ["setUserVerified", { isUserVerified: false }], ["setUserVerified", { isUserVerified: true }], async () => {
    const v = await verify(c, await respond(ada.page, c, { userVerification: "discouraged" }));
    assert.equal(v.valid, false, JSON.stringify(v));
    assert.equal(await reason(ada.factor), "user_not_verified");
    const other = await challenge(ada.factor, { user_verification: "discouraged" });
    assert.equal((await verify(other, await respond(ada.page, other))).webauthn.user_verified, false);
  });
});

for (const [name, bits, want] of [
  ["a bogus signature", { isBogusSignature: true }, "wrong_signature"],
  ["a missing touch", { isBadUP: true }, "user_not_present"],
  ["a missing verification", { isBadUV: true }, "user_not_verified"],
]) {
  await report.step(`${name} is refused`, async () => {
    const off = Object.fromEntries(Object.keys(bits).map((key) => [key, false]));
    await once(ada.page, ["setResponseOverrideBits", bits], ["setResponseOverrideBits", off], () => wrong(ada, want, { body: { user_verification: "required" } }));
    await right(ada);
  });
}

await report.step("a falling counter is refused for a device-bound passkey", async () => {
  const bound = await register(await device());
  await right(bound);
  await rewind(bound.page, 0);
  await wrong(bound, "clone_suspected");
  assert.equal(await clones(bound.factor), 1);
});

await report.step("a falling counter is reported for a synced passkey", async () => {
  const synced = await register(await device(origin, { defaultBackupEligibility: true, defaultBackupState: true }));
  assert.deepEqual([synced.backup_eligible, synced.backed_up], [true, true]);
  await right(synced);
  await rewind(synced.page, 0);
  await right(synced);
  assert.equal(await clones(synced.factor), 1);
});

await report.step("a changed eligibility for backups is refused", async () => {
  const passkey = await register(await device());
  const { credentialId } = await only(passkey.page);
  await passkey.page.authenticator("setCredentialProperties", { credentialId, backupEligibility: true, backupState: true });
  await wrong(passkey, "backup_eligibility_changed");
});

await report.step("a response from another origin is refused", async () => {
  const page = await device(other);
  const passkey = await register(page); // each port of localhost is accepted
  await right(passkey);
  await wrong(passkey, "wrong_origin", { body: { origin } });
});

await report.step("a response for another relying party is refused", async () => {
  const passkey = await register(await device());
  const named = `http://app.localhost:${new URL(origin).port}`;
  const page = await device(named);
  const options = await challenge(await enroll());
  const made = await respond(page, options, { rp: { id: "app.localhost", name: "Another" } });
  assert.equal((await verify(options, made)).valid, false);
  const c = await challenge(passkey.factor);
  const { credentials } = await page.authenticator("getCredentials");
  const allow = [{ type: "public-key", id: credentials[0].credentialId.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") }];
  const response = JSON.parse(await respond(page, c, { rpId: "app.localhost", allowCredentials: allow }));
  const v = await verify(c, JSON.stringify(response));
  assert.equal(v.valid, false, JSON.stringify(v));
  // The browser itself refuses the id of another site.
  await assert.rejects(respond(passkey.page, await challenge(passkey.factor), { rpId: "example.com" }), /SecurityError|not a registrable|relying party ID/i);
});

await report.step("a passkey of another user or of another factor is refused and not forgotten", async () => {
  for (const stranger of [await register(await device(), "eve"), await register(await device())]) {
    const c = await challenge(ada.factor);
    const credential = await only(stranger.page);
    const id = credential.credentialId.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const v = await verify(c, await respond(stranger.page, c, { allowCredentials: [{ type: "public-key", id }] }));
    assert.equal(v.valid, false, JSON.stringify(v));
    assert.equal(await reason(ada.factor), "unknown_credential");
  }
  await right(ada);
});

await report.step("a user cannot register an authenticator twice", async () => {
  const c = await challenge(await enroll());
  assert.ok(c.webauthn.options.excludeCredentials.length > 0);
  await assert.rejects(respond(ada.page, c), /InvalidStateError/);
});

await report.step("a passkey of a deleted factor is signaled", async () => {
  const page = await device();
  const lost = await register(page, "user_7");
  const credential = await only(page);
  const id = credential.credentialId.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  await fetch(`${first}/auth/factors/${lost.factor}`, { method: "DELETE", headers: { Authorization: "Bearer " + process.env.COUNTERSIGN_API_KEY } });
  const kept = await register(await device(), "user_7");
  const c = await challenge(kept.factor);
  const v = await verify(c, await respond(page, c, { allowCredentials: [{ type: "public-key", id }] }));
  assert.deepEqual([v.valid, v.signal], [false, { unknown_credential: { rpId: "localhost", credentialId: id } }]);
});

await report.step("of equal responses at two nodes at once, one is right", async () => {
  for (let round = 0; round < 5; round++) {
    const c = await challenge(ada.factor);
    const response = await respond(ada.page, c);
    const replies = await Promise.all(
      Array.from({ length: 8 }, (_, i) => call("POST", `/auth/challenges/${c.id}/verify`, { code: response }, i % 2 ? first : second)),
    );
    assert.equal(replies.filter((r) => r.valid).length, 1, JSON.stringify(replies));
    assert.ok(replies.every((r) => r.valid || r.code === "authentication_challenge_previously_verified"), JSON.stringify(replies));
  }
});

await report.step("a response to an expired challenge is refused", async () => {
  const c = await challenge(ada.factor, {}, short);
  const response = await respond(ada.page, c);
  await new Promise((resolve) => setTimeout(resolve, 3100));
  const reply = await call("POST", `/auth/challenges/${c.id}/verify`, { code: response }, short);
  assert.deepEqual([reply.status, reply.code], [422, "authentication_challenge_expired"]);
});

await report.step("after a canceled dialog the same options work", async () => {
  const c = await challenge(ada.factor);
  await ada.page.authenticator("setAutomaticPresenceSimulation", { enabled: false });
  const canceled = ada.page.evaluate(async (code) => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 200);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(code));
    return navigator.credentials.get({ publicKey, signal: abort.signal }).then(() => "done", (error) => error.name);
  }, c.code);
  assert.match(await canceled, /AbortError|NotAllowedError/);
  await ada.page.authenticator("setAutomaticPresenceSimulation", { enabled: true });
  const again = await call("GET", `/auth/challenges/${c.id}`);
  assert.equal(again.code, c.code);
  assert.equal((await verify(c, await respond(ada.page, again))).valid, true);
});

await browser.close();
sites.forEach((s) => s.close());
report.end();
