// Verifies a delivery with the library standardwebhooks, and prints the result as report.mjs
// does. COUNTERSIGN_PLAN is a plan of ../events_test.go.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { Report } from "./report.mjs";

const description = await readFile(new URL("node_modules/standardwebhooks/package.json", import.meta.url), "utf8");
const report = new Report("standardwebhooks", JSON.parse(description).version);
const { body, secret, headers } = JSON.parse(process.env.COUNTERSIGN_PLAN).delivery;

await report.step("verify a delivery", async () => {
  const webhook = new Webhook(secret);
  const event = webhook.verify(body, headers);
  assert.equal(headers["webhook-id"], event.id);
  assert.throws(() => webhook.verify(body.replace("succeeded", "failed"), headers), WebhookVerificationError);
  assert.throws(() => webhook.verify(body, { ...headers, "webhook-id": "another" }), WebhookVerificationError);
  return { ids: [event.id], detail: event.data.user_id };
});
report.end();
