// Enroll, get and delete.
import assert from "node:assert/strict";
import { codeAt } from "../totp.mjs";

const factorID = /^auth_factor_[0-9A-HJKMNP-TV-Z]{26}$/;
const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

export async function factors(fixture) {
  const { mfa, report } = fixture;

  await report.step("enroll totp", async () => {
    const factor = await fixture.enrollTOTP();
    isFactor(factor, "totp", ["totp"]);
    const { issuer, user, secret, uri, qrCode } = factor.totp;
    assert.equal(issuer, "Foo Corp");
    assert.equal(user, "user@example.com");
    assert.match(secret, /^[A-Z2-7]{32}$/);
    assert.equal(uri, `otpauth://totp/Foo%20Corp:user@example.com?secret=${secret}&issuer=Foo%20Corp`);
    assert.match(qrCode, /^data:image\/png;base64,[A-Za-z0-9+/]+={0,2}$/);
    return { detail: "32 base32 characters; the QR code says the URI", qr_code: qrCode, text: uri };
  });

  await report.step("enroll totp without names", async () => {
    const { totp } = await mfa.enrollFactor({ type: "totp" });
    report.secrets(totp.secret);
    assert.ok(totp.issuer && totp.user, "issuer and user are not empty");
    return `issuer ${totp.issuer}, user ${totp.user}`;
  });

  await report.step("enroll sms", async () => {
    for (const form of [
      (number) => number,
      (number) => number.slice(1), // without the plus
      (number) => number.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, "+1 ($1) $2-$3"),
      (number) => number.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, " 1.$1.$2.$3 "),
    ]) {
      const phone = fixture.phone();
      const factor = await mfa.enrollFactor({ type: "sms", phoneNumber: form(phone) });
      isFactor(factor, "sms", ["sms"]);
      assert.deepEqual(factor.sms, { phoneNumber: phone }, `for ${form(phone)}`);
    }
    return "four forms of a number become E.164";
  });

  await report.step("enroll generic_otp", async () => {
    isFactor(await mfa.enrollFactor({ type: "generic_otp" }), "generic_otp", []);
  });

  await report.step("get a factor", async () => {
    const totp = await fixture.enrollTOTP();
    const { secret, uri, qrCode, ...names } = totp.totp;
    const shown = await mfa.getFactor(totp.id);
    assert.deepEqual(shown, { ...totp, totp: names });
    assert.ok(!JSON.stringify(shown).includes(secret), "the secret is shown only once");
    for (const options of [{ type: "sms", phoneNumber: fixture.phone() }, { type: "generic_otp" }]) {
      const factor = await mfa.enrollFactor(options);
      assert.deepEqual(await mfa.getFactor(factor.id), factor);
    }
    return "as it was enrolled, without the secret";
  });

  await report.step("delete a factor", async () => {
    for (const options of [{ type: "totp" }, { type: "sms", phoneNumber: fixture.phone() }, { type: "generic_otp" }]) {
      const factor = await mfa.enrollFactor(options);
      report.secrets(...(factor.totp ? [factor.totp.secret] : []));
      assert.equal(await mfa.deleteFactor(factor.id), undefined);
      await fixture.refused(() => mfa.getFactor(factor.id), fixture.factorNotFound(factor.id));
      await fixture.refused(() => mfa.deleteFactor(factor.id), fixture.factorNotFound(factor.id));
      await fixture.refused(() => fixture.challenge(factor), fixture.factorNotFound(factor.id));
    }
    return "then get, delete and challenge: NotFoundException entity_not_found";
  });

  await report.step("delete a factor that is challenged", async () => {
    const factor = await fixture.enrollTOTP();
    const challenge = await fixture.challenge(factor);
    await mfa.deleteFactor(factor.id);
    await fixture.refused(() => fixture.verify(challenge, codeAt(factor.totp.secret)), fixture.challengeNotFound(challenge.id));
    return "then verify: NotFoundException entity_not_found";
  });
}

// isFactor checks the fields that factors of all types have, and that the only other
// fields are those of this type.
function isFactor(factor, type, added) {
  const { object, id, createdAt, updatedAt, type: got, ...rest } = factor;
  assert.equal(object, "authentication_factor");
  assert.match(id, factorID);
  assert.match(createdAt, time);
  assert.equal(updatedAt, createdAt);
  assert.equal(got, type);
  assert.deepEqual(Object.keys(rest), added);
}
