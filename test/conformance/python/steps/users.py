"""Factors of users, and their lists."""

import re
from datetime import timedelta

from totp import code_at
from fixture import failure_of, invalid, moment


def run(fixture):
    client, step, library = fixture.client, fixture.report.step, fixture.library

    @step("enroll for a user")
    def _():
        user = fixture.user()
        factor, challenge = fixture.enroll_for_user(
            user, totp_issuer="Foo Corp", totp_user="user@foo-corp.com"
        )
        totp = factor["totp"]
        assert re.fullmatch("[A-Z2-7]{32}", totp["secret"])
        assert (totp["issuer"], totp["user"]) == ("Foo Corp", "user@foo-corp.com")
        assert factor.get("user_id") == (None if library.hides_user_id else user)
        assert challenge["authentication_factor_id"] == factor["id"]
        age = moment(challenge["expires_at"]) - moment(challenge["created_at"])
        assert age == timedelta(minutes=10)
        assert client.verify_challenge(challenge["id"], code_at(totp["secret"]))["valid"] is True
        return {"qr_code": totp["qr_code"], "text": totp["uri"]}

    @step("enroll for a user without names")
    def _():
        factor, _ = fixture.enroll_for_user(fixture.user())
        assert factor["totp"]["issuer"] and factor["totp"]["user"], "one of them is empty"

    @step("enroll for a user with a secret")
    def _():
        secret = "JBSWY3DPEHPK3PXPJBSWY3DPEE"
        for form in (secret, secret.lower(), re.sub("(.{4})", r"\1 ", secret), secret + "======"):
            factor, challenge = fixture.enroll_for_user(fixture.user(), totp_secret=form)
            assert factor["totp"]["secret"] == secret, form
            assert client.verify_challenge(challenge["id"], code_at(secret))["valid"] is True
        for form, code in (
            ("JBSWY3DP", "totp_secret_too_short"),
            ("01189998819991197253", "totp_secret_not_base32"),
        ):
            body = invalid("totp_secret", code)
            fixture.refused(422, body, fixture.enroll_for_user, fixture.user(), totp_secret=form)

    @step("list no factors")
    def _():
        factors, metadata = client.list_of_user(fixture.user())
        assert factors == []
        assert metadata == {"before": None, "after": None}

    user = fixture.user()
    newest_first = []  # the factors of that user, as lists show them

    @step("list the factors of a user")
    def _():
        assert client.list_of_user(user)[0] == []
        for i in range(35):
            factor, _ = fixture.enroll_for_user(user, totp_user=f"account {i}")
            newest_first.insert(0, as_listed(factor, user))
        factors, metadata = client.list_of_user(user)
        assert factors == newest_first[:10]
        assert metadata == {"before": None, "after": newest_first[9]["id"]}

    for order in ("desc", "asc"):

        @step(f"list pages, {order}")
        def _():
            every = newest_first if order == "desc" else newest_first[::-1]
            page = {"limit": 10, "order": order}
            for start in (0, 10, 20, 30):
                factors, metadata = client.list_of_user(user, **page)
                assert factors == every[start : start + 10], f"forward from {start}"
                assert metadata["before"] == (factors[0]["id"] if start else None)
                page["after"] = metadata["after"]
            assert metadata["after"] is None, "there is nothing after the last page"
            page = {"limit": 10, "order": order, "before": metadata["before"]}
            for start in (20, 10, 0):
                factors, metadata = client.list_of_user(user, **page)
                assert factors == every[start : start + 10], f"back to {start}"
                assert metadata["after"] == factors[-1]["id"]
                page["before"] = metadata["before"]
            assert metadata["before"] is None, "there is nothing before the first page"
            ends = {"after": every[4]["id"], "before": every[9]["id"]}
            factors, _ = client.list_of_user(user, order=order, **ends)
            assert factors == every[5:9], "between two cursors"

    @step("list with a bad cursor")
    def _():
        for page, field, code in (
            ({"after": "auth_factor_nonsense"}, "after", "after_invalid_cursor"),
            ({"before": "nonsense"}, "before", "before_invalid_cursor"),
            ({"limit": 101}, "limit", "limit_out_of_range"),
            ({"order": "sideways"}, "order", "order_unsupported"),
        ):
            fixture.refused(422, invalid(field, code), client.list_of_user, user, **page)

    @step("list all pages")
    def _():
        assert client.list_all_of_user(user) == newest_first
        assert client.list_all_of_user(user, order="asc") == newest_first[::-1]

    @step("list 301 factors")
    def _():
        owner = fixture.user()
        assert client.list_of_user(owner, limit=100)[0] == []
        ids = [fixture.enroll_for_user(owner)[0]["id"] for _ in range(301)][::-1]
        listed, page = [], {"limit": 100}
        for size in (100, 100, 100, 1):
            factors, metadata = client.list_of_user(owner, **page)
            assert len(factors) == size
            listed += [factor["id"] for factor in factors]
            page["after"] = metadata["after"]
        assert metadata["after"] is None
        assert listed == ids
        assert [factor["id"] for factor in client.list_all_of_user(owner, limit=100)] == ids

    @step("a deleted factor leaves the list")
    def _():
        owner = fixture.user()
        assert client.list_of_user(owner)[0] == []
        factors = [as_listed(fixture.enroll_for_user(owner)[0], owner) for _ in range(5)][::-1]
        gone = factors.pop(2)
        client.delete_factor(gone["id"])
        assert client.list_of_user(owner)[0] == factors
        if library.has_pages:
            after, _ = client.list_of_user(owner, after=gone["id"])
            assert after == factors[2:], "its id still marks its place"

    @step("list a factor that is not totp")
    def _():
        owner, phone = fixture.user(), fixture.phone()

        def enroll(**fields):
            return client.request("post", "auth/factors/enroll", {**fields, "user_id": owner})

        sms = enroll(type="sms", phone_number=phone)
        assert sms["sms"] == {"phone_number": phone}
        assert client.list_of_user(owner)[0] == [sms]
        generic = enroll(type="generic_otp")
        if library.misreads_generic_otp:
            error = failure_of(client.list_of_user, owner)
            assert type(error).__name__ == "ValidationError", repr(error)
            return "of a user with a generic_otp factor list_auth_factors raises a ValidationError"
        assert client.list_of_user(owner)[0] == [generic, sms]


def as_listed(factor, user):
    """Returns a factor as lists show it: without secret, QR code and URI."""
    names = {name: factor["totp"][name] for name in ("issuer", "user")}
    return {**factor, "user_id": user, "totp": names}
