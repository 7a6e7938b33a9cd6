// Makes the calls that it reads, one per line, with one generation of the library;
// ../kinds_test.go documents the form:
//
//   node calls.mjs workos-oldest | workos-7 | workos-8 | workos-10 | workos-newest
import { createInterface } from "node:readline";
import { load } from "./libraries.mjs";

const generation = await load(process.argv[2]);
const { protocol, hostname, port } = new URL(process.env.COUNTERSIGN_URL);
const workos = new generation.exports.WorkOS(process.env.COUNTERSIGN_API_KEY, {
  apiHostname: hostname,
  port: Number(port),
  https: protocol === "https:",
});
const mfa = generation.mfa(workos);

const calls = {
  enroll: (type) => mfa.enrollFactor({ type }),
  challenge: (id) => mfa.challengeFactor({ authenticationFactorId: id }),
  verify: (id, code) => mfa.verifyChallenge({ authenticationChallengeId: id, code }),
  post: async (path, body) => (await workos.post(path, body)).data,
};

const print = (line) => console.log(JSON.stringify(line));
print({ version: generation.version });
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  try {
    print({ value: await calls[name](...args) });
  } catch (error) {
    print({ error: String(error) });
  }
}
