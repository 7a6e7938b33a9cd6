import { createServer } from "node:http";
import { WorkOS } from "@workos-inc/node";

const { webhooks } = new WorkOS("unused"); // verifying needs no API key

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = await webhooks.constructEvent({
      payload: JSON.parse(Buffer.concat(chunks)),
      sigHeader: request.headers["workos-signature"],
      secret: process.env.SECRET,
    });
    console.log(event.event, event.id); // store the id and the effect
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end();
  }
}).listen(process.env.PORT ?? 3000, "127.0.0.1");
