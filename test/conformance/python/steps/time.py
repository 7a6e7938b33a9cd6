"""Steps about time, at the brief server."""

from report import Skip
from totp import code_at
from world import TOO_MANY_MESSAGES, expired, moment, wait_until


def run(world):
    client, step, library = world.at_brief, world.report.step, world.library

    def totp():
        factor = world.enroll_totp(client)
        challenge = client.challenge_factor(factor["id"])
        return challenge, lambda: code_at(factor["totp"]["secret"])

    def generic_otp():
        challenge = world.challenge_generic_otp(world.enroll_generic_otp(client), client)
        return challenge, lambda: challenge["code"]

    for start in (totp, generic_otp):

        @step(f"expiry of {start.__name__}")
        def _():
            challenge, right = start()
            id = challenge["id"]
            wait_until(moment(challenge["expires_at"]))
            world.refused(422, expired(id), client.verify_challenge, id, right())

    @step("too many messages, then waiting")
    def _():
        phone = world.phone()
        factor = client.enroll_factor(type="sms", phone_number=phone)
        far = library(world.brief.network_url, world.brief.key)
        far.challenge_factor(factor["id"])
        if library.lost_error:
            world.refused(429, TOO_MANY_MESSAGES, far.challenge_factor, factor["id"])
            assert [tried["status"] for tried in world.brief.tries()] == [201, 429]
            raise Skip("does not try again")
        far.challenge_factor(factor["id"])
        _, second, third = world.brief.tries()
        assert (second["status"], third["status"]) == (429, 201)
        assert second["key"] == third["key"]
        messages = world.brief.messages(phone)
        world.report.secrets(*(message["code"] for message in messages))
        assert len(messages) == 2
