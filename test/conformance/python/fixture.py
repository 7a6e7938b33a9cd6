"""The environment of the steps: one library, connected to two servers."""

import json
import re
import time
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from datetime import datetime

from report import Skip

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Server:
    """A server, and the network in front of it, which fails on request."""

    url: str
    key: str
    network_url: str

    def messages(self, to):
        """Returns the inbox for a number, newest first."""
        return fetch(f"{self.url}/dev/inbox?to={urllib.parse.quote(to)}")["messages"]

    def lose(self, what):
        """Makes the network lose the next "reply" or "request"."""
        fetch(f"{self.network_url}/-/lose-{what}", b"")

    def tries(self):
        """Returns the requests over the network since the last call of lose."""
        return fetch(self.network_url + "/-/tries")

    def delivery(self):
        """Returns a webhook as a receiver gets it, and wrong signatures."""
        return fetch(self.network_url + "/-/webhook")


def fetch(url, body=None):
    request = urllib.request.Request(url, data=body, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


class Fixture:
    """At brief, challenges expire at once, and one number may receive a message every second."""

    def __init__(self, library, report, server, brief):
        self.library = library
        self.report = report
        self.server = server
        self.brief = brief
        self.client = library(server.url, server.key)
        self.far = library(server.network_url, server.key)
        self.at_brief = library(brief.url, brief.key)
        self._phones = 0
        report.secrets(server.key, brief.key)

    def phone(self):
        """Returns a fictional number that has not received a message yet.

        A number receives one message in 30 seconds, so every message needs a new number.
        """
        number = f"+1202555{100 + self._phones:04}"
        self._phones += 1
        self.report.secrets(number)
        return number

    def user(self):
        return f"user_{uuid.uuid4()}"

    def enroll_totp(self, client=None):
        """Returns a new factor whose codes the steps can compute."""
        factor = (client or self.client).enroll_factor(
            type="totp", totp_issuer="Foo Corp", totp_user="user@example.com"
        )
        self.report.secrets(factor["totp"]["secret"])
        return factor

    def enroll_sms(self, phone=None):
        return self.client.enroll_factor(type="sms", phone_number=phone or self.phone())

    def enroll_generic_otp(self, client=None):
        """Returns a new factor, without the library if it cannot enroll one."""
        client = client or self.client
        if "generic_otp" in self.library.declines or self.library.misreads_generic_otp:
            return client.request("post", "auth/factors/enroll", {"type": "generic_otp"})
        return client.enroll_factor(type="generic_otp")

    def challenge_generic_otp(self, factor, client=None):
        """Returns a new challenge with its code, without the library if it hides the code."""
        client = client or self.client
        if self.library.hides_code:
            challenge = client.request("post", f"auth/factors/{factor['id']}/challenge", {})
        else:
            challenge = client.challenge_factor(factor["id"])
        self.report.secrets(challenge["code"])
        return challenge

    def enroll_for_user(self, user, client=None, **fields):
        """Returns a new TOTP factor of a user, and its challenge."""
        made = (client or self.client).enroll_for_user(user, type="totp", **fields)
        factor = made["authentication_factor"]
        self.report.secrets(factor["totp"]["secret"])
        return factor, made["authentication_challenge"]

    def code_for(self, phone):
        """Returns the code of the only message to a number."""
        messages = self.server.messages(phone)
        self.report.secrets(*(message["code"] for message in messages))
        assert len(messages) == 1, f"{len(messages)} messages to one number"
        assert re.fullmatch(r"\d{6}", messages[0]["code"])
        return messages[0]["code"]

    def refused(self, status, body, call, *args, **kwargs):
        """Checks that a call fails with the library's own error for a status.

        The body of the reply must agree with body. Returns the error.
        """
        error = failure_of(call, *args, **kwargs)
        want = self.library.error_for(status)
        assert type(error) is want, f"it raised {error!r}; want {want.__name__}"
        said = error.response.json()
        assert error.response.status_code == status
        assert agrees(said, body), f"it said {said}; want {body}"
        for name in self.library.error_has:
            assert getattr(error, name) == said.get(name), name
        assert UUID.fullmatch(error.request_id), error.request_id
        return error

    def declined(self, what, call, *args, **kwargs):
        """Reports whether the library itself refuses to send something, and checks its error."""
        if what not in self.library.declines:
            return False
        error = failure_of(call, *args, **kwargs)
        assert type(error) is self.library.declines[what], repr(error)
        return True


# The bodies of refusals; see agrees for the meaning of types and ranges.

TOO_MANY_ATTEMPTS = {
    "code": "one_time_code_too_many_attempts",
    "message": "Request could not be processed.",
}
TOO_MANY_FAILURES = {**TOO_MANY_ATTEMPTS, "retry_after": range(1, 31)}
TOO_MANY_MESSAGES = {
    "code": "sms_challenge_rate_limited",
    "message": "Too many messages to this phone number. Try again later.",
    "retry_after": range(1, 31),
}


def not_found(id, what="Factor"):
    return {
        "code": "entity_not_found",
        "message": f"Authentication {what} not found: '{id}'.",
        "entity_id": id,
    }


def previously_verified(id):
    return {
        "code": "authentication_challenge_previously_verified",
        "message": f"The authentication challenge '{id}' has already been verified.",
    }


def expired(id):
    return {
        "code": "authentication_challenge_expired",
        "message": f"The authentication challenge '{id}' has expired.",
    }


def invalid(field, code):
    return {
        "code": "invalid_request_parameters",
        "message": "Validation failed",
        "errors": [{"field": field, "code": code, "message": str}],
    }


def agrees(said, want):
    """Compares a reply. A wanted type matches all its values, a range all its numbers."""
    if isinstance(want, type):
        return isinstance(said, want)
    if isinstance(want, range):
        return said in want
    if isinstance(want, dict):
        return said.keys() == want.keys() and all(agrees(said[key], want[key]) for key in want)
    if isinstance(want, list):
        return len(said) == len(want) and all(map(agrees, said, want))
    return said == want


def failure_of(call, *args, **kwargs):
    """Returns the exception that a call raises."""
    try:
        result = call(*args, **kwargs)
    except Skip:
        raise
    except Exception as error:
        return error
    raise AssertionError(f"the call succeeded, with {result!r}")


def moment(text):
    """Returns the time in a field of a reply."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text), text
    return datetime.fromisoformat(text)


def wait_until(when):
    """Waits for a time. The server uses the clock of the same machine."""
    while (left := when.timestamp() - time.time()) >= 0:
        time.sleep(left + 0.001)
