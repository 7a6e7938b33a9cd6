// Networks fail after the server has acted. A call that is repeated for that must
// not act twice.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Proxy } from "../proxy.mjs";
import { Skip } from "../report.mjs";
import { codeAt, otherThan } from "../totp.mjs";
import { failureOf, previouslyVerified, tooManyAttempts } from "../world.mjs";

export async function retries(world) {
  const { mfa, report, generation } = world;
  const proxy = await Proxy.start(world.server.url);
  const workos = world.connect({ ...world.server, url: proxy.url });
  const far = world.mfaAt(workos);

  // lost runs call while its first reply is lost, and returns its result. The same
  // key and the same answer must have gone over the wire twice. A library that
  // never tries again shows the failure, after one try.
  const lost = async (call) => {
    proxy.loseReply();
    if (!generation.retries) {
      const error = await failureOf(call);
      assert.equal(error.constructor.name, generation.lostReplyError);
      assert.equal(proxy.tries.length, 1, "tries");
      throw new Skip(`this version does not try again: it throws ${generation.lostReplyError}, after one request`);
    }
    const result = await call();
    const [first, second, ...more] = proxy.tries;
    assert.deepEqual(more, []);
    assert.match(first.key, /^retry-[0-9a-f-]{36}$/);
    for (const same of ["method", "path", "key", "status", "body"]) {
      assert.equal(second[same], first[same], `${same} of both tries`);
    }
    return result;
  };

  await report.step("lost reply: enroll", async () => {
    const factor = await lost(() => world.enrollTOTP(far));
    const challenge = await world.challenge(factor);
    assert.equal((await world.verify(challenge, codeAt(factor.totp.secret))).valid, true);
    return "tried again with the same key; the same factor, secret and all";
  });

  await report.step("lost reply: enroll for a user", async () => {
    const userId = "user_" + randomUUID();
    const { authenticationFactor, authenticationChallenge } = await lost(() =>
      world.enrollForUser({ userId, type: "totp" }, workos),
    );
    report.secrets(authenticationFactor.totp.secret);
    const { data } = await world.listOfUser({ userId });
    assert.deepEqual(data.map(({ id }) => id), [authenticationFactor.id], "factors of the user");
    assert.equal((await world.verify(authenticationChallenge, codeAt(authenticationFactor.totp.secret))).valid, true);
    return "exactly one factor and one challenge";
  });

  await report.step("lost request: enroll for a user", async () => {
    if (!generation.retries) {
      throw new Skip("this version does not try again");
    }
    const userId = "user_" + randomUUID();
    proxy.loseRequest();
    const { authenticationFactor } = await world.enrollForUser({ userId, type: "totp" }, workos);
    report.secrets(authenticationFactor.totp.secret);
    assert.equal(proxy.tries.length, 2, "tries");
    const { data } = await world.listOfUser({ userId });
    assert.deepEqual(data.map(({ id }) => id), [authenticationFactor.id], "factors of the user");
  });

  await report.step("lost reply: challenge sms", async () => {
    const phone = world.phone();
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: phone });
    const challenge = await lost(() => world.challenge(factor, {}, far));
    const code = await world.codeFor(phone);
    assert.equal((await world.verify(challenge, code)).valid, true);
    return "exactly one message";
  });

  await report.step("lost reply: challenge generic_otp", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await lost(() => world.challenge(factor, {}, far));
    assert.equal((await world.verify(challenge, challenge.code)).valid, true);
    return "the same challenge, with the same code";
  });

  await report.step("lost reply: right code", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await world.challenge(factor);
    const { valid } = await lost(() => world.verify(challenge, challenge.code, far));
    assert.equal(valid, true);
    await world.refused(() => world.verify(challenge, challenge.code, far), previouslyVerified(challenge));
    return "valid true both times; a new call: UnprocessableEntityException";
  });

  await report.step("lost reply: wrong code", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await world.challenge(factor);
    const wrong = otherThan(challenge.code);
    assert.equal((await lost(() => world.verify(challenge, wrong, far))).valid, false);
    for (let attempt = 2; attempt <= 5; attempt++) {
      assert.equal((await world.verify(challenge, wrong)).valid, false, `attempt ${attempt}`);
    }
    await world.refused(() => world.verify(challenge, wrong), tooManyAttempts);
    return "counted once";
  });

  await report.step("lost reply: delete", async () => {
    if (!generation.retries) {
      throw new Skip("this version does not try again");
    }
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    proxy.loseReply();
    await world.refused(() => far.deleteFactor(factor.id), world.factorNotFound(factor.id));
    assert.deepEqual(proxy.tries.map(({ status, key }) => [status, key]), [[204, undefined], [404, undefined]]);
    await world.refused(() => mfa.getFactor(factor.id), world.factorNotFound(factor.id));
    return "deleted; the second try is NotFoundException, as the library sends no key with DELETE";
  });

  await report.step("own idempotency key", async () => {
    const userId = "user_" + randomUUID();
    const idempotencyKey = randomUUID();
    const enroll = (body) => world.workos.post("/auth/factors/enroll", { user_id: userId, ...body }, { idempotencyKey });
    const { data: first } = await enroll({ type: "totp" });
    report.secrets(first.totp.secret);
    assert.deepEqual((await enroll({ type: "totp" })).data, first);
    const { data } = await world.listOfUser({ userId });
    assert.deepEqual(data.map(({ id }) => id), [first.id], "factors of the user");
    await world.refused(() => enroll({ type: "generic_otp" }), {
      class: "UnprocessableEntityException",
      status: 422,
      code: "idempotency_error",
      message: "This Idempotency-Key was used before, with a different request or for a factor that was deleted.",
    });
    return "twice the same answer; another body: UnprocessableEntityException idempotency_error";
  });

  await report.step("own idempotency key, eight at once", async () => {
    const userId = "user_" + randomUUID();
    const idempotencyKey = randomUUID();
    const replies = await Promise.all(
      Array.from({ length: 8 }, () =>
        world.workos.post("/auth/factors/enroll", { type: "totp", user_id: userId }, { idempotencyKey }),
      ),
    );
    report.secrets(replies[0].data.totp.secret);
    for (const { data } of replies) {
      assert.deepEqual(data, replies[0].data);
    }
    assert.equal((await world.listOfUser({ userId })).data.length, 1, "factors of the user");
  });

  proxy.close();
}
