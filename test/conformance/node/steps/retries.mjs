// Networks fail after the server has acted. A call that is repeated for this reason must
// not act twice.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Skip } from "../report.mjs";
import { codeAt, otherThan } from "../totp.mjs";
import { failureOf, previouslyVerified, tooManyAttempts } from "../fixture.mjs";

export async function retries(fixture) {
  const { mfa, report, generation } = fixture;
  const { network } = fixture.server;
  const workos = fixture.connectFar(fixture.server);
  const far = fixture.mfaAt(workos);

  // lost calls call while the network loses its first reply or request, and returns its
  // result. It checks that the same request went over the wire exactly twice. A library
  // that never tries again must show the failure after one try.
  const lost = async (what, call) => {
    await network.lose(what);
    if (!generation.retries) {
      const error = await failureOf(call);
      assert.equal(error.constructor.name, generation.lostReplyError);
      assert.deepEqual((await network.tries()).map(({ lost }) => lost), [what], "tries");
      throw new Skip("does not try again");
    }
    const result = await call();
    const tries = await network.tries();
    assert.deepEqual(tries.map(({ lost }) => lost), [what, ""], "tries");
    const [first, second] = tries;
    assert.match(first.key, /^retry-[0-9a-f-]{36}$/);
    const answer = what === "reply" ? ["status", "reply_body"] : [];
    for (const same of ["method", "path", "body", "key", ...answer]) {
      assert.equal(second[same], first[same], `${same} of both tries`);
    }
    return result;
  };

  await report.step("lost reply: enroll", async () => {
    const factor = await lost("reply", () => fixture.enrollTOTP(far));
    const challenge = await fixture.challenge(factor);
    assert.equal((await fixture.verify(challenge, codeAt(factor.totp.secret))).valid, true);
    return "tried again with the same key; the same factor, secret and all";
  });

  await report.step("lost reply: enroll for a user", async () => {
    const userId = "user_" + randomUUID();
    const { authenticationFactor, authenticationChallenge } = await lost("reply", () =>
      fixture.enrollForUser({ userId, type: "totp" }, workos),
    );
    report.secrets(authenticationFactor.totp.secret);
    const { data } = await fixture.listOfUser({ userId });
    assert.deepEqual(data.map(({ id }) => id), [authenticationFactor.id], "factors of the user");
    assert.equal((await fixture.verify(authenticationChallenge, codeAt(authenticationFactor.totp.secret))).valid, true);
    return "exactly one factor and one challenge";
  });

  await report.step("lost request: enroll for a user", async () => {
    const userId = "user_" + randomUUID();
    const { authenticationFactor } = await lost("request", () => fixture.enrollForUser({ userId, type: "totp" }, workos));
    report.secrets(authenticationFactor.totp.secret);
    const { data } = await fixture.listOfUser({ userId });
    assert.deepEqual(data.map(({ id }) => id), [authenticationFactor.id], "factors of the user");
    return "exactly one factor";
  });

  await report.step("lost reply: challenge sms", async () => {
    const phone = fixture.phone();
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: phone });
    const challenge = await lost("reply", () => fixture.challenge(factor, {}, far));
    const code = await fixture.codeFor(phone);
    assert.equal((await fixture.verify(challenge, code)).valid, true);
    return "exactly one message";
  });

  await report.step("lost reply: challenge generic_otp", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await lost("reply", () => fixture.challenge(factor, {}, far));
    assert.equal((await fixture.verify(challenge, challenge.code)).valid, true);
    return "the same challenge, with the same code";
  });

  await report.step("lost reply: right code", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await fixture.challenge(factor);
    const { valid } = await lost("reply", () => fixture.verify(challenge, challenge.code, far));
    assert.equal(valid, true);
    await fixture.refused(() => fixture.verify(challenge, challenge.code, far), previouslyVerified(challenge));
    return "valid true both times; a new call: UnprocessableEntityException";
  });

  await report.step("lost reply: wrong code", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await fixture.challenge(factor);
    const wrong = otherThan(challenge.code);
    assert.equal((await lost("reply", () => fixture.verify(challenge, wrong, far))).valid, false);
    for (let attempt = 2; attempt <= 5; attempt++) {
      assert.equal((await fixture.verify(challenge, wrong)).valid, false, `attempt ${attempt}`);
    }
    await fixture.refused(() => fixture.verify(challenge, wrong), tooManyAttempts);
    return "counted once";
  });

  // The library sends no key with DELETE, so a second try finds nothing to delete.
  await report.step("lost reply: delete", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    await network.lose("reply");
    const error = await failureOf(() => far.deleteFactor(factor.id));
    const tries = (await network.tries()).map(({ status, key }) => [status, key]);
    await fixture.refused(() => mfa.getFactor(factor.id), fixture.factorNotFound(factor.id));
    if (!generation.retries) {
      assert.equal(error.constructor.name, generation.lostReplyError);
      assert.deepEqual(tries, [[204, ""]]);
      throw new Skip("does not try again");
    }
    await fixture.refused(() => Promise.reject(error), fixture.factorNotFound(factor.id));
    assert.deepEqual(tries, [[204, ""], [404, ""]]);
    return "deleted; the second try is NotFoundException, as the library sends no key with DELETE";
  });

  await report.step("own idempotency key", async () => {
    const userId = "user_" + randomUUID();
    const idempotencyKey = randomUUID();
    const enroll = (body) => fixture.workos.post("/auth/factors/enroll", { user_id: userId, ...body }, { idempotencyKey });
    const { data: first } = await enroll({ type: "totp" });
    report.secrets(first.totp.secret);
    assert.deepEqual((await enroll({ type: "totp" })).data, first);
    const { data } = await fixture.listOfUser({ userId });
    assert.deepEqual(data.map(({ id }) => id), [first.id], "factors of the user");
    await fixture.refused(() => enroll({ type: "generic_otp" }), {
      class: "UnprocessableEntityException",
      status: 422,
      code: "idempotency_error",
      message: "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown.",
    });
    return "twice the same answer; another body: UnprocessableEntityException idempotency_error";
  });

  await report.step("own idempotency key, eight at once", async () => {
    const userId = "user_" + randomUUID();
    const idempotencyKey = randomUUID();
    const replies = await Promise.all(
      Array.from({ length: 8 }, () =>
        fixture.workos.post("/auth/factors/enroll", { type: "totp", user_id: userId }, { idempotencyKey }),
      ),
    );
    report.secrets(replies[0].data.totp.secret);
    for (const { data } of replies) {
      assert.deepEqual(data, replies[0].data);
    }
    assert.equal((await fixture.listOfUser({ userId })).data.length, 1, "factors of the user");
  });
}
