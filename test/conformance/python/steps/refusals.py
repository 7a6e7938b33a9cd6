"""Refusals of the server arrive as errors of the library's own classes."""

from totp import code_at
from fixture import TOO_MANY_MESSAGES, invalid, not_found

UNKNOWN = "01FVYZ5QM8N98T9ME5BCB2BBMJ"


def run(fixture):
    client, step, library = fixture.client, fixture.report.step, fixture.library

    @step("unknown factor")
    def _():
        calls = [client.challenge_factor]
        if library.has_get_and_delete:
            calls += [client.get_factor, client.delete_factor]
        others = (f"auth_challenge_{UNKNOWN}", "no-such-factor", "O'Brien")
        for id in (f"auth_factor_{UNKNOWN}", *others):
            for call in calls:
                fixture.refused(404, not_found(id), call, id)

    @step("unknown challenge")
    def _():
        for id in (f"auth_challenge_{UNKNOWN}", f"auth_factor_{UNKNOWN}", "no-such-challenge"):
            fixture.refused(404, not_found(id, "Challenge"), client.verify_challenge, id, "123456")

    @step("unknown path")
    def _():
        body = {"message": "Not Found", "error": "Not Found"}
        fixture.refused(404, body, client.request, "get", "no/such/path")

    @step("an error names its request")
    def _():
        id = f"auth_factor_{UNKNOWN}"
        error = fixture.refused(404, not_found(id), fixture.far.challenge_factor, id)
        headers = dict(fixture.server.tries()[-1]["reply_headers"])
        assert error.request_id == headers["x-request-id"]
        return "request_id is x-request-id"

    @step("bad phone number")
    def _():
        for phone in ("foo", "123", "+1 202", "+999 12345678"):
            message = f"Phone number is invalid: '{phone}'"
            body = {"code": "invalid_phone_number", "message": message}
            fixture.refused(422, body, client.enroll_factor, type="sms", phone_number=phone)

    @step("bad input")
    def _():
        no_phone = invalid("phone_number", "phone_number_required")
        bad_name = invalid("totp_issuer", "totp_issuer_invalid_characters")
        two_lines = {"totp_issuer": "line\nbreak", "totp_user": "user@example.com"}
        for what, fields, body in (
            ("no phone number", {"type": "sms"}, no_phone),
            ("empty phone number", {"type": "sms", "phone_number": ""}, no_phone),
            ("unknown type", {"type": "hotp"}, invalid("type", "type_unsupported")),
            ("no type", {}, invalid("type", "type_required")),
            ("a line break", {"type": "totp", **two_lines}, bad_name),
        ):
            if fixture.declined(what, client.enroll_factor, **fields):
                fixture.refused(422, body, client.request, "post", "auth/factors/enroll", fields)
            else:
                fixture.refused(422, body, client.enroll_factor, **fields)
        id = fixture.enroll_sms()["id"]
        body = invalid("sms_template", "sms_template_missing_code")
        fixture.refused(422, body, client.challenge_factor, id, sms_template="no place for it")

    @step("bad API key")
    def _():
        factor = fixture.enroll_totp()
        challenge = client.challenge_factor(factor["id"])
        code = code_at(factor["totp"]["secret"])
        key = "sk_test_wrong"
        fixture.report.secrets(key)
        stranger = library(fixture.server.url, key)

        def unauthorized(call, *args, **kwargs):
            fixture.refused(401, {"message": "Unauthorized"}, call, *args, **kwargs)

        unauthorized(stranger.enroll_factor, type="totp", totp_issuer="a", totp_user="b")
        unauthorized(stranger.challenge_factor, factor["id"])
        unauthorized(stranger.verify_challenge, challenge["id"], code)
        if library.has_get_and_delete:
            unauthorized(stranger.get_factor, factor["id"])
            unauthorized(stranger.delete_factor, factor["id"])
        if library.has_users:
            unauthorized(stranger.enroll_for_user, fixture.user(), type="totp")
            unauthorized(stranger.list_of_user, fixture.user())

    @step("another environment")
    def _():
        id = fixture.enroll_totp()["id"]
        fixture.refused(404, not_found(id), fixture.at_brief.challenge_factor, id)
        if library.has_get_and_delete:
            fixture.refused(404, not_found(id), fixture.at_brief.get_factor, id)

    @step("too many messages to a number")
    def _():
        factor = fixture.enroll_sms()
        client.challenge_factor(factor["id"])
        # A library that retries would wait for the time that the server asks for.
        impatient = library(fixture.server.url, fixture.server.key, patient=False)
        error = fixture.refused(429, TOO_MANY_MESSAGES, impatient.challenge_factor, factor["id"])
        wait = error.response.json()["retry_after"]
        assert error.response.headers["Retry-After"] == str(wait)
        if library.error_has_retry_after:
            assert error.retry_after == wait
