// A network that fails on demand, between a library and the server.
import http from "node:http";

// A Proxy passes requests on and keeps what went through it. It loses the reply
// to the next request after loseReply, and that request itself after loseRequest:
// the server has acted in the first case, and knows of nothing in the second. The
// caller cannot tell which it was.
export class Proxy {
  #server;
  #upstream;
  #fault = null;
  tries = []; // { method, path, key, lost, status, headers, body }

  static async start(url) {
    const proxy = new Proxy();
    proxy.#upstream = new URL(url);
    proxy.#server = http.createServer((request, reply) => proxy.#serve(request, reply));
    await new Promise((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url() {
    return "http://127.0.0.1:" + this.#server.address().port;
  }

  loseReply() {
    this.tries = [];
    this.#fault = "reply";
  }

  loseRequest() {
    this.tries = [];
    this.#fault = "request";
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request, reply) {
    const body = await read(request);
    const attempt = { method: request.method, path: request.url, key: request.headers["idempotency-key"], lost: this.#fault };
    this.#fault = null;
    this.tries.push(attempt);
    if (attempt.lost === "request") {
      request.socket.destroy();
      return;
    }
    const { hostname, port } = this.#upstream;
    const { host, ...headers } = request.headers;
    const onward = http.request({ hostname, port, method: request.method, path: request.url, headers }, async (answer) => {
      attempt.status = answer.statusCode;
      attempt.headers = answer.rawHeaders; // name, value, name, ... as the server spells them
      attempt.body = await read(answer);
      if (attempt.lost === "reply") {
        request.socket.destroy();
        return;
      }
      reply.writeHead(answer.statusCode, answer.headers).end(attempt.body);
    });
    onward.on("error", () => request.socket.destroy());
    onward.end(body);
  }
}

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
