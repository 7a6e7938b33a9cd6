// The environment of the steps: one library, connected to one server.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export class Fixture {
  #nextPhone = 0;

  // server and brief are { url, key, network } of two servers. At brief, challenges
  // expire at once, and one number may receive a message every second.
  constructor(generation, report, server, brief) {
    this.generation = generation;
    this.report = report;
    this.server = server;
    this.brief = brief;
    this.workos = this.connect(server);
    this.mfa = generation.mfa(this.workos);
  }

  // connect makes a client the way a user of the library does.
  connect(server, options = {}) {
    const { protocol, hostname, port } = new URL(server.url);
    return new this.generation.exports.WorkOS(server.key, {
      apiHostname: hostname,
      port: Number(port),
      https: protocol === "https:",
      ...options,
    });
  }

  // connectFar makes a client that reaches the server through its network.
  connectFar(server) {
    return this.connect({ ...server, url: server.network.url });
  }

  // mfaAt returns the part of the library for factors, of another client.
  mfaAt(workos) {
    return this.generation.mfa(workos);
  }

  enrollForUser(options, workos = this.workos) {
    return this.generation.enrollForUser(workos, options);
  }

  listOfUser(options, workos = this.workos) {
    return this.generation.listOfUser(workos, options);
  }

  // phone returns a fictional number that has not received a message yet. A number
  // receives one message in 30 seconds, so every message needs a new number.
  phone() {
    const number = "+12025550" + (100 + this.#nextPhone++);
    this.report.secrets(number);
    return number;
  }

  // enrollTOTP returns a new factor whose codes the steps can compute.
  async enrollTOTP(mfa = this.mfa) {
    const factor = await mfa.enrollFactor({ type: "totp", issuer: "Foo Corp", user: "user@example.com" });
    this.report.secrets(factor.totp.secret);
    return factor;
  }

  // challenge returns a new challenge of a factor, with its code if it shows one.
  async challenge(factor, options = {}, mfa = this.mfa) {
    const challenge = await mfa.challengeFactor({ authenticationFactorId: factor.id, ...options });
    if (challenge.code) {
      this.report.secrets(challenge.code);
    }
    return challenge;
  }

  verify(challenge, code, mfa = this.mfa) {
    return mfa.verifyChallenge({ authenticationChallengeId: challenge.id, code });
  }

  // messages returns the inbox for a number, newest first.
  async messages(to, server = this.server) {
    const reply = await fetch(`${server.url}/dev/inbox?to=${encodeURIComponent(to)}`, {
      headers: { Accept: "application/json" },
    });
    assert.equal(reply.status, 200, "status of the inbox");
    const { messages } = await reply.json();
    this.report.secrets(...messages.map((message) => message.code));
    return messages;
  }

  // codeFor returns the code of the only message to a number.
  async codeFor(to) {
    const messages = await this.messages(to);
    assert.equal(messages.length, 1, "messages to one number");
    assert.match(messages[0].code, /^\d{6}$/);
    return messages[0].code;
  }

  // refused checks that a call fails with an error of the library's own class
  // want.class, and that the error contains the values of want. It returns the error.
  async refused(call, want) {
    const error = await failureOf(call);
    const known = this.generation.exports[want.class];
    if (known === undefined || !(error instanceof known) || error.constructor !== known) {
      throw new Error(`the library threw ${error?.constructor?.name}; want ${want.class}`, { cause: error });
    }
    const { class: name, ...fields } = want;
    assert.equal(error.name, name);
    for (const [field, value] of Object.entries(fields)) {
      if (value instanceof RegExp) {
        assert.match(error[field], value, field);
      } else {
        assert.deepEqual(error[field], value, field);
      }
    }
    if (this.generation.readsRequestID) {
      assert.match(error.requestID, uuid, "requestID");
    } else {
      assert.equal(error.requestID, "", "requestID, which this library fails to read");
    }
    return error;
  }

  factorNotFound(id) {
    return notFound(id, "Authentication Factor");
  }

  challengeNotFound(id) {
    return notFound(id, "Authentication Challenge");
  }
}

function notFound(id, what) {
  return { class: "NotFoundException", status: 404, code: "entity_not_found", message: `${what} not found: '${id}'.` };
}

// tooManyAttempts returns the error by which the library shows an answer of 400 that has
// a code but no list of errors.
export const tooManyAttempts = {
  class: "GenericServerException",
  status: 400,
  message: "Request could not be processed.",
  rawData: { code: "one_time_code_too_many_attempts", message: "Request could not be processed." },
};

export function previouslyVerified(challenge) {
  return {
    class: "UnprocessableEntityException",
    status: 422,
    code: "authentication_challenge_previously_verified",
    message: `The authentication challenge '${challenge.id}' has already been verified.`,
  };
}

// failureOf returns the error that a call throws.
export async function failureOf(call) {
  let result;
  try {
    result = await call();
  } catch (error) {
    return error;
  }
  throw new Error("the call succeeded, with " + JSON.stringify(result));
}

// until waits for a time. The server uses the clock of the same machine.
export async function until(time) {
  while (Date.now() <= time) {
    await sleep(time - Date.now() + 1);
  }
}
