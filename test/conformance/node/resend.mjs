import { WorkOS } from "@workos-inc/node";

const { protocol, hostname, port } = new URL(process.env.COUNTERSIGN_URL); // http://127.0.0.1:4100
const workos = new WorkOS(process.env.COUNTERSIGN_API_KEY, {
  apiHostname: hostname,
  port: port ? Number(port) : undefined,
  https: protocol === "https:",
});
const id = process.argv[2]; // of the challenge

// Read the state of the message.
const { data: challenge } = await workos.get(`/auth/challenges/${id}`);
console.log(`The message is ${challenge.sms.status}.`);

// Send the same code again. This needs 30 seconds since the last message to the number.
const { data: again } = await workos.post(`/auth/challenges/${id}/resend`, {});
console.log(`Sent again; ${again.sms.resends_left} more are possible.`);
