// The HTML of the application. It has no scripts and no styles of its own: the policy forbids them.

// html escapes every value, except HTML and lists of HTML.
class HTML extends String {}
const escaped = (value) =>
  value instanceof HTML ? value : value === false ? "" : Array.isArray(value) ? value.map(escaped).join("") : String(value ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt()};`);
const html = (strings, ...values) => new HTML(String.raw({ raw: strings.raw }, ...values.map(escaped)));

const page = (title, { notice, signal, user }, body) => String(html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title} – Example</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<script type="module" src="/page.js"></script>
<header><b>Example</b>${user && html`<form method="post" action="/sign-out"><span>${user.name}</span> <button>Sign out</button></form>`}</header>
<main>
<h1>${title}</h1>
<p id="notice" role="status" data-signal="${signal && JSON.stringify(signal)}">${notice}</p>
${body}
</main>
</html>`);

// button is a form with one button.
const button = (action, text, values = {}) => html`<form method="post" action="${action}">
${Object.entries(values).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}<button>${text}</button></form>`;

export const signIn = (session) => page("Sign in", session, html`<form method="post" action="/sign-in" class="stack">
<label>Email address <input name="name" type="email" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button class="primary">Sign in</button>
</form>`);

const methods = (factors) => html`<ul>${factors.map(({ id, name }) => html`<li>${button("/challenge", name, { factor: id })}</li>`)}</ul>`;

export const choose = (session) => page("Confirm that it is you", session, html`<p>The password is right. How do you want to confirm the sign-in?</p>
${methods(session.user.factors)}`);

const instructions = {
  totp: "Enter the code that your authenticator app shows.",
  sms: "Enter the code of the message that we sent you.",
  webauthn: "If the support gave you a code, enter it here.",
};

const codeForm = (type, recovery) => html`<form method="post" action="/verify" class="stack">
<label for="code">Code</label>
<input id="code" name="code" autocomplete="one-time-code" required aria-describedby="hint" data-type="${type}">
<p id="hint">${instructions[type]} ${recovery && "A recovery code works too. "}The form is sent when the code is complete.</p>
${recovery && html`<button type="button" id="other" hidden>Type a recovery code</button>`}
<button class="primary">Confirm</button>
</form>`;

export function verify(session) {
  const { purpose, factor, challenge } = session.pending;
  const enrolling = purpose === "enroll";
  const others = session.user.factors.filter(({ id }) => id !== factor.id);
  return page(enrolling ? "Add: " + factor.name : factor.name, session, html`
${factor.totp && html`<p>Scan the picture with your authenticator app, or <a href="${factor.totp.uri}">open the app on this device</a>.</p>
<p><img src="${factor.totp.qrCode}" alt="QR code for the authenticator app" width="200" height="200"></p>
<p>If you cannot scan it, type this key: <code>${factor.totp.secret.match(/.{1,4}/g).join(" ")}</code></p>`}
${factor.type === "webauthn" && html`<form method="post" action="/verify" data-passkey="${enrolling ? "register" : "authenticate"}" data-options="${challenge.code}">
<input type="hidden" name="code"><button class="primary" disabled>${enrolling ? "Create the passkey" : "Use the passkey"}</button></form>
<p id="no-script">Passkeys need JavaScript.</p>`}
${!(enrolling && factor.type === "webauthn") && codeForm(factor.type, !enrolling && session.user.recovery > 0)}
${enrolling && button("/cancel", "Cancel")}
${!enrolling && factor.type === "sms" && button("/challenge", "Send another code", { factor: factor.id })}
${!enrolling && others.length > 0 && html`<h2>Other ways</h2>${methods(others)}`}`);
}

export const home = (session) => page("Your account", session, html`<h2>Second factors</h2>
${session.user.factors.length === 0 && html`<p>Only your password protects this account. Add a second factor.</p>`}
<ul>${session.user.factors.map(({ id, name }) => html`<li><span>${name}</span> ${button("/remove", html`Remove <span class="hidden">${name}</span>`, { factor: id })}</li>`)}</ul>
${session.user.factors.length > 0 && html`<h2>Recovery codes</h2>
<p>${session.user.recovery === undefined ? "With recovery codes on paper you can sign in after you lose your phone." : `${session.user.recovery} of your recovery codes are left. New codes replace them.`}</p>
${button("/recovery", "Create recovery codes")}`}
<h2>Add a second factor</h2>
<ul>
<li>${button("/enroll", "Authenticator app", { type: "totp" })}</li>
<li data-needs-passkeys hidden>${button("/enroll", "Passkey or security key", { type: "webauthn" })}</li>
<li><form method="post" action="/enroll" class="stack"><input type="hidden" name="type" value="sms">
<label>Phone number with country code <input name="phone" type="tel" autocomplete="tel" placeholder="+1 607 351 7112" required></label>
<button>Send a code</button></form></li>
</ul>`);

export const recovery = (session, codes) => page("Your recovery codes", session, html`<p>Print these codes, or store them in a password manager. Each of them signs you in once, in place of another code. They are not shown again.</p>
<ol>${codes.map((code) => html`<li><code>${code}</code></li>`)}</ol>
<p><a href="/">I have stored them</a></p>`);

export const wrong = ({ type }) => (type === "webauthn" ? "That did not work. Try again." : "The code is wrong. Try again.");
export const recovered = ({ remaining }) => `You used a recovery code; ${remaining} are left. Remove the factors that you lost, and add a new one.`;
export const bypassed = "You used a code of the support. Remove the factors that you lost, and add a new one.";

// problem says what a user can do about an error of Countersign.
export function problem({ code, status, rawData }) {
  switch (code ?? rawData?.code ?? status) {
    case "authentication_challenge_expired":
    case "authentication_challenge_previously_verified":
      return "This took too long. Start again.";
    case "one_time_code_too_many_attempts":
      return "There were too many wrong codes. Wait, or use another way.";
    case "invalid_phone_number":
      return "This is not a phone number. Enter it with its country code.";
    case 429:
      return "We cannot send another message yet. Wait half a minute, or use another way.";
  }
  return "That is not possible now. Try again later, or use another way.";
}
