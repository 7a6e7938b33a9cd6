// An application with passwords and a second factor: authenticator apps, text messages, passkeys and recovery codes.
// README.md says how to run it. pages.mjs has the HTML.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { promisify } from "node:util";
import { WorkOS } from "@workos-inc/node";
import { browserModule } from "./countersign.mjs";
import * as pages from "./pages.mjs";

const { COUNTERSIGN_URL, COUNTERSIGN_API_KEY } = process.env;
const module = await browserModule(COUNTERSIGN_URL, COUNTERSIGN_API_KEY);
const { protocol, hostname, port } = new URL(COUNTERSIGN_URL);
const workos = new WorkOS(COUNTERSIGN_API_KEY, { apiHostname: hostname, port: port ? Number(port) : undefined, https: protocol === "https:" });

// The client has no parameter for some keys of Countersign, so these calls use its method post. It
// does not repeat them: the user would look at a frozen page while it waits.
const call = async (path, body) => (await workos.post(path, body, { maxRetries: 0 })).data;
const enroll = (user, body) => call("/auth/factors/enroll", { ...body, user_id: user.id });
const challenge = (factor, options = {}) => call(`/auth/factors/${factor.id}/challenge`, options);
const recoveryPath = (user) => `/user_management/users/${user.id}/recovery_codes`;

// The users. A factor counts only after it is in the list of its user. The list must not be lost:
// a user without factors needs only the password.
const file = process.env.USERS || "users.json";
const digest = (password, salt) => promisify(scrypt)(password, salt, 32);
async function newUser(name, password) {
  const salt = randomBytes(16).toString("hex");
  return { id: "user_" + randomBytes(8).toString("hex"), name, salt, password: (await digest(password, salt)).toString("hex"), factors: [] };
}
const demo = async () => [await newUser("ada@example.com", "correct horse"), await newUser("alan@example.com", "battery staple")];
const users = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : await demo();
const nobody = await newUser("", randomBytes(16).toString("hex"));
function save() {
  writeFileSync(file + ".new", JSON.stringify(users, null, 2), { mode: 0o600 });
  renameSync(file + ".new", file);
}
save();

async function userWith(name, password) {
  const user = users.find((user) => user.name === name) ?? nobody; // an unknown name takes as long
  const right = timingSafeEqual(await digest(password, user.salt), Buffer.from(user.password, "hex"));
  return right && user !== nobody ? user : undefined;
}

// The sessions, by the value of their cookie. A session has
//   user       who gave the right password
//   signedIn   whether the second factor was right too, or the user has none
//   pending    what is being verified: { purpose: "sign-in" or "enroll", factor, challenge }
//   notice, signal   what the next page shows once
const sessions = new Map();
const lifetime = 60 * 60 * 1000;

// begin gives the browser a new session. The old id ends: someone may have planted it.
function begin(request, reply, session) {
  sessions.delete(cookie(request));
  const id = randomBytes(32).toString("base64url");
  sessions.set(id, { ...session, expires: Date.now() + lifetime });
  reply.setHeader("Set-Cookie", `session=${id}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${lifetime / 1000}${origin.startsWith("https:") ? "; Secure" : ""}`);
}
const cookie = (request) => /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie)?.[1];
function sessionOf(request) {
  for (const [id, { expires }] of sessions) if (expires < Date.now()) sessions.delete(id);
  return sessions.get(cookie(request)) ?? {};
}

// Handlers return a page, or the path of the next one.
const anyone = {
  "GET /sign-in": ({ session }) => (session.signedIn ? "/" : pages.signIn(session)),
  "POST /sign-in": async ({ form, request, reply }) => {
    const user = await userWith(form.name, form.password);
    if (!user) return pages.signIn({ notice: "The email address or the password is wrong." });
    begin(request, reply, { user, signedIn: user.factors.length === 0 });
    return user.factors.length === 0 ? "/" : "/choose";
  },
  "POST /sign-out": ({ request }) => (sessions.delete(cookie(request)), "/sign-in"),
};

const afterPassword = {
  "GET /choose": ({ session }) => (session.signedIn ? "/" : pages.choose(session)),
  "POST /challenge": async ({ session, form }) => {
    const factor = session.user.factors.find(({ id }) => id === form.factor); // never a factor of someone else
    if (!factor || session.signedIn) return "/";
    session.pending = { purpose: "sign-in", factor, challenge: await challenge(factor, { accept_recovery: true }) };
    return "/verify";
  },
  "GET /verify": ({ session }) => (session.pending ? pages.verify(session) : "/"),
  "POST /verify": async ({ session, form, request, reply }) => {
    const { pending, user } = session;
    if (!pending) return "/";
    const body = { code: form.code, ip_address: request.socket.remoteAddress, user_agent: request.headers["user-agent"] };
    const { valid, bypass, recovery, signal } = await call(`/auth/challenges/${pending.challenge.id}/verify`, body);
    const enrolling = pending.purpose === "enroll";
    if (recovery) user.recovery = recovery.remaining;
    if (!valid || (enrolling && (bypass || recovery))) { // these codes prove no possession
      Object.assign(session, { notice: pages.wrong(pending.factor), signal });
      return "/verify";
    }
    if (enrolling) {
      user.factors.push({ id: pending.factor.id, type: pending.factor.type, name: pending.factor.name });
      save();
      Object.assign(session, { pending: undefined, notice: `${pending.factor.name} was added.` });
    } else {
      save();
      begin(request, reply, { user, signedIn: true, notice: (bypass && pages.bypassed) || (recovery && pages.recovered(recovery)) });
    }
    return "/";
  },
};

