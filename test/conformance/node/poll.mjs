import { WorkOS } from "@workos-inc/node";

const { protocol, hostname, port } = new URL(process.env.COUNTERSIGN_URL); // http://127.0.0.1:4100
const workos = new WorkOS(process.env.COUNTERSIGN_API_KEY, {
  apiHostname: hostname,
  port: port ? Number(port) : undefined,
  https: protocol === "https:",
});

let after = process.argv[2]; // the id of the last event that was processed; undefined: from the beginning
for (;;) {
  const page = await workos.events.listEvents({
    events: ["authentication.mfa_succeeded", "authentication.mfa_failed"],
    after,
    limit: 100,
  });
  for (const event of page.data) {
    console.log(event.id, event.event, event.data.userId);
    after = event.id; // store it with what you did
  }
  if (!page.listMetadata.after) {
    break; // nothing follows now; ask again later
  }
  after = page.listMetadata.after;
}
