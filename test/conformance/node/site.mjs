// Opens pages of the site of the documents in a real browser and prints the result of each
// step (see report.mjs). COUNTERSIGN_URL is where the site is served. If
// COUNTERSIGN_SCREENSHOTS names a directory, screenshots are saved there.
import assert from "node:assert/strict";
import { join } from "node:path";
import { accessible, browser, close, fits, open, themes } from "./pages.mjs";
import { Report } from "./report.mjs";

const url = process.env.COUNTERSIGN_URL;
const screenshots = process.env.COUNTERSIGN_SCREENSHOTS;
const report = new Report("site", browser.version());

const kinds = {
  home: "/", guide: "/docs/integrating.html", table: "/docs/clients.html", settings: "/docs/operating.html", errors: "/docs/errors.html",
  pictures: "/docs/console.html", reference: "/reference/", operation: "/reference/enrollFactor.html", changes: "/CHANGELOG.html",
};

for (const theme of themes) {
  for (const width of [320, 1280]) {
    await report.step(`pages at ${width} px, ${theme}`, async () => {
      const page = await open(url, { viewport: { width, height: 900 }, colorScheme: theme });
      for (const [name, path] of Object.entries(kinds)) {
        const reply = await page.goto(url + path);
        assert.equal(reply.status(), 200, path);
        await page.waitForLoadState("networkidle");
        assert.equal(await page.evaluate(() => document.documentElement.classList.contains("dark")), theme === "dark");
        if (screenshots) {
          await page.screenshot({ path: join(screenshots, `site-${name}-${width}-${theme}.png`) });
        }
        await fits(page);
        await accessible(page);
      }
      await close(page);
    });
  }
}

await report.step("the search finds a setting", async () => {
  const page = await open(url);
  await page.goto(url + "/docs/integrating.html");
  await page.waitForLoadState("networkidle");
  await page.keyboard.press("/");
  await page.locator("#localsearch-input").fill("sms_spacing");
  const found = page.locator("#localsearch-list a", { hasText: "Settings" }).or(page.locator("#localsearch-list a[href*='/docs/operating']"));
  await found.first().waitFor();
  if (screenshots) {
    await page.screenshot({ path: join(screenshots, "site-search.png") });
  }
  await found.first().click();
  await page.waitForURL(/\/docs\/operating/);
  await close(page);
});

await report.step("an unknown path is a page of the site", async () => {
  const page = await open(url);
  await page.goto(url + "/404.html");
  await page.getByText("PAGE NOT FOUND").waitFor();
  await close(page);
});

await browser.close();
report.end();
