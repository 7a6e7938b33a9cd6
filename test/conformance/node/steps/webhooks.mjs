// The library checks the signature of a webhook before its user reads the body.
import assert from "node:assert/strict";
import { Skip } from "../report.mjs";
import { failureOf } from "../fixture.mjs";

export async function webhooks(fixture) {
  const { workos, report, generation } = fixture;

  await report.step("webhook signature", async () => {
    const { body, secret, signature, stale, forged } = await fixture.server.network.delivery();
    const parsed = JSON.parse(body);
    const accept = (payload, sigHeader, options = {}) => workos.webhooks.constructEvent({ payload, sigHeader, secret, ...options });

    const bytes = [body, Buffer.from(body)];
    for (const payload of generation.verifiesBytes ? [parsed, ...bytes] : [parsed]) {
      const event = await accept(payload, signature);
      if (generation.knowsEvents) {
        isEvent(event, parsed);
      } else {
        assert.equal(event, undefined, "the event, which this library does not know");
      }
      const quiet = await accept(payload, stale, { tolerance: 900_000 });
      assert.deepEqual(quiet, event, "the stale delivery is right except for its time");
    }

    const altered = { ...parsed, data: { ...parsed.data, email: "other@example.com" } };
    const alteredBytes = [JSON.stringify(altered), Buffer.from(JSON.stringify(altered))];
    for (const [payload, sigHeader, message] of [
      [altered, signature, /does not match/],
      [parsed, forged, /does not match/],
      [parsed, stale, /outside the tolerance zone/],
      ...alteredBytes.map((payload) => [payload, signature, /does not match/]),
      ...(generation.verifiesBytes ? [] : bytes.map((payload) => [payload, signature, /does not match/])),
    ]) {
      const error = await failureOf(() => accept(payload, sigHeader));
      assert.ok(error instanceof generation.exports.SignatureVerificationException, "thrown by the library: " + error);
      assert.match(error.message, message);
    }

    if (!generation.knowsEvents) {
      throw new Skip("verifies the signature, but does not know the events of MFA");
    }
    return generation.verifiesBytes
      ? "of the body as text, as bytes or parsed; SignatureVerificationException otherwise"
      : "of only the parsed body; SignatureVerificationException otherwise";
  });
}

// isEvent checks that an event contains everything that was delivered.
function isEvent(event, sent) {
  const { id, event: name, createdAt, data, ...rest } = event;
  assert.deepEqual({ id, name, createdAt }, { id: sent.id, name: sent.event, createdAt: sent.created_at });
  assert.deepEqual(rest, { context: undefined });
  const { type, status, ip_address: ipAddress, user_agent: userAgent, user_id: userId, email } = sent.data;
  const { error, ...said } = data;
  assert.equal(error, undefined);
  assert.deepEqual(said, { type, status, ipAddress, userAgent, userId, email });
}
