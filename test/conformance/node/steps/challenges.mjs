// Challenge and verify.
import assert from "node:assert/strict";
import { Skip } from "../report.mjs";
import { codeAt, otherThan, wrongFor } from "../totp.mjs";
import { previouslyVerified, tooManyAttempts } from "../fixture.mjs";

const challengeID = /^auth_challenge_[0-9A-HJKMNP-TV-Z]{26}$/;
const tenMinutes = 600_000; // ms

export async function challenges(fixture) {
  const { mfa, report, generation } = fixture;

  await report.step("challenge totp", async () => {
    const factor = await fixture.enrollTOTP();
    isChallenge(await fixture.challenge(factor), factor);
    return "no code; expires in ten minutes";
  });

  await report.step("challenge sms", async () => {
    const phone = fixture.phone();
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: phone });
    isChallenge(await fixture.challenge(factor), factor);
    const code = await fixture.codeFor(phone);
    const [message] = await fixture.messages(phone);
    assert.deepEqual({ ...message, sent_at: "" }, { to: phone, text: `Your verification code is: ${code}`, code, sent_at: "" });
    return "the code goes only to the phone";
  });

  await report.step("challenge sms with a template", async () => {
    const phone = fixture.phone();
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: phone });
    await fixture.challenge(factor, { smsTemplate: "<b>Förde & Søn</b>: {{code}} 🔑" });
    const [{ text, code }] = await fixture.messages(phone);
    assert.equal(text, `<b>Förde & Søn</b>: ${code} 🔑`);
  });

  await report.step("challenge sms with an empty template", async () => {
    const phone = fixture.phone();
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: phone });
    await fixture.challenge(factor, { smsTemplate: "" });
    assert.match((await fixture.messages(phone))[0].text, /^Your verification code is: \d{6}$/);
    return "means the default text";
  });

  await report.step("challenge generic_otp", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await fixture.challenge(factor);
    assert.match(challenge.code, /^\d{6}$/);
    isChallenge(challenge, factor, challenge.code);
    return "with its code, for the caller to deliver";
  });

  // For each type: a factor with an open challenge, a wrong code and the right one.
  const open = {
    async totp() {
      const factor = await fixture.enrollTOTP();
      const challenge = await fixture.challenge(factor);
      return { challenge, wrong: wrongFor(factor.totp.secret), right: () => codeAt(factor.totp.secret) };
    },
    async sms() {
      const phone = fixture.phone();
      const challenge = await fixture.challenge(await mfa.enrollFactor({ type: "sms", phoneNumber: phone }));
      const code = await fixture.codeFor(phone);
      return { challenge, wrong: otherThan(code), right: () => code };
    },
    async generic_otp() {
      const challenge = await fixture.challenge(await mfa.enrollFactor({ type: "generic_otp" }));
      return { challenge, wrong: otherThan(challenge.code), right: () => challenge.code };
    },
  };

  for (const [type, start] of Object.entries(open)) {
    await report.step(`verify ${type}`, async () => {
      const { challenge, wrong, right } = await start();
      for (const code of [wrong, "", "12345", "abcdef"]) {
        answers(await fixture.verify(challenge, code), challenge, false);
      }
      answers(await fixture.verify(challenge, right()), challenge, true);
      for (const code of [right(), wrong]) {
        await fixture.refused(() => fixture.verify(challenge, code), previouslyVerified(challenge));
      }
      return "wrong: valid false; right: valid true; again: UnprocessableEntityException authentication_challenge_previously_verified";
    });
  }

  await report.step("verify a code with spaces", async () => {
    const { challenge, right } = await open.generic_otp();
    answers(await fixture.verify(challenge, ` ${right().slice(0, 3)} ${right().slice(3)} `), challenge, true);
  });

  await report.step("verify by the deprecated method", async () => {
    if (!generation.hasVerifyFactor) {
      assert.equal(mfa.verifyFactor, undefined);
      throw new Skip("has no call for it");
    }
    const { challenge, wrong, right } = await open.totp();
    const verify = (code) => mfa.verifyFactor({ authenticationChallengeId: challenge.id, code });
    answers(await verify(wrong), challenge, false);
    answers(await verify(right()), challenge, true);
    await fixture.refused(() => verify(right()), previouslyVerified(challenge));
    return "by verifyFactor";
  });

  await report.step("a totp code is spent once", async () => {
    const factor = await fixture.enrollTOTP();
    const [first, second] = [await fixture.challenge(factor), await fixture.challenge(factor)];
    const code = codeAt(factor.totp.secret);
    answers(await fixture.verify(first, code), first, true);
    answers(await fixture.verify(second, code), second, false);
    answers(await fixture.verify(second, codeAt(factor.totp.secret, 1)), second, true);
    return "on another challenge: valid false; the next code: valid true";
  });

  await report.step("of eight racing right codes one wins", async () => {
    const { challenge, right } = await open.generic_otp();
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => fixture.verify(challenge, right())));
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1, "answers that are no error");
    for (const { value, reason } of results) {
      if (value) {
        answers(value, challenge, true);
      } else {
        await fixture.refused(() => Promise.reject(reason), previouslyVerified(challenge));
      }
    }
  });

  await report.step("too many attempts on a challenge", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const challenge = await fixture.challenge(factor);
    await fail(fixture, challenge, 5);
    for (const code of [challenge.code, otherThan(challenge.code)]) {
      await fixture.refused(() => fixture.verify(challenge, code), tooManyAttempts);
    }
    const next = await fixture.challenge(factor);
    answers(await fixture.verify(next, next.code), next, true);
    return "the sixth: GenericServerException 400 one_time_code_too_many_attempts; a new challenge works";
  });

  await report.step("too many failures of a factor", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    await fail(fixture, await fixture.challenge(factor), 5);
    const challenge = await fixture.challenge(factor);
    await fail(fixture, challenge, 1);
    const { rawData, ...want } = tooManyAttempts;
    const error = await fixture.refused(() => fixture.verify(challenge, challenge.code), want);
    const { retry_after: wait, ...said } = error.rawData;
    assert.deepEqual(said, rawData);
    assert.ok(wait >= 1 && wait <= 30, `retry_after ${wait} is 1 to 30`);
    return "the factor has to wait: GenericServerException 400 one_time_code_too_many_attempts";
  });
}

// fail tries wrong codes on a challenge of a generic_otp factor.
async function fail(fixture, challenge, times) {
  for (let i = 0; i < times; i++) {
    answers(await fixture.verify(challenge, otherThan(challenge.code)), challenge, false);
  }
}

// answers checks the reply to a code. The reply repeats the challenge in its current
// state.
function answers(reply, challenge, valid) {
  const { updatedAt, ...same } = reply.challenge;
  const { updatedAt: before, ...want } = challenge;
  assert.deepEqual({ valid: reply.valid, challenge: same }, { valid, challenge: want });
  assert.ok(updatedAt >= before, `updatedAt ${updatedAt} is not before ${before}`);
}

function isChallenge(challenge, factor, code) {
  const { object, id, createdAt, updatedAt, expiresAt, authenticationFactorId, code: got, ...rest } = challenge;
  assert.equal(object, "authentication_challenge");
  assert.match(id, challengeID);
  assert.equal(updatedAt, createdAt);
  assert.equal(Date.parse(expiresAt) - Date.parse(createdAt), tenMinutes);
  assert.equal(authenticationFactorId, factor.id);
  assert.equal(got, code);
  assert.deepEqual(rest, {});
}
