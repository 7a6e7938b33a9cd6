"""Challenge and verify."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from totp import code_at, other_than, wrong_for
from fixture import TOO_MANY_ATTEMPTS, TOO_MANY_FAILURES, moment, previously_verified

CHALLENGE_ID = re.compile(r"auth_challenge_[0-9A-HJKMNP-TV-Z]{26}")


def run(fixture):
    client, step = fixture.client, fixture.report.step

    @step("challenge totp")
    def _():
        factor = fixture.enroll_totp()
        is_challenge(client.challenge_factor(factor["id"]), factor)

    @step("challenge sms")
    def _():
        phone = fixture.phone()
        factor = fixture.enroll_sms(phone)
        is_challenge(client.challenge_factor(factor["id"]), factor)
        code = fixture.code_for(phone)
        [message] = fixture.server.messages(phone)
        assert message["to"] == phone
        assert message["text"] == f"Your verification code is: {code}"

    @step("challenge sms with a template")
    def _():
        phone = fixture.phone()
        factor = fixture.enroll_sms(phone)
        client.challenge_factor(factor["id"], sms_template="<b>Förde & Søn</b>: {{code}} 🔑")
        code = fixture.code_for(phone)
        assert fixture.server.messages(phone)[0]["text"] == f"<b>Förde & Søn</b>: {code} 🔑"

    @step("challenge sms with an empty template")
    def _():
        phone = fixture.phone()
        factor = fixture.enroll_sms(phone)
        client.challenge_factor(factor["id"], sms_template="")
        code = fixture.code_for(phone)
        assert fixture.server.messages(phone)[0]["text"] == f"Your verification code is: {code}"

    @step("challenge generic_otp")
    def _():
        factor = fixture.enroll_generic_otp()
        challenge = fixture.challenge_generic_otp(factor)
        assert re.fullmatch(r"\d{6}", challenge["code"])
        is_challenge(challenge, factor, {"code"})
        if fixture.library.hides_code:
            is_challenge(client.challenge_factor(factor["id"]), factor)
            return "challenge_factor leaves the code out; the library's own client for HTTP has it"

    # For each type: a new challenge, a wrong code, and a function for the right one.
    def totp():
        factor = fixture.enroll_totp()
        secret = factor["totp"]["secret"]
        return client.challenge_factor(factor["id"]), wrong_for(secret), lambda: code_at(secret)

    def sms():
        phone = fixture.phone()
        challenge = client.challenge_factor(fixture.enroll_sms(phone)["id"])
        code = fixture.code_for(phone)
        return challenge, other_than(code), lambda: code

    def generic_otp():
        challenge = fixture.challenge_generic_otp(fixture.enroll_generic_otp())
        code = challenge["code"]
        return challenge, other_than(code), lambda: code

    for start in (totp, sms, generic_otp):

        @step(f"verify {start.__name__}")
        def _():
            challenge, wrong, right = start()
            id = challenge["id"]
            for code in (wrong, "", "12345", "abcdef"):
                answers(client.verify_challenge(id, code), challenge, False)
            answers(client.verify_challenge(id, right()), challenge, True)
            for code in (right(), wrong):
                fixture.refused(422, previously_verified(id), client.verify_challenge, id, code)

    @step("verify a code with spaces")
    def _():
        challenge, _, right = generic_otp()
        code = f" {right()[:3]} {right()[3:]} "
        answers(client.verify_challenge(challenge["id"], code), challenge, True)

    @step("verify by the deprecated method")
    def _():
        challenge, wrong, right = totp()
        id = challenge["id"]
        answers(client.verify_by_deprecated(id, wrong), challenge, False)
        answers(fixture.far.verify_by_deprecated(id, right()), challenge, True)
        fixture.refused(422, previously_verified(id), client.verify_by_deprecated, id, right())
        path = fixture.library.deprecated_verify_path.format(id=id)
        assert fixture.server.tries()[-1]["path"] == path

    @step("a totp code is spent once")
    def _():
        factor = fixture.enroll_totp()
        first, second = client.challenge_factor(factor["id"]), client.challenge_factor(factor["id"])
        secret = factor["totp"]["secret"]
        code = code_at(secret)
        answers(client.verify_challenge(first["id"], code), first, True)
        answers(client.verify_challenge(second["id"], code), second, False)
        answers(client.verify_challenge(second["id"], code_at(secret, 1)), second, True)

    @step("of eight racing right codes one wins")
    def _():
        challenge, _, right = generic_otp()
        id = challenge["id"]
        with ThreadPoolExecutor(8) as pool:
            racers = [pool.submit(client.verify_challenge, id, right()) for _ in range(8)]
        winners = [racer for racer in racers if racer.exception() is None]
        assert len(winners) == 1, f"{len(winners)} of them won"
        answers(winners[0].result(), challenge, True)
        for racer in racers:
            if racer not in winners:
                fixture.refused(422, previously_verified(id), racer.result)

    @step("too many attempts on a challenge")
    def _():
        factor = fixture.enroll_generic_otp()
        challenge = fixture.challenge_generic_otp(factor)
        fail(client, challenge, 5)
        for code in (challenge["code"], other_than(challenge["code"])):
            fixture.refused(400, TOO_MANY_ATTEMPTS, client.verify_challenge, challenge["id"], code)
        following = fixture.challenge_generic_otp(factor)
        answers(client.verify_challenge(following["id"], following["code"]), following, True)

    @step("too many failures of a factor")
    def _():
        factor = fixture.enroll_generic_otp()
        fail(client, fixture.challenge_generic_otp(factor), 5)
        challenge = fixture.challenge_generic_otp(factor)
        fail(client, challenge, 1)
        id, code = challenge["id"], challenge["code"]
        fixture.refused(400, TOO_MANY_FAILURES, client.verify_challenge, id, code)


def fail(client, challenge, times):
    """Tries wrong codes on a challenge of a generic_otp factor."""
    for _ in range(times):
        wrong = other_than(challenge["code"])
        answers(client.verify_challenge(challenge["id"], wrong), challenge, False)


def answers(reply, challenge, valid):
    """Checks the reply to a code. The reply repeats the challenge in its current state."""
    assert reply["valid"] is valid
    now = reply["challenge"]
    # The state of the message may have changed.
    assert {**now, "updated_at": "", "sms": ""} == {**challenge, "updated_at": "", "sms": ""}
    assert moment(now["updated_at"]) >= moment(challenge["updated_at"])


def is_challenge(challenge, factor, added=frozenset()):
    common = {"object", "id", "created_at", "updated_at", "expires_at", "authentication_factor_id"}
    assert set(challenge) == common | added
    assert challenge["object"] == "authentication_challenge"
    assert CHALLENGE_ID.fullmatch(challenge["id"])
    assert challenge["authentication_factor_id"] == factor["id"]
    assert challenge["updated_at"] == challenge["created_at"]
    age = moment(challenge["expires_at"]) - moment(challenge["created_at"])
    assert age == timedelta(minutes=10)
