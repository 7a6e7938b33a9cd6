// Runs the complete life of factors against a server with one generation of the
// library, and prints the result of each step (see report.mjs):
//
//   node life.mjs workos-oldest | workos-7 | workos-8 | workos-10 | workos-newest
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server, and COUNTERSIGN_NETWORK_URL
// the network in front of it, which loses messages on request. COUNTERSIGN_BRIEF_URL,
// COUNTERSIGN_BRIEF_API_KEY and COUNTERSIGN_BRIEF_NETWORK_URL name a second server, for
// the steps about time: it runs with --challenge-ttl 50ms and --sms-spacing 1s.
import { load } from "./libraries.mjs";
import { Network } from "./network.mjs";
import { Report } from "./report.mjs";
import { Fixture } from "./fixture.mjs";
import { factors } from "./steps/factors.mjs";
import { challenges } from "./steps/challenges.mjs";
import { refusals } from "./steps/refusals.mjs";
import { users } from "./steps/users.mjs";
import { retries } from "./steps/retries.mjs";
import { time } from "./steps/time.mjs";
import { webhooks } from "./steps/webhooks.mjs";

function fromEnvironment(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set; see README.md`);
  }
  return value;
}

const generation = await load(process.argv[2]);
const report = new Report(generation.library, generation.version);
const serverOf = (prefix) => ({
  url: fromEnvironment(prefix + "_URL"),
  key: fromEnvironment(prefix + "_API_KEY"),
  network: new Network(fromEnvironment(prefix + "_NETWORK_URL"), report),
});
const fixture = new Fixture(generation, report, serverOf("COUNTERSIGN"), serverOf("COUNTERSIGN_BRIEF"));
for (const chapter of [factors, challenges, refusals, users, retries, time, webhooks]) {
  await chapter(fixture);
}
report.end();
