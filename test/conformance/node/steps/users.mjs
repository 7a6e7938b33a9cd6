// Factors of users, and their lists.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Skip } from "../report.mjs";
import { codeAt } from "../totp.mjs";
import { failureOf } from "../fixture.mjs";
import { invalid } from "./refusals.mjs";

export async function users(fixture) {
  const { mfa, report, generation } = fixture;
  const newUser = () => "user_" + randomUUID();

  await report.step("enroll for a user", async () => {
    const userId = newUser();
    const { authenticationFactor: factor, authenticationChallenge: challenge } = await fixture.enrollForUser({
      userId,
      type: "totp",
      totpIssuer: "Foo Corp",
      totpUser: "user@foo-corp.com",
    });
    const { secret, uri, qrCode } = factor.totp;
    report.secrets(secret);
    assert.equal(factor.userId, userId);
    assert.match(secret, /^[A-Z2-7]{32}$/);
    assert.equal(challenge.authenticationFactorId, factor.id);
    assert.equal(Date.parse(challenge.expiresAt) - Date.parse(challenge.createdAt), 600_000);
    assert.equal((await fixture.verify(challenge, codeAt(secret))).valid, true);
    return { detail: "factor and challenge in one call", qr_code: qrCode, text: uri };
  });

  await report.step("enroll for a user without names", async () => {
    const userId = newUser();
    const { authenticationFactor: { totp } } = await fixture.enrollForUser({ userId, type: "totp" });
    report.secrets(totp.secret);
    assert.ok(totp.issuer && totp.user, "issuer and user are not empty");
  });

  await report.step("enroll for a user with a secret", async () => {
    const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEE";
    if (!generation.sendsSecret) {
      const { authenticationFactor: { totp } } = await fixture.enrollForUser({ userId: newUser(), type: "totp", totpSecret: secret });
      report.secrets(totp.secret);
      assert.notEqual(totp.secret, secret, "the server created another secret");
      throw new Skip("cannot send an existing secret");
    }
    for (const totpSecret of [secret, secret.toLowerCase(), secret.replace(/(.{4})/g, "$1 "), secret + "======"]) {
      report.secrets(totpSecret);
      const { authenticationFactor, authenticationChallenge } = await fixture.enrollForUser({
        userId: newUser(),
        type: "totp",
        totpSecret,
      });
      assert.equal(authenticationFactor.totp.secret, secret, `for ${totpSecret}`);
      assert.equal((await fixture.verify(authenticationChallenge, codeAt(secret))).valid, true);
    }
    for (const [totpSecret, requirement] of [
      ["JBSWY3DP", "totp_secret_too_short"],
      ["01189998819991197253", "totp_secret_not_base32"],
    ]) {
      report.secrets(totpSecret);
      await fixture.refused(() => fixture.enrollForUser({ userId: newUser(), type: "totp", totpSecret }), invalid(requirement));
    }
    return "in lower case, with spaces, with padding; a short or foreign one: UnprocessableEntityException";
  });

  await report.step("list no factors", async () => {
    const list = await fixture.listOfUser({ userId: newUser() });
    assert.equal(list.object, "list");
    assert.deepEqual(list.data, []);
    assert.deepEqual(list.listMetadata, { before: null, after: null });
    assert.deepEqual(await list.autoPagination(), []);
  });

  const userId = newUser();
  const newestFirst = [];
  await report.step("list the factors of a user", async () => {
    for (let i = 0; i < 35; i++) {
      const { authenticationFactor } = await fixture.enrollForUser({ userId, type: "totp", totpUser: `account ${i}` });
      report.secrets(authenticationFactor.totp.secret);
      const { secret, uri, qrCode, ...names } = authenticationFactor.totp;
      newestFirst.unshift({ ...authenticationFactor, totp: names });
    }
    const list = await fixture.listOfUser({ userId });
    assert.equal(list.object, "list");
    assert.deepEqual(list.data, newestFirst.slice(0, 10), "the newest ten, without secrets");
    assert.deepEqual(list.listMetadata, { before: null, after: newestFirst[9].id });
    return "ten, the newest first, without secrets";
  });

  for (const [order, inOrder] of [["desc", (list) => list], ["asc", (list) => list.toReversed()]]) {
    await report.step(`list pages, ${order}`, async () => {
      const all = inOrder(newestFirst);
      const ends = [];
      let after;
      for (const size of [10, 10, 10, 5]) {
        const page = await fixture.listOfUser({ userId, limit: 10, order, after });
        const start = ends.length * 10;
        assert.deepEqual(page.data, all.slice(start, start + size), `forward from ${start}`);
        assert.equal(page.listMetadata.before, start === 0 ? null : page.data[0].id);
        ends.push(page.listMetadata);
        after = page.listMetadata.after ?? undefined;
      }
      assert.equal(ends.at(-1).after, null, "the last page has none after it");
      let before = ends.at(-1).before;
      for (const start of [20, 10, 0]) {
        const page = await fixture.listOfUser({ userId, limit: 10, order, before });
        assert.deepEqual(page.data, all.slice(start, start + 10), `back to ${start}`);
        assert.equal(page.listMetadata.after, page.data.at(-1).id);
        before = page.listMetadata.before;
      }
      assert.equal(before, null, "the first page has none before it");
      const between = await fixture.listOfUser({ userId, order, after: all[4].id, before: all[9].id });
      assert.deepEqual(between.data, all.slice(5, 9), "between two cursors");
      return "four pages forward by after, three back by before, and between the two";
    });
  }

  await report.step("list with a bad cursor", async () => {
    for (const [options, requirement] of [
      [{ after: "auth_factor_nonsense" }, "after_invalid_cursor"],
      [{ before: "nonsense" }, "before_invalid_cursor"],
      [{ limit: 101 }, "limit_out_of_range"],
      [{ order: "sideways" }, "order_unsupported"],
    ]) {
      await fixture.refused(() => fixture.listOfUser({ userId, ...options }), invalid(requirement));
    }
  });

  await report.step("list all pages", async () => {
    assert.deepEqual(await (await fixture.listOfUser({ userId })).autoPagination(), newestFirst);
    const ascending = await fixture.listOfUser({ userId, order: "asc" });
    assert.deepEqual(await ascending.autoPagination(), newestFirst.toReversed());
    return "35 factors, in both orders";
  });

  // The library asks for pages of 100.
  await report.step("list 301 factors", async () => {
    const userId = newUser();
    const ids = [];
    for (let enrolled = 0; enrolled < 301; ) {
      const batch = Math.min(43, 301 - enrolled);
      const made = await Promise.all(Array.from({ length: batch }, () => fixture.enrollForUser({ userId, type: "totp" })));
      report.secrets(...made.map(({ authenticationFactor }) => authenticationFactor.totp.secret));
      ids.push(...made.map(({ authenticationFactor }) => authenticationFactor.id));
      enrolled += batch;
    }
    const listed = await (await fixture.listOfUser({ userId })).autoPagination();
    assert.equal(new Set(ids).size, 301, "ids are unique");
    assert.deepEqual(listed.map(({ id }) => id), ids.toSorted().reverse(), "each once, in the order of their ids");
    return "four pages";
  });

  await report.step("a deleted factor leaves the list", async () => {
    const [gone] = newestFirst.splice(17, 1);
    await mfa.deleteFactor(gone.id);
    assert.deepEqual(await (await fixture.listOfUser({ userId })).autoPagination(), newestFirst);
    const page = await fixture.listOfUser({ userId, limit: 3, after: gone.id });
    assert.deepEqual(page.data, newestFirst.slice(17, 20), "its id still marks its place");
  });

  await report.step("list a factor that is not totp", async () => {
    const userId = newUser();
    const phone = fixture.phone();
    await fixture.workos.post("/auth/factors/enroll", { type: "sms", phone_number: phone, user_id: userId });
    if (generation.listsOnlyTOTP) {
      const error = await failureOf(() => fixture.listOfUser({ userId }));
      assert.ok(error instanceof TypeError, "thrown by the library: " + error);
      const { data: list } = await fixture.workos.get(`/user_management/users/${userId}/auth_factors`);
      assert.deepEqual(list.data.map(({ type }) => type), ["sms"], "what the server has in the list");
      throw new Skip("fails on lists that have a factor other than totp");
    }
    const { data: [factor] } = await fixture.listOfUser({ userId });
    assert.deepEqual([factor.type, factor.sms, factor.totp], ["sms", { phoneNumber: phone }, undefined]);
  });
}
