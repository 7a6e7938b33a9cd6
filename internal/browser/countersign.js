// The browser module of Countersign; docs/browser.md explains how to use it. The server removes the
// comments and the indentation. So no string may span lines.

/**
 * A ceremony that gave no response. The kinds are:
 * - "cancelled": the user closed the dialog, let its time pass or has no passkey here, or
 *   the page ended the ceremony. Browsers do not tell the first three apart.
 * - "already_registered": this authenticator has a passkey of the user.
 * - "unsupported": the browser, or the authenticator, cannot do it.
 * - "not_allowed": this page must not use passkeys of this domain.
 * - "failed": anything else; see cause.
 * @typedef {"cancelled" | "already_registered" | "unsupported" | "not_allowed" | "failed"} Kind
 */
export class CeremonyError extends Error {
  /** @param {Kind} kind @param {unknown} [cause] */
  constructor(kind, cause) {
    super("passkey: " + kind, { cause });
    this.name = "CeremonyError";
    this.kind = kind;
  }
}

const kinds = {
  AbortError: "cancelled",
  NotAllowedError: "cancelled",
  InvalidStateError: "already_registered",
  NotSupportedError: "unsupported",
  ConstraintError: "unsupported",
  SecurityError: "not_allowed",
};

const api = globalThis.PublicKeyCredential;

/** Whether the browser has passkeys. @type {boolean} */
export const supported = !!(api && navigator.credentials);

/** Ends the newest ceremony: a browser has one at a time. @type {AbortController | undefined} */
let pending;

/** Ends the pending ceremony, which rejects with the kind "cancelled". */
export const cancel = () => pending?.abort();

/**
 * Registers a passkey.
 * @param {string} code the key "code" of a challenge of a factor that has no passkey yet
 * @returns {Promise<{code: string}>} the body of the call to verify
 * @throws {CeremonyError}
 */
export const register = (code) => ceremony("create", "parseCreationOptionsFromJSON", code);

/**
 * Uses the passkey of a factor.
 * @param {string} code the key "code" of a challenge
 * @returns {Promise<{code: string}>} the body of the call to verify
 * @throws {CeremonyError}
 */
export const authenticate = (code) => ceremony("get", "parseRequestOptionsFromJSON", code);

async function ceremony(method, parse, code) {
  if (!supported) throw new CeremonyError("unsupported");
  cancel();
  pending = new AbortController();
  try {
    const json = JSON.parse(code);
    const publicKey = api[parse] ? api[parse](json) : decode(json);
    const credential = await navigator.credentials[method]({ publicKey, signal: pending.signal });
    return { code: JSON.stringify(credential.toJSON ? credential.toJSON() : encode(credential)) };
  } catch (error) {
    throw new CeremonyError(kinds[error.name] || "failed", error);
  }
}

/**
 * Tells the browser that a passkey belongs to no factor, so that it is no longer offered.
 * @param {{unknown_credential?: {rpId: string, credentialId: string}}} [signal] the key "signal"
 *   of the reply to verify
 */
export async function forget(signal) {
  if (signal?.unknown_credential) await api?.signalUnknownCredential?.(signal.unknown_credential);
}

// For browsers without the methods for JSON: Safari before 18.4, Chrome before 129.
const bytes = (base64url) => Uint8Array.from(atob(base64url.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt());

const base64url = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

function decode(json) {
  const withBytes = (has) => has && { ...has, id: bytes(has.id) };
  return {
    ...json,
    challenge: bytes(json.challenge),
    user: withBytes(json.user),
    excludeCredentials: json.excludeCredentials?.map(withBytes),
    allowCredentials: json.allowCredentials?.map(withBytes),
  };
}

function encode(credential) {
  const { id, rawId, type, authenticatorAttachment, response: from } = credential;
  const response = { transports: from.getTransports?.() };
  for (const key of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (from[key]) response[key] = base64url(from[key]);
  }
  return { id, rawId: base64url(rawId), type, authenticatorAttachment, response, clientExtensionResults: credential.getClientExtensionResults() };
}

/**
 * Returns the code in a text that was pasted: a recovery code, or six digits in a message.
 * Of a text without a code it returns the visible characters.
 * @param {string} text
 * @returns {string}
 */
export function clean(text) {
  text = text.normalize("NFKC").replace(/\p{Cf}/gu, "").replace(/\p{Pd}/gu, "-").trim();
  if (/^[\d\s-]+$/.test(text)) return text.replace(/[\s-]/g, "");
  const found =
    /(^|[^\w-])([\da-z]{4}(-[\da-z]{4}){3})(?![\w-])/i.exec(text) || /(^|[^\w-])(\d{3}[ -]?\d{3})(?![\w-]| \d)/.exec(text);
  return found ? found[2].replace(" ", "") : text;
}

/**
 * Makes a field accept codes: the phone offers the code of a message, a pasted text is
 * cleaned, and the form is submitted when the code is complete. Say so in the field's label
 * or description (WCAG 3.2.2).
 * @param {HTMLInputElement} input a field of a form
 * @param {object} [options]
 * @param {HTMLElement} [options.other] a button "Use a recovery code": it brings the keyboard
 *   with letters
 * @param {boolean} [options.sms] also reads the code from the message itself (Web OTP, in
 *   Chrome on Android); the last line of the message must name the origin
 * @returns {() => void} ends all that the function began
 */
export function codeInput(input, { other, sms } = {}) {
  const end = new AbortController();
  const { signal } = end;
  const { form } = input;
  const on = (target, type, listener) => target?.addEventListener(type, listener, { signal });
  Object.assign(input, { autocomplete: "one-time-code", inputMode: "numeric", autocapitalize: "off", spellcheck: false });
  input.removeAttribute("maxlength");
  let timer;

  const stop = () => clearTimeout(timer);
  // Six digits may be the beginning of a longer code, so the submission waits for a typist.
  const changed = (wait) => {
    stop();
    if (/^(\d{6}|\d{10}|[\da-z]{16})$/i.test(input.value.replace(/[\s-]/g, ""))) timer = setTimeout(() => form.requestSubmit(), wait);
  };
  const fill = (value) => {
    input.value = clean(value);
    changed(0);
  };
  on(input, "input", (event) => (/^insertText|^delete|Comp/.test(event.inputType) ? changed(600) : fill(input.value)));
  on(input, "paste", (event) => {
    event.preventDefault();
    fill(event.clipboardData.getData("text"));
  });
  on(other, "click", () => {
    input.inputMode = "text";
    input.focus();
  });
  on(form, "submit", stop);
  if (sms && globalThis.OTPCredential) {
    navigator.credentials.get({ otp: { transport: ["sms"] }, signal }).then(({ code }) => fill(code), () => {});
  }
  return () => {
    stop();
    end.abort();
  };
}
