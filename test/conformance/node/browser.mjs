// Opens the pages of countersign dev in a real browser and prints the result of each
// step (see report.mjs):
//
//   node browser.mjs
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name a server that has not sent a message yet.
// COUNTERSIGN_CHROMIUM names the browser, by default /usr/bin/chromium. If
// COUNTERSIGN_SCREENSHOTS names a directory, the screenshots are saved there.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { load } from "./libraries.mjs";
import { Report } from "./report.mjs";
import { Fixture } from "./fixture.mjs";

const desk = { width: 1100, height: 800 };
const phone = { width: 320, height: 640 }; // the narrowest width that WCAG 2.2 requires (1.4.10)
const screenshots = process.env.COUNTERSIGN_SCREENSHOTS;
const server = { url: process.env.COUNTERSIGN_URL, key: process.env.COUNTERSIGN_API_KEY };
const inbox = server.url + "/dev/inbox";

const browser = await chromium.launch({
  executablePath: process.env.COUNTERSIGN_CHROMIUM || "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const report = new Report("chromium", browser.version());
const fixture = new Fixture(await load("workos-newest"), report, server);

// open loads the inbox in a new page. page.faults lists the errors and warnings of the
// page, and every request to a host other than the server.
async function open(options = {}, address = inbox) {
  const context = await browser.newContext({ viewport: desk, ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) {
      page.faults.push(`${message.type()} on the console: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => page.faults.push(`script: ${error}`));
  page.on("requestfailed", (request) => page.faults.push(`request failed: ${request.url()} ${request.failure()?.errorText}`));
  page.on("response", (reply) => {
    if (!reply.ok()) {
      page.faults.push(`status ${reply.status()} of ${reply.url()}`);
    }
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== server.url && protocol !== "data:") {
      page.faults.push(`request to ${request.url()}`);
    }
  });
  page.on("dialog", (dialog) => {
    page.faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.setDefaultTimeout(15_000);
  await page.goto(address);
  return page;
}

// close closes a page and fails if the page has faults.
async function close(page) {
  await page.waitForTimeout(100); // for errors and warnings that arrive late
  const faults = page.faults;
  await page.context().close();
  assert.deepEqual(faults, [], "faults of the page");
}

async function picture(page, name, options = {}) {
  if (screenshots) {
    await mkdir(screenshots, { recursive: true });
    await page.screenshot({ path: join(screenshots, name + ".png"), fullPage: true, ...options });
  }
}

// send makes the server send a message to a number, and returns its code.
async function send(to, smsTemplate) {
  const factor = await fixture.mfa.enrollFactor({ type: "sms", phoneNumber: to });
  await fixture.challenge(factor, smsTemplate === undefined ? {} : { smsTemplate });
  const [{ code }] = await fixture.messages(to);
  return code;
}

const messages = (page) => page.locator("#messages > li");
const numbers = (page) => messages(page).locator(".to").allTextContents();

// fitsWidth checks that the reader does not have to scroll sideways.
async function fitsWidth(page) {
  const { wide, room } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    room: document.documentElement.clientWidth,
  }));
  assert.ok(wide <= room, `the page is ${wide} px wide in ${room} px`);
}

// eventually waits until a check passes.
async function eventually(check) {
  const end = Date.now() + 15_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const [first, second, third] = [fixture.phone(), fixture.phone(), fixture.phone()];

await report.step("an empty inbox says how to fill it", async () => {
  const page = await open();
  assert.match(await page.title(), /inbox.*Countersign/i);
  await page.getByRole("heading", { name: "Nothing has been sent yet" }).waitFor();
  assert.equal(await messages(page).count(), 0);
  const commands = await page.locator("#empty pre").allTextContents();
  assert.ok(commands.length > 0);
  for (const command of commands) {
    assert.ok(command.includes(server.url), `a command that can be pasted: ${command}`);
  }
  await picture(page, "empty");
  await close(page);
});

await report.step("an empty inbox on a phone", async () => {
  const page = await open({ viewport: phone, isMobile: true, hasTouch: true });
  await page.getByRole("heading", { name: "Nothing has been sent yet" }).waitFor();
  await fitsWidth(page);
  await picture(page, "empty-phone");
  await close(page);
});

await report.step("a command is copied whole", async () => {
  const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  const shown = await page.locator("#empty pre").first().textContent();
  await page.locator("#empty").getByRole("button", { name: /copy/i }).first().click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), shown);
  await close(page);
});

await report.step("a message appears without a reload", async () => {
  const page = await open();
  await page.getByRole("heading", { name: "Nothing has been sent yet" }).waitFor();
  await page.evaluate(() => (window.loadedOnce = true));
  const code = await send(first);
  const sent = Date.now();
  await messages(page).filter({ hasText: first }).waitFor();
  const took = Date.now() - sent;
  assert.ok(await page.evaluate(() => window.loadedOnce), "the page was not loaded again");
  assert.equal(await messages(page).locator("code").textContent(), code);
  assert.equal(await messages(page).locator(".text").textContent(), `Your verification code is: ${code}`);
  assert.equal(await page.locator("#empty").isVisible(), false, "the empty state goes");
  assert.match(await page.locator("[aria-live]").first().textContent(), new RegExp([...code].join(" ")), "read out by digits");
  await picture(page, "one");
  await close(page);
  return `within ${took} ms of its being sent`;
});

await report.step("the code is copied", async () => {
  const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  const code = await messages(page).locator("code").textContent();
  const button = messages(page).getByRole("button", { name: `Copy code ${code}` });
  await button.click();
  await eventually(async () => assert.equal(await button.textContent(), "Copied"));
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
  await eventually(async () => assert.equal(await button.textContent(), "Copy"));
  await page.evaluate(() => navigator.clipboard.writeText(""));
  await button.focus();
  await page.keyboard.press("Enter");
  await eventually(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code));
  await close(page);
  return "with the mouse and with the keyboard";
});

await report.step("the newest message is first", async () => {
  const page = await open();
  await send(second);
  await messages(page).filter({ hasText: second }).waitFor();
  assert.deepEqual(await numbers(page), [second, first]);
  await page.reload();
  assert.deepEqual(await numbers(page), [second, first]);
  await close(page);
  return "both when it arrives and after a reload";
});

await report.step("the filter", async () => {
  const page = await open();
  const filter = page.getByRole("textbox", { name: "Phone number" });
  await filter.fill(first.slice(-4));
  await eventually(async () => assert.deepEqual(await numbers(page), [first]));
  await picture(page, "filter");
  await page.reload();
  assert.equal(await filter.inputValue(), first.slice(-4), "the address contains it");
  assert.deepEqual(await numbers(page), [first]);
  await filter.fill("+49");
  await page.getByText("No message to this number").waitFor();
  assert.equal(await page.locator("#empty").isVisible(), false);
  await picture(page, "filter-none");
  await page.getByRole("link", { name: "Show all" }).click();
  await eventually(async () => assert.deepEqual(await numbers(page), [second, first]));
  assert.equal(await filter.inputValue(), "");
  await page.getByRole("link", { name: second }).click();
  await eventually(async () => assert.deepEqual(await numbers(page), [second]));
  await filter.fill(first.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, "+1 ($1) $2-$3"));
  await eventually(async () => assert.deepEqual(await numbers(page), [first]));
  await close(page);
  return "by part of a number, by its link and as people write it; kept over a reload";
});

// A text by which a caller of the API may try to run a script in the inbox.
const hostile =
  `"'><img src=x onerror="window.ran=1"><script>window.ran=2</script><svg onload="window.ran=3"></svg>` +
  `<a href="javascript:window.ran=4">here</a></template></p><style>body{display:none}</style>` +
  `{{"{{"}}.}}\${window.ran=5} &lt;b&gt; \u202e {{code}} ` + "W".repeat(120);

await report.step("a hostile message is text", async () => {
  const page = await open();
  const code = await send(third, hostile);
  const text = hostile.replaceAll("{{code}}", code);
  const message = messages(page).filter({ has: page.getByRole("link", { name: third }) });
  for (const where of ["as it arrives", "after a reload"]) {
    await message.waitFor();
    assert.equal(await message.locator(".text").textContent(), text, where);
    assert.equal(await message.locator(".text *").count(), 0, `elements in the text, ${where}`);
    assert.equal(await page.locator("img, svg, iframe, object, body > script:not([nonce])").count(), 0, where);
    assert.equal(await page.evaluate(() => window.ran), undefined, where);
    assert.ok(await message.isVisible(), where);
    await page.reload();
  }
  await fitsWidth(page);
  await picture(page, "hostile");
  await close(page);
});

await report.step("a hostile filter is text", async () => {
  const value = `"><script>window.ran=1</script><img src=x onerror=window.ran=2>`;
  const page = await open({}, `${inbox}?to=${encodeURIComponent(value)}`);
  assert.equal(await page.getByRole("textbox", { name: "Phone number" }).inputValue(), value);
  await page.getByText("No message to this number").waitFor();
  assert.equal(await page.evaluate(() => window.ran), undefined);
  await close(page);
});

await report.step("on a phone", async () => {
  const page = await open({ viewport: phone, isMobile: true, hasTouch: true });
  assert.equal(await messages(page).count(), 3);
  await fitsWidth(page);
  for (const button of await page.getByRole("button", { name: /copy/i }).all()) {
    const { width, height } = await button.boundingBox();
    assert.ok(width >= 24 && height >= 24, `a button of ${width} by ${height} px is large enough (WCAG 2.2, 2.5.8)`);
  }
  await picture(page, "phone");
  await close(page);
  return "320 px wide, no scrolling sideways";
});

await report.step("in the dark", async () => {
  const page = await open({ colorScheme: "dark" });
  const [dark, light] = await page.evaluate(() => {
    const brightness = (color) => color.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
    const { backgroundColor, color } = getComputedStyle(document.body);
    return [brightness(backgroundColor), brightness(color)];
  });
  assert.ok(dark < light, "light text on a dark page");
  await picture(page, "dark");
  await close(page);
});

await report.step("without JavaScript", async () => {
  const page = await open({ javaScriptEnabled: false });
  assert.deepEqual(await numbers(page), [third, second, first]);
  assert.equal(await page.getByRole("button", { name: /copy/i }).count(), 0, "buttons that would do nothing");
  await page.getByRole("textbox", { name: "Phone number" }).fill(second.slice(-4));
  await page.getByRole("button", { name: "Filter" }).click();
  assert.deepEqual(await numbers(page), [second]);
  await page.getByRole("link", { name: "Reload" }).click();
  assert.deepEqual(await numbers(page), [second]);
  await picture(page, "no-script");
  await page.getByRole("link", { name: "Show all" }).click();
  assert.deepEqual(await numbers(page), [third, second, first]);
  await page.setViewportSize(phone);
  await picture(page, "no-script-phone");
  await close(page);
});

await report.step("without a server it says so, and comes back", async () => {
  const page = await open();
  const live = page.locator("#live");
  await eventually(async () => assert.equal(await live.textContent(), "Live"));
  await page.context().setOffline(true);
  await eventually(async () => assert.match(await live.textContent(), /not reachable/));
  assert.equal(await messages(page).count(), 3, "the shown messages stay");
  await picture(page, "offline");
  await page.context().setOffline(false);
  await eventually(async () => assert.equal(await live.textContent(), "Live"));
  await page.context().close(); // its failed requests do not count as faults
});

await report.step("the qr_code is an image", async () => {
  const { totp } = await fixture.enrollTOTP();
  const context = await browser.newContext({ viewport: desk });
  const page = await context.newPage();
  await page.goto(totp.qrCode);
  const { width, height } = await page.evaluate(() => {
    const [image] = document.images;
    return { width: image.naturalWidth, height: image.naturalHeight };
  });
  const header = Buffer.from(totp.qrCode.split(",")[1], "base64");
  assert.deepEqual([width, height], [header.readUInt32BE(16), header.readUInt32BE(20)], "size that the PNG says");
  assert.equal(width, height);
  assert.ok(width >= 200 && width <= 800, `${width} px are a size that phones scan from a screen`);
  await picture(page, "qr");
  await context.close();
  return `${width} by ${height} px`;
});

await report.step("the qr_code is scanned from the screen", async () => {
  const { totp } = await fixture.enrollTOTP();
  const context = await browser.newContext({ viewport: phone, deviceScaleFactor: 2, colorScheme: "dark" });
  const page = await context.newPage();
  await page.setContent(`<body style="background:#000;color:#fff"><p>Scan this:<p><img alt="" width="180" src="${totp.qrCode}">`);
  await page.waitForFunction(() => document.images[0].complete);
  const shown = await page.screenshot();
  await picture(page, "qr-on-page");
  await context.close();
  return {
    detail: "180 px wide in a dark page",
    qr_code: "data:image/png;base64," + shown.toString("base64"),
    text: totp.uri,
  };
});

await browser.close();
report.end();
