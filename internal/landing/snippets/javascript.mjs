import readline from "node:readline/promises";
import { WorkOS } from "@workos-inc/node";

// Point the library at your server; nothing else changes.
const { protocol, hostname, port } = new URL(process.env.COUNTERSIGN_URL); // http://127.0.0.1:4100
const workos = new WorkOS(process.env.COUNTERSIGN_API_KEY, {
  apiHostname: hostname,
  port: port ? Number(port) : undefined,
  https: protocol === "https:",
});

// Once: enroll. Store factor.id with your user, and show factor.totp.qrCode.
const factor = await workos.multiFactorAuth.enrollFactor({ type: "totp", issuer: "Example", user: "user@example.com" });
console.log(factor.totp.uri);

// At each sign-in: challenge, ask for the code, verify.
const challenge = await workos.multiFactorAuth.challengeFactor({ authenticationFactorId: factor.id });
const terminal = readline.createInterface({ input: process.stdin, output: process.stdout });
const code = await terminal.question("Code: ");
terminal.close();
const { valid } = await workos.multiFactorAuth.verifyChallenge({ authenticationChallengeId: challenge.id, code });
console.log(valid ? "Signed in." : "Wrong code.");
