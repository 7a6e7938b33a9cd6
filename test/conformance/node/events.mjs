// Lists events and verifies a delivery with one generation of the library, and prints the
// result of each step (see report.mjs):
//
//   node events.mjs workos-oldest | workos-7 | workos-8 | workos-10 | workos-newest
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server, and COUNTERSIGN_PLAN is a plan
// of ../events_test.go, which also has the expected results.
import assert from "node:assert/strict";
import { load } from "./libraries.mjs";
import { Report, Skip } from "./report.mjs";
import { failureOf } from "./fixture.mjs";

const generation = await load(process.argv[2]);
const report = new Report(generation.library, generation.version);
const plan = JSON.parse(process.env.COUNTERSIGN_PLAN);
const { protocol, hostname, port } = new URL(process.env.COUNTERSIGN_URL);
const workos = new generation.exports.WorkOS(process.env.COUNTERSIGN_API_KEY, {
  apiHostname: hostname,
  port: Number(port),
  https: protocol === "https:",
});

const list = (options) => workos.events.listEvents({ events: plan.types, ...options });

function idsOf(page) {
  if (!generation.knowsEvents) {
    assert.ok(page.data.every((event) => event === undefined));
    throw new Skip(unknown);
  }
  return page.data.map((event) => event.id);
}

const unknown = "has `undefined` in the place of each event: it does not know the events of MFA";

await report.step("list events", async () => {
  return { ids: idsOf(await list({ limit: 100 })) };
});

await report.step("list events page by page", async () => {
  const ids = [];
  let page = await list({ limit: 2 });
  for (;;) {
    assert.ok(page.data.length <= 2);
    ids.push(...idsOf(page));
    const { after } = page.listMetadata;
    if (!after) {
      break;
    }
    page = await list({ limit: 2, after });
  }
  return { ids };
});

await report.step("list events in a range", async () => {
  return { ids: idsOf(await list({ limit: 100, rangeStart: plan.range_start, rangeEnd: plan.range_end })) };
});

await report.step("list events after an event", async () => {
  return { ids: idsOf(await list({ limit: 100, after: plan.after })) };
});

await report.step("list events of an unknown type", async () => {
  const error = await failureOf(() => workos.events.listEvents({ events: [plan.unknown] }));
  assert.ok(error instanceof generation.exports.UnprocessableEntityException, "thrown by the library: " + error);
  assert.match(error.message, /events_unknown_type/);
});

await report.step("verify a delivery", async () => {
  const { body, signature, secret } = plan.delivery;
  const accept = (payload) => workos.webhooks.constructEvent({ payload, sigHeader: signature, secret });
  const event = await accept(generation.verifiesBytes ? body : JSON.parse(body));
  if (!generation.knowsEvents) {
    assert.equal(event, undefined);
    throw new Skip(unknown);
  }
  const altered = body.replace("succeeded", "failed");
  const error = await failureOf(() => accept(generation.verifiesBytes ? altered : JSON.parse(altered)));
  assert.ok(error instanceof generation.exports.SignatureVerificationException, "thrown by the library: " + error);
  return { ids: [event.id], detail: event.data.userId };
});
report.end();
