// Drives a server through the whole life of factors with one generation of the
// library, and prints the outcome of each step (see report.mjs):
//
//   node life.mjs workos-oldest | workos-7 | workos-newest
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server. COUNTERSIGN_BRIEF_URL and
// COUNTERSIGN_BRIEF_API_KEY name a second one, for what has to do with time: it runs
// with --challenge-ttl 50ms and --sms-spacing 1s.
import { load } from "./libraries.mjs";
import { Report } from "./report.mjs";
import { World } from "./world.mjs";
import { factors } from "./steps/factors.mjs";
import { challenges } from "./steps/challenges.mjs";
import { refusals } from "./steps/refusals.mjs";
import { users } from "./steps/users.mjs";
import { retries } from "./steps/retries.mjs";
import { time } from "./steps/time.mjs";

function fromEnvironment(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set; see README.md`);
  }
  return value;
}

const generation = await load(process.argv[2]);
const report = new Report(generation.library, generation.version);
const world = new World(
  generation,
  report,
  { url: fromEnvironment("COUNTERSIGN_URL"), key: fromEnvironment("COUNTERSIGN_API_KEY") },
  { url: fromEnvironment("COUNTERSIGN_BRIEF_URL"), key: fromEnvironment("COUNTERSIGN_BRIEF_API_KEY") },
);
for (const chapter of [factors, challenges, refusals, users, retries, time]) {
  await chapter(world);
}
report.end();
