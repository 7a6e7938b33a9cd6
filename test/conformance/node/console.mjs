// Opens the pages of the console of countersign dev in a real browser and prints the result
// of each step (see report.mjs):
//
//   node console.mjs
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name a new server. COUNTERSIGN_ROUTES is the JSON
// list of the paths of all routes with GET. COUNTERSIGN_CHROMIUM names the browser, by
// default /usr/bin/chromium. If COUNTERSIGN_SCREENSHOTS names a directory, the screenshots
// are saved there.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { Report } from "./report.mjs";

const server = { url: process.env.COUNTERSIGN_URL, key: process.env.COUNTERSIGN_API_KEY };
const routes = JSON.parse(process.env.COUNTERSIGN_ROUTES);
const screenshots = process.env.COUNTERSIGN_SCREENSHOTS;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const widths = [320, 768, 1280]; // 320 is the narrowest width that WCAG 2.2 requires (1.4.10)
const themes = ["light", "dark"];

const browser = await chromium.launch({
  executablePath: process.env.COUNTERSIGN_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const report = new Report("console", browser.version());

// call sends a request to the API.
async function call(method, path, body) {
  const reply = await fetch(server.url + path, {
    method,
    headers: { Authorization: "Bearer " + server.key, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return { ...(await reply.json()), status: reply.status };
}

const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
const end = { ip_address: "203.0.113.7", user_agent: agent };

async function enroll(user, type = "generic_otp", more = {}) {
  const made = await call("POST", "/auth/factors/enroll", { type, user_id: user, ...more });
  assert.equal(made.status, 201, JSON.stringify(made));
  return made.id;
}

// attempt challenges a factor and tries a number of wrong codes, and then the right one if
// asked for.
async function attempt(factor, wrong, right = false, context = end) {
  const challenge = await call("POST", `/auth/factors/${factor}/challenge`, {});
  assert.equal(challenge.status, 201, JSON.stringify(challenge));
  for (let i = 0; i < wrong; i++) {
    await call("POST", `/auth/challenges/${challenge.id}/verify`, { code: "000000", ...context });
  }
  if (right) {
    await call("POST", `/auth/challenges/${challenge.id}/verify`, { code: challenge.code, ...context });
  }
  return challenge.id;
}

// Texts that clients choose, and by which they may try to run a script in the console.
const hostile = [
  `<script>window.ran=1</script>`,
  `"><img src=x onerror=window.ran=2>`,
  `javascript:window.ran=3`,
  `{{.}}\${window.ran=4}`,
  "user_\u202egnitset",
  "W".repeat(128),
];
const hostileAgent = `"'><svg onload="window.ran=5"></svg>\u202e<style>body{display:none}</style>` + "W".repeat(200);

const users = { locked: "user_42", happy: "user_7" };
const made = {};

await report.step("users with factors and challenges", async () => {
  made.factor = await enroll(users.locked);
  made.challenge = await attempt(made.factor, 5);
  await attempt(made.factor, 1); // locks it
  const happy = await enroll(users.happy);
  for (let i = 0; i < 3; i++) {
    await attempt(happy, i === 1 ? 1 : 0, true);
  }
  const phone = await enroll(users.happy, "sms", { phone_number: "+15005550006" });
  made.message = (await call("POST", `/auth/factors/${phone}/challenge`, {})).id;
  const endpoint = await call("POST", "/webhook_endpoints", { endpoint_url: "http://127.0.0.1:9/hook", events: ["factor.locked", "authentication.mfa_failed"] });
  assert.equal(endpoint.status, 201, JSON.stringify(endpoint));
  made.endpoint = endpoint.id;
  await attempt(happy, 1);
});

const env = "/console/e/sandbox";
// The addresses of each route: a list, because some pages look different with other data.
const addresses = {
  "/console/e/{env}": () => [env, env + "?span=month"],
  "/console/e/{env}/users": () => [env + "/users"],
  "/console/e/{env}/user": () => [users.locked, users.happy, ...hostile.filter((user) => user === made.hostile)].map((user) => `${env}/user?id=${encodeURIComponent(user)}`),
  "/console/e/{env}/factors/{id}": () => [`${env}/factors/${made.factor}`],
  "/console/e/{env}/challenges/{id}": () => [`${env}/challenges/${made.challenge}`, `${env}/challenges/${made.message}`],
  "/console/e/{env}/events": () => [env + "/events", env + "/events?type=factor.deleted"],
  "/console/e/{env}/messages": () => [env + "/messages", env + "/messages?span=week"],
  "/console/e/{env}/keys": () => [env + "/keys"],
  "/console/e/{env}/settings": () => [env + "/settings"],
  "/console/e/{env}/webhooks": () => [env + "/webhooks"],
  "/console/e/{env}/webhooks/{id}": () => [`${env}/webhooks/${made.endpoint}`],
  "/console/environments": () => ["/console/environments"],
  "/console/system": () => ["/console/system"],
};
// Routes that are no pages, and what tests them.
const others = {
  "/console": "the way to the first page",
  "/console/go": "the environment is chosen",
  "/console/static/{file}": "every page loads them",
  "/console/{path...}": "an unknown page",
  "/console/e/{env}/events/stream": "the story of a locked user",
  "/console/e/{env}/events/export": "an export is a file",
};

// open returns a page that collects what is wrong with it in page.faults.
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => {
    const refused = message.text().match(/^Failed to load resource: the server responded with a status of (\d+)/);
    if (["error", "warning"].includes(message.type()) && !page.expected?.includes(Number(refused?.[1]))) {
      page.faults.push(`${message.type()} on the console of ${page.url()}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => page.faults.push(`script of ${page.url()}: ${error}`));
  page.on("response", (reply) => {
    if (reply.status() >= 400 && !page.expected?.includes(reply.status())) {
      page.faults.push(`status ${reply.status()} of ${reply.url()}`);
    }
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== server.url) {
      page.faults.push(`request to ${request.url()}`);
    }
  });
  page.setDefaultTimeout(30_000);
  return page;
}

async function close(page) {
  const faults = page.faults;
  await page.context().close();
  assert.deepEqual(faults, [], "faults of the page");
}

async function eventually(check) {
  const until = Date.now() + 30_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

// picture saves a screenshot for the documentation.
async function picture(page, name) {
  if (screenshots) {
    await mkdir(screenshots, { recursive: true });
    const before = page.viewportSize();
    await page.setViewportSize({ width: 1100, height: 720 });
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: join(screenshots, name + ".png") });
    await page.setViewportSize(before);
  }
}

// fits checks that the reader does not have to scroll sideways.
async function fits(page) {
  const { wide, room, culprit } = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    const over = [...document.body.querySelectorAll("*")].find((element) => {
      const box = element.getBoundingClientRect();
      return box.right > room + 1 && box.width > 1 && !element.closest(".table, .visually-hidden");
    });
    return { wide: document.documentElement.scrollWidth, room, culprit: over?.outerHTML.slice(0, 200) };
  });
  assert.ok(wide <= room, `${page.url()} is ${wide} px wide in ${room} px: ${culprit}`);
}

// accessible checks a page with axe-core: WCAG 2.2 A and AA, and axe's best practices.
async function accessible(page) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + " " + node.any.map((check) => check.message).join(" ")).join("; ")}`);
  });
  assert.deepEqual(violations, [], `axe-core on ${page.url()}`);
}

await report.step("charts are drawn from their tables", async () => {
  const page = await open();
  for (const [address, series] of [[env, "right"], [env + "/messages", "sent"]]) {
    await eventually(async () => {
      await page.goto(server.url + address); // the server counts events in the background
      const box = page.locator(".chart-box[data-chart]").first();
      await box.locator("canvas").waitFor({ timeout: 2000 });
      const column = (await box.locator("thead th").allTextContents()).indexOf(series);
      const newest = [0, 1].map((row) => box.locator("tbody tr").nth(row).locator("td").nth(column).getAttribute("data-value"));
      assert.ok((await Promise.all(newest)).some((value) => Number(value) > 0), "the newest two hours have " + series); // an hour may have begun since
    });
  }
  const drawn = await page.locator("canvas").first().evaluate((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0));
  assert.ok(drawn, "the chart has lines");
  await page.goto(server.url + env);
  await picture(page, "overview");
  await page.setViewportSize({ width: 320, height: 640 });
  await eventually(async () => assert.ok((await page.locator("canvas").first().boundingBox()).width < 320, "drawn again for a small window"));
  await fits(page);
  await close(page);
});

await report.step("users with hostile names", async () => {
  for (const user of hostile) {
    const reply = await call("POST", "/auth/factors/enroll", { type: "generic_otp", user_id: user });
    if (reply.status === 201) {
      await attempt(reply.id, 1, false, { ip_address: "2001:db8::1", user_agent: hostileAgent });
      made.hostile = user;
    }
  }
});

await report.step("every route has a test", async () => {
  for (const route of routes) {
    assert.ok(addresses[route] || others[route], `${route} has no address in console.mjs; add it`);
  }
  return `${routes.length} routes`;
});

for (const theme of themes) {
  for (const width of widths) {
    await report.step(`every page at ${width} px, ${theme}`, async () => {
      const page = await open({ viewport: { width, height: 900 }, colorScheme: theme });
      let count = 0;
      for (const route of routes.filter((route) => addresses[route])) {
        for (const address of addresses[route]()) {
          const reply = await page.goto(server.url + address);
          assert.equal(reply.status(), 200, address);
          await page.waitForFunction(() => document.documentElement.classList.contains("script"));
          await fits(page);
          for (const details of await page.locator("main details").all()) {
            await details.evaluate((element) => (element.open = true));
          }
          await fits(page);
          await accessible(page);
          assert.equal(await page.evaluate(() => window.ran), undefined, "a text of a client ran as a script");
          count++;
        }
      }
      await close(page);
      return `${count} pages`;
    });
  }
}

await report.step("hostile texts stay texts", async () => {
  const page = await open();
  await page.goto(server.url + env + "/events");
  for (const user of hostile) {
    const link = page.locator(`tbody a.user[title=${JSON.stringify(user)}]`).first();
    if ((await link.count()) > 0) {
      assert.equal(await link.evaluate((element) => element.childElementCount), 0);
      await link.click();
      assert.equal(await page.locator("h1").textContent(), user);
      await page.goBack();
    }
  }
  assert.equal(await page.locator("main script, main img, main svg[onload], main style").count(), 0);
  assert.equal(await page.evaluate(() => window.ran), undefined);
  await close(page);
});

await report.step("the policy lets no script of a page run", async () => {
  const page = await open();
  await page.goto(server.url + env + "/users");
  const outcome = await page.evaluate(async () => {
    const box = document.createElement("div");
    box.innerHTML = `<img src=x onerror="window.ran=9"><script>window.ran=9</scr` + `ipt><a href="javascript:window.ran=9">x</a>`;
    const refused = [];
    for (const [name, act] of Object.entries({
      script: () => { const s = document.createElement("script"); s.text = "window.ran=9"; document.body.append(s); },
      address: () => { const s = document.createElement("script"); s.src = "data:text/javascript,window.ran=9"; document.body.append(s); },
    })) {
      try {
        act();
      } catch {
        refused.push(name);
      }
    }
    // The tools for developers allow eval in what they evaluate, but not in what it calls later.
    await new Promise((resolve) => setTimeout(() => {
      try {
        (0, eval)("window.ran=9");
      } catch {
        refused.push("eval");
      }
      resolve();
    }));
    return { html: box.innerHTML, refused, ran: window.ran };
  });
  assert.deepEqual(outcome, { html: `<img src="x"><a>x</a>`, refused: ["script", "address", "eval"], ran: undefined });
  await page.context().close(); // the refusals are errors on its console
});

await report.step("the story of a locked user", async () => {
  const events = await open();
  await events.goto(server.url + env + "/events?type=factor.");
  await eventually(async () => assert.equal(await events.locator("#live").textContent(), "Live"));
  const page = await open();
  await page.goto(server.url + "/console");
  await page.getByRole("link", { name: "Users" }).click();
  await page.getByLabel(/Id of a user/).fill(users.locked);
  await page.getByRole("button", { name: "Find" }).click();
  assert.equal(await page.locator("h1").textContent(), users.locked);
  await picture(page, "user");
  await page.locator("th a").first().click();
  assert.match(await page.locator(".facts").first().textContent(), /6 of \d+ in a row/);
  await page.goto(`${server.url}${env}/challenges/${made.challenge}`);
  assert.match(await page.locator(".explanation").textContent(), /5/);
  await picture(page, "challenge");
  await page.locator("p > a", { hasText: "factor" }).first().click();
  await page.locator("#reason-unlock").fill("ticket 4711");
  await page.getByRole("button", { name: "Unlock the factor" }).click();
  await page.getByRole("status").filter({ hasText: "The factor was unlocked" }).waitFor();
  await picture(page, "factor");
  const arrived = events.locator("tbody tr", { hasText: "Factor unlocked" });
  await arrived.waitFor();
  assert.match(await arrived.textContent(), /operator dev/);
  assert.match(await arrived.textContent(), /ticket 4711/);
  await eventually(async () => assert.match(await events.locator("#announce").textContent(), /Factor unlocked/));
  await fits(events);
  await accessible(events);
  await events.goto(server.url + env + "/events");
  await eventually(async () => assert.equal(await events.locator("#live").textContent(), "Live"));
  await picture(events, "events");
  await close(events);
  await close(page);
});

await report.step("settings are changed", async () => {
  const page = await open();
  page.expected = [422];
  await page.goto(server.url + env);
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByLabel("webauthn_rp_id").fill("Example.com");
  await page.getByLabel("accept_recovery").selectOption("true");
  await page.getByRole("button", { name: "Save settings" }).click();
  assert.match(await page.getByRole("alert").textContent(), /webauthn_rp_id must be a domain/);
  await accessible(page);
  await page.getByLabel("webauthn_rp_id").fill("example.com");
  await page.getByRole("button", { name: "Save settings" }).click();
  await page.getByRole("status").filter({ hasText: "The settings were saved" }).waitFor();
  assert.equal(await page.getByLabel("webauthn_rp_id").inputValue(), "example.com");
  assert.equal(await page.getByLabel("accept_recovery").inputValue(), "true");
  await picture(page, "settings");
  await close(page);
});

await report.step("a refused form keeps what was entered", async () => {
  const page = await open();
  page.expected = [422];
  await page.goto(server.url + env + "/webhooks");
  await page.getByLabel("URL").fill("https://user:password@example.com/");
  await page.getByRole("button", { name: "Create endpoint" }).click();
  await page.getByRole("alert").waitFor();
  assert.equal(await page.getByLabel("URL").inputValue(), "https://user:password@example.com/");
  await fits(page);
  await accessible(page);
  await page.context().close(); // the status 422 is an error on its console
});

await report.step("an unknown page and an unknown user", async () => {
  const page = await open();
  for (const address of ["/console/nothing", env + "/user?id=nobody", env + "/factors/auth_factor_nothing"]) {
    const reply = await page.goto(server.url + address);
    assert.equal(reply.status(), 404, address);
    assert.match(await page.locator("main").textContent(), /not found|Nothing was found/i);
    await fits(page);
    await accessible(page);
  }
  await page.context().close(); // the status 404 is an error on its console
});

await report.step("without JavaScript", async () => {
  const page = await open({ javaScriptEnabled: false });
  for (const route of routes.filter((route) => addresses[route])) {
    for (const address of addresses[route]()) {
      assert.equal((await page.goto(server.url + address)).status(), 200, address);
      assert.equal(await page.getByRole("button", { name: /^Copy/ }).count(), 0, "buttons that would do nothing");
    }
  }
  await page.goto(server.url + env + "/factors/" + made.factor);
  await page.locator("summary", { hasText: "Suspend the factor" }).click();
  await page.locator("#reason-suspend").fill("lost phone");
  await page.getByRole("button", { name: "Suspend the factor" }).click();
  await page.getByRole("status").filter({ hasText: "The factor was suspended" }).waitFor();
  await close(page);
});

await report.step("a bypass code is shown once", async () => {
  const page = await open();
  await page.goto(`${server.url}${env}/user?id=${users.happy}`);
  await page.locator("summary", { hasText: "Issue a bypass code" }).click();
  await page.locator("#reason-bypass").fill("lost phone");
  await page.getByRole("button", { name: "Issue a bypass code" }).click();
  const code = await page.locator(".secret code").textContent();
  report.secrets(code.replace(/\D/g, ""));
  assert.match(code.replace(/\D/g, ""), /^\d{9,}$/);
  await fits(page);
  await accessible(page);
  await page.goto(`${server.url}${env}/user?id=${users.happy}`);
  await page.locator("summary", { hasText: "Revoke the bypass code" }).click();
  await page.locator("#reason-revoke").fill("found it");
  await page.getByRole("button", { name: "Revoke the bypass code" }).click();
  await page.getByRole("status").filter({ hasText: "The bypass code was revoked" }).waitFor();
  await close(page);
});

await report.step("with the keyboard only", async () => {
  const page = await open({ viewport: { width: 320, height: 640 } });
  await page.goto(server.url + env + "/users");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  assert.ok(await page.locator(".skip").evaluate((element) => element.getBoundingClientRect().top >= 0), "the link is visible");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("Tab");
  await page.keyboard.type(users.happy);
  await page.keyboard.press("Enter");
  await page.waitForURL(/user\?id=/);
  const menu = page.getByRole("button", { name: "Menu" });
  await menu.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "Events", exact: true }).waitFor();
  await fits(page);
  await accessible(page);
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("link", { name: "Events", exact: true }).isVisible(), false);
  await close(page);
});

await report.step("the theme is kept", async () => {
  const page = await open({ colorScheme: "light" });
  await page.goto(server.url + env + "/events");
  const brightness = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
  const light = await brightness();
  await page.getByRole("button", { name: "Dark", exact: true }).click();
  await page.waitForURL(/events/);
  assert.ok((await brightness()) < light / 2, "the page is dark");
  await page.goto(server.url + "/console/system");
  assert.ok((await brightness()) < light / 2, "the next page is dark too");
  await picture(page, "system");
  await close(page);
});

await report.step("the environment is chosen", async () => {
  const page = await open();
  await page.goto(server.url + "/console/environments");
  await page.getByLabel("Name").fill("Second environment");
  await page.getByLabel("Reason").fill("ticket 4712");
  await page.getByRole("button", { name: "Create environment" }).click();
  await page.getByRole("status").filter({ hasText: "The environment was created" }).waitFor();
  for (const empty of ["", "/users", "/events", "/messages", "/keys", "/webhooks"]) {
    await page.goto(server.url + "/console/e/Second%20environment" + empty);
    await fits(page);
    await accessible(page);
  }
  await page.getByLabel("Environment", { exact: true }).selectOption("sandbox");
  await page.waitForURL(server.url + env);
  await close(page);
});

await report.step("a new key is shown once", async () => {
  const page = await open();
  await page.goto(server.url + env + "/keys");
  await page.locator("#name").fill("checkout service");
  await page.getByLabel("Reason").last().fill("ticket 4713");
  await page.getByRole("button", { name: "Create key" }).click();
  const key = await page.locator(".secret code").textContent();
  report.secrets(key);
  assert.match(key, /^sk_test_/);
  await fits(page);
  await accessible(page);
  const reply = await fetch(server.url + "/events", { headers: { Authorization: "Bearer " + key } });
  assert.equal(reply.status, 200);
  await page.goto(server.url + env + "/keys");
  assert.doesNotMatch(await page.content(), new RegExp(key));
  const row = page.locator("tr", { hasText: "checkout service" });
  const revocation = row.locator("details").filter({ has: page.getByText("Revoke", { exact: true }) });
  await revocation.locator("summary").click();
  await revocation.getByLabel("Reason").fill("ticket 4713");
  await revocation.getByRole("button", { name: "Revoke the key" }).click();
  await page.getByRole("status").filter({ hasText: "The key was revoked" }).waitFor();
  await close(page);
});

await report.step("an export is a file", async () => {
  const page = await open();
  await page.goto(server.url + env + "/events?type=factor.locked");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "csv" }).click()]);
  assert.match(download.suggestedFilename(), /^sandbox-\d+-\d+\.csv$/);
  const text = await readFile(await download.path(), "utf8");
  assert.match(text, /factor\.locked/);
  assert.doesNotMatch(text, /factor\.enrolled/);
  await close(page);
});

await browser.close();
report.end();
