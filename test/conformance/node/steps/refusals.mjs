// Refusals of the server arrive as errors of the library's own classes.
import assert from "node:assert/strict";
import { Skip } from "../report.mjs";
import { codeAt } from "../totp.mjs";

const unknown = "01FVYZ5QM8N98T9ME5BCB2BBMJ";

export async function refusals(fixture) {
  const { mfa, report, generation } = fixture;

  await report.step("unknown factor", async () => {
    for (const id of [`auth_factor_${unknown}`, `auth_challenge_${unknown}`, "no-such-factor", "O'Brien"]) {
      await fixture.refused(() => mfa.getFactor(id), fixture.factorNotFound(id));
      await fixture.refused(() => mfa.deleteFactor(id), fixture.factorNotFound(id));
      await fixture.refused(() => fixture.challenge({ id }), fixture.factorNotFound(id));
    }
    return "NotFoundException with code and message";
  });

  await report.step("unknown challenge", async () => {
    for (const id of [`auth_challenge_${unknown}`, `auth_factor_${unknown}`, "no-such-challenge"]) {
      await fixture.refused(() => fixture.verify({ id }, "123456"), fixture.challengeNotFound(id));
    }
    return "NotFoundException with code and message";
  });

  await report.step("unknown path", async () => {
    await fixture.refused(() => fixture.workos.get("/no/such/path"), { class: "NotFoundException", status: 404, message: "Not Found" });
  });

  await report.step("an error names its request", async () => {
    const far = fixture.mfaAt(fixture.connectFar(fixture.server));
    const id = `auth_factor_${unknown}`;
    const { requestID } = await fixture.refused(() => far.getFactor(id), fixture.factorNotFound(id));
    const { reply_headers: headers } = (await fixture.server.network.tries()).at(-1);
    const [, sent] = headers.find(([name]) => name === "x-request-id"); // some libraries find it only in lower case
    if (!generation.readsRequestID) {
      assert.equal(requestID, "");
      throw new Skip("does not show the request id of an error");
    }
    assert.equal(requestID, sent);
    return "requestID is x-request-id";
  });

  await report.step("bad phone number", async () => {
    for (const phoneNumber of ["foo", "123", "+1 202", "+999 12345678"]) {
      await fixture.refused(() => mfa.enrollFactor({ type: "sms", phoneNumber }), {
        class: "UnprocessableEntityException",
        status: 422,
        code: "invalid_phone_number",
        message: `Phone number is invalid: '${phoneNumber}'`,
      });
    }
    return "UnprocessableEntityException invalid_phone_number";
  });

  // This library shows only the codes of a list of errors.
  await report.step("bad input", async () => {
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: fixture.phone() });
    for (const [call, requirement] of [
      [() => mfa.enrollFactor({ type: "sms" }), "phone_number_required"],
      [() => mfa.enrollFactor({ type: "sms", phoneNumber: "" }), "phone_number_required"],
      [() => mfa.enrollFactor({ type: "hotp" }), "type_unsupported"],
      [() => mfa.enrollFactor({}), "type_required"],
      [() => mfa.enrollFactor({ type: "totp", issuer: "line\nbreak" }), "totp_issuer_invalid_characters"],
      [() => fixture.challenge(factor, { smsTemplate: "no place for it" }), "sms_template_missing_code"],
    ]) {
      await fixture.refused(call, invalid(requirement));
    }
    return "UnprocessableEntityException invalid_request_parameters, with what must be met";
  });

  await report.step("bad API key", async () => {
    const factor = await fixture.enrollTOTP();
    const challenge = await fixture.challenge(factor);
    const key = "sk_test_wrong";
    report.secrets(key);
    const stranger = fixture.connect({ ...fixture.server, key });
    const theirs = fixture.mfaAt(stranger);
    for (const call of [
      () => theirs.enrollFactor({ type: "totp" }),
      () => theirs.getFactor(factor.id),
      () => theirs.deleteFactor(factor.id),
      () => theirs.challengeFactor({ authenticationFactorId: factor.id }),
      () => fixture.verify(challenge, codeAt(factor.totp.secret), theirs),
      () => fixture.enrollForUser({ userId: "user_1", type: "totp" }, stranger),
      () => fixture.listOfUser({ userId: "user_1" }, stranger),
    ]) {
      await fixture.refused(call, { class: "UnauthorizedException", status: 401 });
    }
    return "UnauthorizedException, from every call";
  });

  await report.step("another environment", async () => {
    const factor = await mfa.enrollFactor({ type: "generic_otp" });
    const elsewhere = fixture.mfaAt(fixture.connect(fixture.brief));
    await fixture.refused(() => elsewhere.getFactor(factor.id), fixture.factorNotFound(factor.id));
  });

  await report.step("too many messages to a number", async () => {
    const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: fixture.phone() });
    await fixture.challenge(factor);
    // A library that retries would wait for the time that the server asks for, and retry.
    const impatient = fixture.mfaAt(fixture.connect(fixture.server, { maxRetries: 0 }));
    const error = await fixture.refused(() => fixture.challenge(factor, {}, impatient), {
      class: generation.tooManyRequestsError,
      status: 429,
      message: "Too many messages to this phone number. Try again later.",
    });
    if (generation.tooManyRequestsError === "RateLimitExceededException") {
      const wait = error.retryAfter;
      assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 30, `retryAfter ${wait} is 1 to 30`);
    }
    return `${generation.tooManyRequestsError} 429`;
  });
}

// invalid returns the error by which the library shows a single requirement.
export function invalid(requirement) {
  return {
    class: "UnprocessableEntityException",
    status: 422,
    code: "invalid_request_parameters",
    message: `The following requirement must be met:\n\t${requirement}\n`,
  };
}
