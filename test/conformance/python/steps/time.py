"""Steps about time, at the brief server."""

from report import Skip
from totp import code_at
from fixture import TOO_MANY_MESSAGES, expired, moment, wait_until


def run(fixture):
    client, step, library = fixture.at_brief, fixture.report.step, fixture.library

    def totp():
        factor = fixture.enroll_totp(client)
        challenge = client.challenge_factor(factor["id"])
        return challenge, lambda: code_at(factor["totp"]["secret"])

    def generic_otp():
        challenge = fixture.challenge_generic_otp(fixture.enroll_generic_otp(client), client)
        return challenge, lambda: challenge["code"]

    for start in (totp, generic_otp):

        @step(f"expiry of {start.__name__}")
        def _():
            challenge, right = start()
            id = challenge["id"]
            wait_until(moment(challenge["expires_at"]))
            fixture.refused(422, expired(id), client.verify_challenge, id, right())

    @step("too many messages, then waiting")
    def _():
        phone = fixture.phone()
        factor = client.enroll_factor(type="sms", phone_number=phone)
        far = library(fixture.brief.network_url, fixture.brief.key)
        far.challenge_factor(factor["id"])
        if library.lost_error:
            fixture.refused(429, TOO_MANY_MESSAGES, far.challenge_factor, factor["id"])
            assert [tried["status"] for tried in fixture.brief.tries()] == [201, 429]
            raise Skip("does not try again")
        far.challenge_factor(factor["id"])
        _, second, third = fixture.brief.tries()
        assert (second["status"], third["status"]) == (429, 201)
        assert second["key"] == third["key"]
        messages = fixture.brief.messages(phone)
        fixture.report.secrets(*(message["code"] for message in messages))
        assert len(messages) == 2
