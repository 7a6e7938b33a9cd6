// Uses the API explorer of countersign dev in a real browser and prints the result of each
// step (see report.mjs). COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server. If
// COUNTERSIGN_SCREENSHOTS names a directory, screenshots are saved there.
import assert from "node:assert/strict";
import { join } from "node:path";
import { accessible, browser, close, fits, open, themes, widths } from "./pages.mjs";
import { Report } from "./report.mjs";

const url = process.env.COUNTERSIGN_URL;
const key = process.env.COUNTERSIGN_API_KEY;
const screenshots = process.env.COUNTERSIGN_SCREENSHOTS;
const report = new Report("explorer", browser.version());

// request opens a request of the page and returns its elements.
async function request(page, id) {
  const operation = page.locator("#" + id);
  await operation.locator("summary").click();
  const send = async () => {
    await operation.locator(".send").click();
    const status = operation.locator(".status", { hasText: /^\d|^No reply/ });
    await status.waitFor();
    await operation.locator(".send:enabled").waitFor();
    return { status: await status.textContent(), text: await operation.locator(".content").textContent() };
  };
  return { operation, send };
}

for (const theme of themes) {
  for (const width of widths) {
    await report.step(`the page at ${width} px, ${theme}`, async () => {
      const page = await open(url, { viewport: { width, height: 900 }, colorScheme: theme });
      await page.goto(url + "/dev/explorer");
      const enroll = await request(page, "enrollFactor");
      await enroll.operation.getByLabel("Example").selectOption({ label: "A code that you deliver" });
      await enroll.send();
      if (screenshots) {
        await page.screenshot({ path: join(screenshots, `explorer-${width}-${theme}.png`) });
      }
      await page.locator("details").evaluateAll((all) => all.forEach((element) => (element.open = true)));
      await fits(page);
      await accessible(page);
      await close(page);
    });
  }
}

await report.step("ids of replies lead from an enrollment to a verification", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer");
  const enroll = await request(page, "enrollFactor");
  await enroll.operation.getByLabel("Example").selectOption({ label: "A code that you deliver" });
  assert.match((await enroll.send()).status, /^201 /);
  const challenge = await request(page, "challengeFactor");
  const issued = JSON.parse((await challenge.send()).text);
  const verify = await request(page, "verifyChallenge");
  await verify.operation.locator("textarea").fill(JSON.stringify({ code: issued.code }));
  assert.match(await verify.operation.locator(".curl").textContent(), new RegExp(`/auth/challenges/${issued.id}/verify' `));
  assert.equal(JSON.parse((await verify.send()).text).valid, true);
  await close(page);
});

await report.step("an error shows its status and its code", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer");
  const factor = await request(page, "getFactor");
  await factor.operation.locator("input").fill("auth_factor_unknown");
  const { status, text } = await factor.send();
  assert.match(status, /^404 /);
  assert.equal(JSON.parse(text).code, "entity_not_found");
  page.faults = page.faults.filter((fault) => !fault.includes("404"));
  await close(page);
});

await report.step("an empty id is asked for", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer");
  const factor = await request(page, "getFactor");
  await factor.operation.locator(".send").click();
  assert.equal(await factor.operation.locator("input:invalid").count(), 1);
  assert.equal(await factor.operation.locator(".reply").isVisible(), false);
  await close(page);
});

await report.step("a stream shows events until it is stopped", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer");
  const { operation } = await request(page, "streamEvents");
  await operation.locator(".send").click();
  await operation.locator(".status", { hasText: /^200/ }).waitFor();
  const enroll = await request(page, "enrollFactor");
  const factor = JSON.parse((await enroll.send()).text);
  await operation.locator(".content", { hasText: factor.id }).waitFor();
  await operation.locator(".stop").click();
  await operation.locator(".send:enabled").waitFor();
  await close(page);
});

await report.step("the search hides other requests", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer");
  await page.getByLabel("Find a request").fill("post verify");
  const shown = await page.locator(".operation:visible .path").allTextContents();
  assert.ok(shown.length >= 3 && shown.every((path) => path.includes("verify")), shown.join(" "));
  await close(page);
});

await report.step("a link to a request opens it", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer#listEvents");
  await page.locator("#listEvents[open]").waitFor();
  await close(page);
});

await report.step("commands name the key only as a variable", async () => {
  const page = await open(url);
  await page.goto(url + "/dev/explorer");
  assert.equal(await page.getByLabel("API key").inputValue(), key);
  assert.ok((await page.locator(".curl").allTextContents()).every((text) => text.startsWith("curl ") && !text.includes(key)));
  await close(page);
});

await report.step("without scripts there are commands, and nothing that cannot work", async () => {
  const page = await open(url, { javaScriptEnabled: false });
  await page.goto(url + "/dev/explorer");
  assert.equal(await page.locator("button:visible, input:visible").count(), 0);
  await page.locator("#enrollFactor summary").click();
  assert.match(await page.locator("#enrollFactor .curl").textContent(), /^curl -X POST /);
  await fits(page);
  await close(page);
});

await browser.close();
report.end();
