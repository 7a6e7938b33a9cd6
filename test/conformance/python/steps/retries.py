"""Networks fail after the server has acted. A call that is repeated for this reason must
not act twice."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from report import Skip
from totp import code_at, other_than
from fixture import TOO_MANY_ATTEMPTS, UUID, failure_of, not_found, previously_verified


def run(fixture):
    client, far, step, library = fixture.client, fixture.far, fixture.report.step, fixture.library

    def lost(what, call, *args):
        """Calls while the first reply or request is lost, and returns the result.

        It checks that the same key went over the wire twice. A library that never tries
        again shows the failure, after one try.
        """
        fixture.server.lose(what)
        if library.lost_error:
            error = failure_of(call, *args)
            kind = type(error)
            assert f"{kind.__module__}.{kind.__name__}" == library.lost_error, repr(error)
            [only] = fixture.server.tries()
            assert only["lost"] == what
            return None
        result = call(*args)
        first, second = fixture.server.tries()
        assert (first["lost"], second["lost"]) == (what, "")
        assert UUID.fullmatch(first["key"])
        for same in ("method", "path", "body", "key"):
            assert second[same] == first[same], f"{same} of both tries"
        if what == "reply":
            for same in ("status", "reply_body"):
                assert second[same] == first[same], f"{same} of both tries"
        return result

    def tries_again():
        if library.lost_error:
            raise Skip("does not try again")

    def factors_of(user):
        return client.request("get", f"user_management/users/{user}/auth_factors")["data"]

    @step("lost reply: enroll")
    def _():
        factor = lost("reply", fixture.enroll_totp, far)
        tries_again()
        challenge = client.challenge_factor(factor["id"])
        code = code_at(factor["totp"]["secret"])
        assert client.verify_challenge(challenge["id"], code)["valid"] is True

    @step("lost reply: enroll for a user")
    def _():
        user = fixture.user()
        made = lost("reply", fixture.enroll_for_user, user, far)
        assert len(factors_of(user)) == 1
        tries_again()
        factor, challenge = made
        assert factors_of(user)[0]["id"] == factor["id"]
        code = code_at(factor["totp"]["secret"])
        assert client.verify_challenge(challenge["id"], code)["valid"] is True

    @step("lost request: enroll for a user")
    def _():
        user = fixture.user()
        made = lost("request", fixture.enroll_for_user, user, far)
        assert len(factors_of(user)) == (1 if made else 0)
        tries_again()

    @step("lost reply: challenge sms")
    def _():
        phone = fixture.phone()
        factor = fixture.enroll_sms(phone)
        challenge = lost("reply", far.challenge_factor, factor["id"])
        code = fixture.code_for(phone)
        tries_again()
        assert client.verify_challenge(challenge["id"], code)["valid"] is True

    @step("lost reply: challenge generic_otp")
    def _():
        factor = fixture.enroll_generic_otp()
        challenge = lost("reply", fixture.challenge_generic_otp, factor, far)
        tries_again()
        assert client.verify_challenge(challenge["id"], challenge["code"])["valid"] is True

    @step("lost reply: right code")
    def _():
        challenge = fixture.challenge_generic_otp(fixture.enroll_generic_otp())
        id, code = challenge["id"], challenge["code"]
        reply = lost("reply", far.verify_challenge, id, code)
        fixture.refused(422, previously_verified(id), client.verify_challenge, id, code)
        tries_again()
        assert reply["valid"] is True

    @step("lost reply: wrong code")
    def _():
        challenge = fixture.challenge_generic_otp(fixture.enroll_generic_otp())
        id, wrong = challenge["id"], other_than(challenge["code"])
        reply = lost("reply", far.verify_challenge, id, wrong)
        for attempt in range(2, 6):
            assert client.verify_challenge(id, wrong)["valid"] is False, f"attempt {attempt}"
        fixture.refused(400, TOO_MANY_ATTEMPTS, client.verify_challenge, id, wrong)
        tries_again()
        assert reply["valid"] is False

    @step("lost reply: delete")
    def _():
        id = fixture.enroll_generic_otp()["id"]
        if library.lost_error:
            lost("reply", far.delete_factor, id)
            fixture.refused(404, not_found(id), client.delete_factor, id)
            tries_again()
        fixture.server.lose("reply")
        fixture.refused(404, not_found(id), far.delete_factor, id)
        said = [(tried["status"], tried["key"]) for tried in fixture.server.tries()]
        assert said == [(204, ""), (404, "")]
        return "deleted; the second try is NotFoundError, as the library sends no key with DELETE"

    @step("own idempotency key")
    def _():
        user, key = fixture.user(), str(uuid.uuid4())
        first = client.enroll_with_key(key, type="totp", user_id=user)
        fixture.report.secrets(first["totp"]["secret"])
        assert client.enroll_with_key(key, type="totp", user_id=user) == first
        assert [factor["id"] for factor in factors_of(user)] == [first["id"]]
        body = {"code": "idempotency_error", "message": str}
        fixture.refused(422, body, client.enroll_with_key, key, type="generic_otp", user_id=user)

    @step("own idempotency key, eight at once")
    def _():
        user, key = fixture.user(), str(uuid.uuid4())
        fields = {"type": "totp", "user_id": user}
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(client.enroll_with_key, key, **fields) for _ in range(8)]
        first = calls[0].result()
        fixture.report.secrets(first["totp"]["secret"])
        for call in calls:
            assert call.result() == first
        assert [factor["id"] for factor in factors_of(user)] == [first["id"]]
