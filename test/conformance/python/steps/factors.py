"""Enroll, get and delete."""

import json
import re

from totp import code_at
from fixture import failure_of, moment, not_found

FACTOR_ID = re.compile(r"auth_factor_[0-9A-HJKMNP-TV-Z]{26}")


def run(fixture):
    client, step = fixture.client, fixture.report.step

    @step("enroll totp")
    def _():
        factor = fixture.enroll_totp()
        is_factor(factor, "totp", {"totp"})
        totp = factor["totp"]
        secret = totp["secret"]
        assert set(totp) == {"issuer", "user", "secret", "uri", "qr_code"}
        assert (totp["issuer"], totp["user"]) == ("Foo Corp", "user@example.com")
        assert re.fullmatch("[A-Z2-7]{32}", secret)
        uri = f"otpauth://totp/Foo%20Corp:user@example.com?secret={secret}&issuer=Foo%20Corp"
        assert totp["uri"] == uri
        return {"qr_code": totp["qr_code"], "text": uri}

    @step("enroll totp without names")
    def _():
        if fixture.declined("no names", client.enroll_factor, type="totp"):
            factor = client.request("post", "auth/factors/enroll", {"type": "totp"})
        else:
            factor = client.enroll_factor(type="totp")
        totp = factor["totp"]
        fixture.report.secrets(totp["secret"])
        assert totp["issuer"] and totp["user"], "one of them is empty"
        return f"issuer {totp['issuer']}, user {totp['user']}"

    @step("enroll sms")
    def _():
        for form in (
            lambda number: number,
            lambda number: number[1:],  # without the plus
            lambda number: f"+1 ({number[2:5]}) {number[5:8]}-{number[8:]}",
            lambda number: f" 1.{number[2:5]}.{number[5:8]}.{number[8:]} ",
        ):
            phone = fixture.phone()
            factor = fixture.enroll_sms(form(phone))
            is_factor(factor, "sms", {"sms"})
            assert factor["sms"] == {"phone_number": phone}, form(phone)

    @step("enroll generic_otp")
    def _():
        said = None
        if fixture.declined("generic_otp", client.enroll_factor, type="generic_otp"):
            said = "enroll_factor declines this type; the library's own client for HTTP enrolls it"
        elif fixture.library.misreads_generic_otp:
            misread(client.enroll_factor, type="generic_otp")
            said = "enroll_factor raises a ValidationError after the server has enrolled the factor"
        is_factor(fixture.enroll_generic_otp(), "generic_otp", set())
        return said

    @step("get a factor")
    def _():
        totp = fixture.enroll_totp()
        shown = client.get_factor(totp["id"])
        assert shown == {**totp, "totp": {"issuer": "Foo Corp", "user": "user@example.com"}}
        assert totp["totp"]["secret"] not in json.dumps(shown)
        sms = fixture.enroll_sms()
        assert client.get_factor(sms["id"]) == sms
        generic = fixture.enroll_generic_otp()
        if fixture.library.misreads_generic_otp:
            misread(client.get_factor, generic["id"])
            assert client.request("get", f"auth/factors/{generic['id']}") == generic
            return "of a generic_otp factor get_factor raises a ValidationError"
        assert client.get_factor(generic["id"]) == generic

    @step("delete a factor")
    def _():
        for enroll in (fixture.enroll_totp, fixture.enroll_sms, fixture.enroll_generic_otp):
            id = enroll()["id"]
            assert client.delete_factor(id) is None
            for call in (client.get_factor, client.delete_factor, client.challenge_factor):
                fixture.refused(404, not_found(id), call, id)

    @step("delete a factor that is challenged")
    def _():
        factor = fixture.enroll_totp()
        id = client.challenge_factor(factor["id"])["id"]
        client.delete_factor(factor["id"])
        code = code_at(factor["totp"]["secret"])
        fixture.refused(404, not_found(id, "Challenge"), client.verify_challenge, id, code)


def is_factor(factor, type, added):
    """Checks the fields that all factors have, and that the others belong to its type."""
    common = {"object", "id", "type", "created_at", "updated_at"}
    assert set(factor) == common | added
    assert factor["object"] == "authentication_factor"
    assert FACTOR_ID.fullmatch(factor["id"])
    assert factor["type"] == type
    assert moment(factor["created_at"]) == moment(factor["updated_at"])


def misread(call, *args, **kwargs):
    """Checks that the library cannot read a reply about a generic_otp factor."""
    error = failure_of(call, *args, **kwargs)
    assert type(error).__name__ == "ValidationError", repr(error)
    # It reads every factor that is not TOTP as SMS.
    assert {problem["loc"] for problem in error.errors()} == {("type",), ("sms",)}, error
