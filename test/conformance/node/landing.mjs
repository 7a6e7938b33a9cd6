// Opens the first page of countersign dev in a real browser and prints the result of each
// step (see report.mjs). COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server. If
// COUNTERSIGN_SCREENSHOTS names a directory, screenshots are saved there; if COUNTERSIGN_PICTURES
// names one, those of the documents.
import assert from "node:assert/strict";
import { join } from "node:path";
import { accessible, browser, close, fits, open, themes, widths } from "./pages.mjs";
import { Report } from "./report.mjs";

const url = process.env.COUNTERSIGN_URL;
const key = process.env.COUNTERSIGN_API_KEY;
const screenshots = process.env.COUNTERSIGN_SCREENSHOTS;
const report = new Report("landing", browser.version());

for (const theme of themes) {
  for (const width of widths) {
    await report.step(`the page at ${width} px, ${theme}`, async () => {
      const page = await open(url, { viewport: { width, height: 900 }, colorScheme: theme });
      await page.goto(url + "/");
      if (screenshots) {
        await page.screenshot({ path: join(screenshots, `landing-${width}-${theme}.png`), fullPage: true });
      }
      const all = await page.locator("details").all();
      assert.equal(all.length, 8);
      for (const details of all) {
        await details.evaluate((element) => {
          element.removeAttribute("name"); // or else opening one closes the others
          element.open = true;
        });
      }
      await fits(page);
      await accessible(page);
      await close(page);
    });
  }
}

await report.step("the address and the key are those of the server", async () => {
  const page = await open(url);
  await page.goto(url + "/");
  const facts = await page.locator(".facts dd").allTextContents();
  assert.equal(facts[0], url);
  assert.equal(facts[2], key);
  await close(page);
});

await report.step("a button copies", async () => {
  const page = await open(url);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto(url + "/");
  await page.getByRole("button", { name: "Copy the commands that set the variables" }).click();
  await page.locator("#announce", { hasText: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `export COUNTERSIGN_URL=${url}\nexport COUNTERSIGN_API_KEY=${key}`);
  await close(page);
});

await report.step("one language is open at a time", async () => {
  const page = await open(url);
  await page.goto(url + "/");
  await page.getByText("Python", { exact: true }).click();
  assert.deepEqual(await page.locator("details[open] > summary").allTextContents(), ["Python"]);
  await close(page);
});

await report.step("without scripts there are no buttons", async () => {
  const page = await open(url, { javaScriptEnabled: false });
  await page.goto(url + "/");
  assert.equal(await page.locator("button:visible").count(), 0);
  await page.getByText("Go", { exact: true }).click();
  await page.getByRole("region", { name: "Program in Go", exact: true }).waitFor();
  await close(page);
});

await report.step("the links lead to pages of the server", async () => {
  const page = await open(url);
  await page.goto(url + "/");
  for (const path of await page.locator("nav a").evaluateAll((links) => links.map((link) => link.pathname))) {
    assert.equal((await fetch(url + path, { headers: { Accept: "text/html" } })).status, 200, path);
  }
  await close(page);
});

await report.step("the inbox has the message of a challenge", async () => {
  const headers = { Authorization: "Bearer " + key, "Content-Type": "application/json" };
  const call = async (path, body) => (await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  for (const phone_number of ["+15005550006", "+16073517112"]) {
    const factor = await call("/auth/factors/enroll", { type: "sms", phone_number });
    await call(`/auth/factors/${factor.id}/challenge`, { sms_template: "{{code}} is your Example code." });
  }
  const page = await open(url, { viewport: { width: 720, height: 520 } });
  await page.goto(url + "/dev/inbox");
  assert.match(await page.locator(".message .text").first().textContent(), /^\d{6} is your Example code\.$/);
  if (process.env.COUNTERSIGN_PICTURES) {
    await page.screenshot({ path: join(process.env.COUNTERSIGN_PICTURES, "inbox.png") });
  }
  await close(page);
});

await browser.close();
report.end();
