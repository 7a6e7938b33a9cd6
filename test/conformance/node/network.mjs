// The network between a library and a server, which fails on request. It is part of the
// Go tests; ../network_test.go documents its commands.
import assert from "node:assert/strict";

export class Network {
  #report;

  constructor(url, report) {
    this.url = url;
    this.#report = report;
  }

  // lose makes the network lose the next "request", or the "reply" to it. In the first
  // case the server receives nothing; in the second it has acted. The caller cannot
  // distinguish the two cases.
  lose(what) {
    return this.#ask("POST", `lose-${what}`);
  }

  // tries returns the requests since the last call of lose, each with its outcome.
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
