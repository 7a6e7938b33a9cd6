// Drives an example application in Chromium as its users do, and prints the result of each
// step (see report.mjs):
//
//   node application.mjs NAME
//
// COUNTERSIGN_URL names the new server that the application uses, and COUNTERSIGN_APPLICATION
// the application. COUNTERSIGN_CHROMIUM names the browser, by default /usr/bin/chromium. If
// COUNTERSIGN_SCREENSHOTS names a directory, the screenshots are saved there.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { accessible, authenticator, close, fits, launch, open } from "./chromium.mjs";
import { Report } from "./report.mjs";
import { codeAt, wrongFor } from "./totp.mjs";

const countersign = process.env.COUNTERSIGN_URL;
const app = process.env.COUNTERSIGN_APPLICATION;
const screenshots = process.env.COUNTERSIGN_SCREENSHOTS;

const browser = await launch();
const report = new Report(process.argv[2], browser.version());
const ada = { name: "ada@example.com", password: "correct horse" };
const alan = { name: "alan@example.com", password: "battery staple" };
report.secrets(ada.password, alan.password);
const phone = "+12025550143";

// look checks a page at both widths and in both themes.
async function look(page, name) {
  const before = page.viewportSize();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [320, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      await fits(page);
      await accessible(page);
      if (screenshots) {
        await mkdir(screenshots, { recursive: true });
        await page.screenshot({ path: join(screenshots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      }
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
}

const visit = (options) => open(browser, [app], options);
const heading = (page, text) => page.getByRole("heading", { level: 1, name: text }).waitFor();
const notice = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

async function enterPassword(page, { name, password }) {
  await page.goto(app + "/sign-in");
  await page.getByLabel("Email address").fill(name);
  await page.getByLabel("Password").fill(password);
  await press(page, "Sign in");
}

// enter types a code; the page sends it without a click, if its script has run when the last
// character comes.
async function enter(page, code) {
  const field = page.getByLabel("Code", { exact: true });
  await field.waitFor();
  await page.waitForLoadState("domcontentloaded");
  await field.pressSequentially(code);
}

async function message(to) {
  const reply = await fetch(`${countersign}/dev/inbox?to=${encodeURIComponent(to)}`, { headers: { Accept: "application/json" } });
  const { messages } = await reply.json();
  report.secrets(...messages.map(({ code }) => code));
  return messages;
}

// appCode waits for a code that was not used yet, as a person does.
let used;
async function appCode(secret) {
  for (;;) {
    const code = codeAt(secret);
    if (code !== used) {
      used = code;
      return code;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

let secret;
const main = await visit();
const devtools = await authenticator(main);

await report.step("without a session every page leads to the sign-in", async () => {
  for (const path of ["/", "/choose", "/verify"]) {
    await main.goto(app + path);
    assert.equal(new URL(main.url()).pathname, "/sign-in", path);
  }
  await look(main, "sign-in");
});

await report.step("a wrong password and an unknown name get the same answer", async () => {
  for (const wrong of [{ ...ada, password: "wrong" }, { name: "eve@example.com", password: "wrong" }]) {
    await enterPassword(main, wrong);
    await notice(main, "The email address or the password is wrong.");
  }
});

await report.step("a user without factors signs in with the password", async () => {
  await enterPassword(main, ada);
  await heading(main, "Your account");
  await main.getByText("Only your password protects this account").waitFor();
  await look(main, "account-empty");
});

await report.step("the session cookie cannot be read by scripts and changes with the sign-in", async () => {
  const [cookie] = await main.context().cookies();
  assert.equal(cookie.httpOnly, true);
  assert.equal(cookie.sameSite, "Lax");
  assert.equal(await main.evaluate(() => document.cookie), "");
  const page = await visit(); // somebody planted the session of another browser
  await page.context().addCookies([{ name: cookie.name, value: cookie.value, url: app }]);
  await page.goto(app);
  await heading(page, "Your account");
  await press(page, "Sign out");
  await page.context().addCookies([{ name: cookie.name, value: cookie.value, url: app }]);
  await page.goto(app);
  await heading(page, "Sign in"); // the server ended the session, not only the cookie
  await enterPassword(page, ada);
  await heading(page, "Your account");
  assert.notEqual((await page.context().cookies())[0].value, cookie.value);
  await close(page);
  await enterPassword(main, ada);
});

await report.step("an enrollment counts only after it is confirmed", async () => {
  await press(main, "Authenticator app");
  await heading(main, "Add: Authenticator app");
  secret = (await main.locator("code").textContent()).replaceAll(" ", "");
  report.secrets(secret);
  assert.match(await main.locator('a[href^="otpauth:"]').getAttribute("href"), new RegExp("secret=" + secret));
  assert.ok(await main.locator("img").evaluate((image) => image.complete && image.naturalWidth > 100), "the QR code is shown");
  await look(main, "totp-enroll");
  const page = await visit(); // another browser
  await enterPassword(page, ada);
  await heading(page, "Your account");
  await close(page);
});

await report.step("a wrong code is refused, and the right one confirms the authenticator app", async () => {
  await enter(main, wrongFor(secret));
  await notice(main, "The code is wrong.");
  await look(main, "totp-wrong");
  await enter(main, await appCode(secret));
  await notice(main, "Authenticator app was added.");
  await look(main, "account-totp");
});

await report.step("a phone is added through the inbox", async () => {
  await main.getByLabel("Phone number").fill("12");
  await press(main, "Send a code");
  await notice(main, "This is not a phone number.");
  await main.getByLabel("Phone number").fill(phone);
  await press(main, "Send a code");
  await heading(main, "Add: Text messages to …0143");
  const [{ code }] = await message(phone);
  await enter(main, code);
  await notice(main, "Text messages to …0143 was added.");
});

await report.step("a passkey is added", async () => {
  await press(main, "Passkey or security key");
  await heading(main, "Add: Passkey");
  await look(main, "passkey-enroll");
  await press(main, "Create the passkey");
  await notice(main, "Passkey was added.");
  assert.equal((await devtools("getCredentials")).credentials.length, 1);
});

await report.step("the same device cannot be added twice, and an enrollment can be cancelled", async () => {
  await press(main, "Passkey or security key");
  await press(main, "Create the passkey");
  await notice(main, "This device has a passkey for your account already.");
  await press(main, "Cancel");
  await heading(main, "Your account");
  assert.equal(await main.getByRole("button", { name: /^Remove/ }).count(), 3);
});

await report.step("the password by itself opens nothing", async () => {
  const page = await visit();
  await enterPassword(page, ada);
  await heading(page, "Confirm that it is you");
  await look(page, "choose");
  for (const path of ["/", "/verify"]) {
    await page.goto(app + path);
    await heading(page, "Confirm that it is you");
  }
  // The forms of the account, sent from a page of the application.
  for (const [path, values] of [["/enroll", { type: "totp" }], ["/remove", { factor: "x" }], ["/cancel", {}]]) {
    await post(page, path, values);
    await heading(page, "Confirm that it is you");
  }
  await close(page);
});

// post sends a form from the page.
async function post(page, path, values) {
  await Promise.all([
    page.waitForEvent("load"),
    page.evaluate(([path, values]) => {
      const form = document.createElement("form");
      Object.assign(form, { method: "post", action: path });
      for (const [name, value] of Object.entries(values)) {
        form.append(Object.assign(document.createElement("input"), { name, value }));
      }
      document.body.append(form);
      form.submit();
    }, [path, values]),
  ]);
}

await report.step("a factor of another user cannot be used and not be removed", async () => {
  const page = await visit();
  await enterPassword(page, ada);
  await heading(page, "Confirm that it is you");
  const factors = await page.locator('input[name="factor"]').evaluateAll((inputs) => inputs.map((input) => input.value));
  assert.equal(factors.length, 3);
  await post(page, "/sign-out", {});
  await enterPassword(page, alan);
  await heading(page, "Your account");
  for (const path of ["/challenge", "/remove"]) {
    for (const factor of factors) {
      await post(page, path, { factor });
      await heading(page, "Your account");
    }
  }
  await close(page);
  await main.reload();
  assert.equal(await main.getByRole("button", { name: /^Remove/ }).count(), 3);
});

await report.step("the user signs in with the authenticator app", async () => {
  const page = await visit();
  await enterPassword(page, ada);
  await press(page, "Authenticator app");
  await look(page, "totp-sign-in");
  await enter(page, wrongFor(secret));
  await notice(page, "The code is wrong.");
  await enter(page, await appCode(secret));
  await heading(page, "Your account");
  await close(page);
});

await report.step("the user signs in with a pasted message", async () => {
  const page = await visit();
  await enterPassword(page, ada);
  const before = (await message(phone)).length;
  for (;;) { // half a minute lies between two messages to a number
    await press(page, "Text messages to …0143");
    await page.waitForLoadState();
    if ((await page.locator("h1").textContent()) !== "Confirm that it is you") break;
    await notice(page, "We cannot send another message yet.");
    await page.waitForTimeout(1000);
  }
  const messages = await message(phone);
  assert.equal(messages.length, before + 1);
  await look(page, "sms-sign-in");
  await page.getByLabel("Code", { exact: true }).evaluate((input, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text", text);
    input.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, messages[0].text);
  await heading(page, "Your account");
  await close(page);
});

await report.step("the user signs in with the passkey, after a dialog that was cancelled", async () => {
  await press(main, "Sign out");
  await enterPassword(main, ada);
  await press(main, "Passkey");
  await look(main, "passkey-sign-in");
  // What the browser does when the user closes the dialog.
  await main.evaluate(() => {
    const get = navigator.credentials.get.bind(navigator.credentials);
    navigator.credentials.get = async () => {
      navigator.credentials.get = get;
      throw new DOMException("The operation either timed out or was not allowed.", "NotAllowedError");
    };
  });
  await press(main, "Use the passkey");
  await notice(main, "No passkey was used.");
  await look(main, "passkey-cancelled");
  await press(main, "Use the passkey");
  await heading(main, "Your account");
});

let codes, newer;
await report.step("recovery codes are shown once", async () => {
  await press(main, "Create recovery codes");
  await heading(main, "Your recovery codes");
  codes = await main.locator("ol code").allTextContents();
  report.secrets(...codes);
  assert.equal(codes.length, 10);
  for (const code of codes) assert.match(code, /^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}$/);
  await look(main, "recovery");
  await main.getByRole("link", { name: "I have stored them" }).click();
  await main.getByText("10 of your recovery codes are left").waitFor();
  assert.ok(!(await main.content()).includes(codes[0]));
  await look(main, "account-recovery");
});

await report.step("a recovery code signs in once, in the same input", async () => {
  const page = await visit();
  await enterPassword(page, ada);
  await press(page, "Authenticator app");
  await page.getByText("A recovery code works too.").waitFor();
  await look(page, "recovery-sign-in");
  await press(page, "Type a recovery code");
  await enter(page, codes[0].toLowerCase());
  await heading(page, "Your account");
  await notice(page, "You used a recovery code; 9 are left.");
  await page.getByText("9 of your recovery codes are left").waitFor();
  await press(page, "Sign out");
  await enterPassword(page, ada);
  await press(page, "Passkey");
  await enter(page, codes[0]);
  await notice(page, "That did not work.");
  await close(page);
});

await report.step("a recovery code confirms no enrollment, and new codes replace the old ones", async () => {
  await press(main, "Authenticator app");
  await heading(main, "Add: Authenticator app");
  report.secrets((await main.locator("code").textContent()).replaceAll(" ", ""));
  await enter(main, codes[1]);
  await notice(main, "The code is wrong.");
  await press(main, "Cancel");
  await press(main, "Create recovery codes");
  newer = await main.locator("ol code").allTextContents();
  report.secrets(...newer);
  await press(main, "Sign out");
  await enterPassword(main, ada);
  await press(main, "Authenticator app");
  await enter(main, codes[1]);
  await notice(main, "The code is wrong.");
  await enter(main, newer[0]);
  await heading(main, "Your account");
});

await report.step("forms of other sites are refused", async () => {
  const [cookie] = await main.context().cookies();
  for (const origin of ["https://evil.example", "null", "http://localhost.evil.example", undefined]) {
    const reply = await fetch(app + "/cancel", {
      method: "POST",
      headers: { Cookie: `${cookie.name}=${cookie.value}`, "Content-Type": "application/x-www-form-urlencoded", ...(origin && { Origin: origin }) },
    });
    assert.equal(reply.status, 403, origin);
  }
  const page = await fetch(app + "/sign-in");
  const policy = page.headers.get("content-security-policy");
  for (const part of ["default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) {
    assert.ok(policy.includes(part), part);
  }
  assert.doesNotMatch(policy, /unsafe/);
});

await report.step("without JavaScript", async () => {
  const page = await visit({ javaScriptEnabled: false });
  await enterPassword(page, ada);
  await press(page, "Passkey");
  await page.getByText("Passkeys need JavaScript.").waitFor();
  await page.getByRole("button", { name: "Use the passkey" }).isDisabled();
  await press(page, "Authenticator app");
  await page.getByLabel("Code", { exact: true }).fill(await appCode(secret));
  await press(page, "Confirm");
  await heading(page, "Your account");
  assert.equal(await page.getByRole("button", { name: "Passkey or security key" }).isVisible(), false);
  await close(page);
});

await report.step("a removed factor no longer signs in, and the others still do", async () => {
  await press(main, "Remove Passkey");
  await heading(main, "Your account");
  assert.equal(await main.getByRole("button", { name: /^Remove/ }).count(), 2);
  await press(main, "Sign out");
  await enterPassword(main, ada);
  await heading(main, "Confirm that it is you");
  assert.equal(await main.getByRole("button", { name: "Passkey" }).count(), 0);
  await press(main, "Authenticator app");
  await enter(main, newer[1]);
  await heading(main, "Your account");
});

await report.step("the recovery codes go with the last factor", async () => {
  await press(main, "Remove Authenticator app");
  await press(main, "Remove Text messages to …0143");
  await main.getByText("Only your password protects this account").waitFor();
  assert.equal(await main.getByRole("button", { name: "Create recovery codes" }).count(), 0);
  await press(main, "Sign out");
  await enterPassword(main, ada);
  await heading(main, "Your account");
  await press(main, "Authenticator app"); // a new factor
  secret = (await main.locator("code").textContent()).replaceAll(" ", "");
  report.secrets(secret);
  await enter(main, await appCode(secret));
  await notice(main, "Authenticator app was added.");
  await main.getByText("With recovery codes on paper").waitFor();
  await press(main, "Sign out");
  await enterPassword(main, ada);
  await press(main, "Authenticator app");
  await enter(main, newer[2]);
  await notice(main, "The code is wrong.");
  await close(main);
});

await browser.close();
report.end();