const signedIn = {
  "GET /": ({ session }) => pages.home(session),
  "POST /enroll": async ({ session, form }) => {
    if (!Object.hasOwn(kinds, form.type)) return "/";
    await abandon(session);
    const pending = { purpose: "enroll", ...(await kinds[form.type](session.user, form)) };
    try {
      pending.challenge ??= await challenge(pending.factor);
    } catch (error) {
      await abandon({ pending });
      throw error;
    }
    session.pending = pending;
    return "/verify";
  },
  "POST /recovery": async ({ session }) => {
    const { codes, remaining } = await call(recoveryPath(session.user), {});
    session.user.recovery = remaining;
    save();
    return pages.recovery(session, codes); // the only time that they are shown
  },
  "POST /cancel": async ({ session }) => (await abandon(session), "/"),
  "POST /remove": async ({ session, form }) => {
    const { user } = session;
    if (!user.factors.some(({ id }) => id === form.factor)) return "/";
    await workos.multiFactorAuth.deleteFactor(form.factor);
    user.factors = user.factors.filter(({ id }) => id !== form.factor);
    if (user.factors.length === 0 && user.recovery !== undefined) { // without a factor the codes are for nothing
      await workos.delete(recoveryPath(user));
      delete user.recovery;
    }
    save();
    return "/";
  },
};

// How each kind of factor is enrolled. The new factor must be verified before it counts.
const kinds = {
  totp: async (user) => {
    const { authenticationFactor: factor, authenticationChallenge } = await workos.multiFactorAuth.createUserAuthFactor({
      userId: user.id, type: "totp", totpIssuer: "Example", totpUser: user.name,
    });
    return { factor: { ...factor, name: "Authenticator app" }, challenge: authenticationChallenge };
  },
  sms: async (user, { phone }) => {
    const factor = await enroll(user, { type: "sms", phone_number: phone });
    return { factor: { ...factor, name: "Text messages to …" + factor.sms.phone_number.slice(-4) } };
  },
  webauthn: async (user) => {
    const factor = await enroll(user, { type: "webauthn", webauthn_user: user.name });
    return { factor: { ...factor, name: "Passkey" } };
  },
};

// abandon deletes the factor of an enrollment that was not confirmed.
async function abandon(session) {
  const { pending } = session;
  session.pending = undefined;
  if (pending?.purpose === "enroll") await workos.multiFactorAuth.deleteFactor(pending.factor.id);
}

// The files of pages. The module of Countersign comes from this origin too, so the policy names no other.
const files = { "/page.js": "text/javascript", "/page.css": "text/css" };

async function serve(request, reply) {
  reply.setHeader("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'");
  reply.setHeader("X-Content-Type-Options", "nosniff");
  reply.setHeader("Referrer-Policy", "same-origin");
  reply.setHeader("Cache-Control", "no-store");
  const { pathname } = new URL(request.url, origin);
  const send = (status, type, body) => reply.writeHead(status, { "Content-Type": type + "; charset=utf-8" }).end(body);
  if (pathname === "/countersign.js") return send(200, "text/javascript", module);
  if (files[pathname]) return send(200, files[pathname], readFileSync(new URL("../public" + pathname, import.meta.url)));

  // Browsers name the origin of the page that sends a form. Another site must not send one.
  if (request.method === "POST" && request.headers.origin !== origin) return send(403, "text/plain", "Open " + origin);

  const route = `${request.method} ${pathname}`;
  const session = sessionOf(request);
  const needed = route in anyone ? true : route in afterPassword ? session.user : session.signedIn;
  const handler = anyone[route] ?? afterPassword[route] ?? signedIn[route];
  let next;
  try {
    if (!handler) return send(404, "text/plain", "Not found");
    next = needed ? await handler({ request, reply, session, form: await formOf(request) }) : session.user ? "/choose" : "/sign-in";
  } catch (error) {
    console.error(`${route}: ${error.message}`); // it names no code
    session.notice = pages.problem(error);
    next = session.pending ? "/verify" : session.signedIn ? "/" : "/choose";
  }
  if (next.startsWith("/")) return reply.writeHead(303, { Location: next }).end();
  send(200, "text/html", next);
  delete session.notice;
  delete session.signal;
}

async function formOf(request) {
  let body = "";
  for await (const part of request) if ((body += part).length > 65536) throw new Error("the form is too large");
  return Object.fromEntries(new URLSearchParams(body));
}

const server = createServer((request, reply) => serve(request, reply).catch((error) => (console.error(error), reply.writeHead(500).end())));
await new Promise((resolve) => server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", resolve));
const origin = process.env.ORIGIN || `http://localhost:${server.address().port}`;
console.log("Listening on " + origin);
