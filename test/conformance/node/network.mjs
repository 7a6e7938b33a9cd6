// The network between a library and a server, which fails on demand. It is part of
// the Go tests; ../network_test.go says what it understands.
import assert from "node:assert/strict";

export class Network {
  #report;

  constructor(url, report) {
    this.url = url;
    this.#report = report;
  }

  // lose makes it lose the "request" that comes next, or the "reply" to it: the
  // server knows of nothing in the first case, and has acted in the second. The
  // caller cannot tell which it was.
  lose(what) {
    return this.#ask("POST", `lose-${what}`);
  }

  // tries returns what was sent since the last loss, each with what became of it.
  async tries() {
    const tries = await this.#ask("GET", "tries");
    for (const { reply_body: body } of tries) {
      for (const [, secret] of body.matchAll(/"(?:secret|code)":"([A-Z2-7]{26,}|\d{6})"/g)) {
        this.#report.secrets(secret);
      }
    }
    return tries;
  }

  // delivery returns a webhook that was signed just now.
  async delivery() {
    const delivery = await this.#ask("GET", "webhook");
    this.#report.secrets(delivery.secret);
    return delivery;
  }

  async #ask(method, what) {
    const reply = await fetch(`${this.url}/-/${what}`, { method });
    assert.equal(reply.status, 200, `status of /-/${what}`);
    return reply.json();
  }
}
