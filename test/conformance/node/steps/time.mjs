// Steps about time, on a server whose challenges expire at once and whose phone numbers
// wait only one second between messages.
import assert from "node:assert/strict";
import { Skip } from "../report.mjs";
import { codeAt } from "../totp.mjs";
import { failureOf, until } from "../fixture.mjs";

export async function time(fixture) {
  const { report, generation } = fixture;
  const mfa = fixture.mfaAt(fixture.connect(fixture.brief));

  for (const type of ["totp", "generic_otp"]) {
    await report.step(`expiry of ${type}`, async () => {
      const factor = type === "totp" ? await fixture.enrollTOTP(mfa) : await mfa.enrollFactor({ type });
      const challenge = await fixture.challenge(factor, {}, mfa);
      await until(Date.parse(challenge.expiresAt));
      const code = challenge.code ?? codeAt(factor.totp.secret);
      await fixture.refused(() => fixture.verify(challenge, code, mfa), {
        class: "UnprocessableEntityException",
        status: 422,
        code: "authentication_challenge_expired",
        message: `The authentication challenge '${challenge.id}' has expired.`,
      });
      return "the right code, too late: UnprocessableEntityException authentication_challenge_expired";
    });
  }

  await report.step("too many messages, then waiting", async () => {
    const phone = fixture.phone();
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: phone });
    const far = fixture.mfaAt(fixture.connectFar(fixture.brief));
    await fixture.challenge(factor, {}, far);
    const again = () => fixture.challenge(factor, {}, far);
    if (!generation.retries) {
      const error = await failureOf(again);
      assert.equal(error.constructor.name, generation.tooManyRequestsError);
      assert.deepEqual((await fixture.brief.network.tries()).map(({ status }) => status), [201, 429]);
      throw new Skip("does not try again");
    }
    await again();
    const tries = await fixture.brief.network.tries();
    assert.deepEqual(tries.map(({ status }) => status), [201, 429, 201]);
    assert.notEqual(tries[1].key, tries[0].key);
    assert.equal(tries[2].key, tries[1].key);
    assert.equal((await fixture.messages(phone, fixture.brief)).length, 2, "messages");
    return "waits as Retry-After says, tries again with the same key, and the message goes out";
  });
}
