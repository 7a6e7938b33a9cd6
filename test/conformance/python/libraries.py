"""The tested generations of the library workos, and their differences.

A client is made from a URL and an API key. It offers the calls of the library under
the same names in all generations, and returns replies as dictionaries. steps/ checks
the common behavior.
"""

from importlib.metadata import version

import workos

from report import Skip
from fixture import failure_of

NO_CALL = "has no call for it"
NO_LISTS = "has no lists of a user's factors"
NO_PAGES = "shows only the first ten factors"

# Generations 4 and 5 require the id of a client, but do not send it with these calls.
CLIENT_ID = "client_01FVYZ5QM8N98T9ME5BCB2BBMJ"


class Library:
    """The properties of a generation that steps/ needs. The defaults describe the newest."""

    # The library's own errors by status. Some generations use one error for all other
    # statuses below 500.
    errors = {
        400: "BadRequestError",
        401: "AuthenticationError",
        404: "NotFoundError",
        422: "UnprocessableEntityError",
        429: "RateLimitExceededError",
    }
    error_has = ["message", "code", "errors"]  # parts of the body that are attributes
    error_has_retry_after = True  # the error shows the header
    lost_error = None  # its error when the network fails; None if it tries again

    # The input that it refuses to send, and its error for each.
    declines = {"no type": TypeError}

    misreads_generic_otp = False  # it cannot read factors of that type
    hides_code = False  # it does not show the code of a challenge of such a factor
    hides_user_id = False  # it does not show the user of a factor

    has_get_and_delete = True
    has_users = True
    has_pages = True  # it can request further pages of a list
    deprecated_verify_path = None  # the path of its deprecated call
    accepts_forgeries = False  # it accepts webhooks with a wrong signature

    @classmethod
    def error_for(cls, status):
        name = cls.errors.get(status) or cls.errors["others"]
        # Up to generation 5 the errors are in a separate module.
        return getattr(getattr(workos, "exceptions", workos), name)


class Workos1(Library):
    """Version 1.12: functions of modules, with global settings."""

    errors = {401: "AuthenticationException", "others": "BadRequestException"}
    error_has = ["message"]
    error_has_retry_after = False
    lost_error = "requests.exceptions.ConnectionError"
    declines = {
        "no type": ValueError,
        "unknown type": ValueError,
        "generic_otp": ValueError,
        "no names": ValueError,
        "no phone number": ValueError,
    }
    hides_user_id = True
    has_get_and_delete = False
    has_users = False
    has_pages = False
    deprecated_verify_path = "/auth/factors/verify"
    accepts_forgeries = True

    def __init__(self, url, key, patient=True):
        self._settings = {"api_key": key, "client_id": CLIENT_ID, "base_api_url": url + "/"}
        self._client = type(workos.client)()

    @property
    def _workos(self):
        # A client keeps the URL of its first call, but each call uses the current key.
        for name, value in self._settings.items():
            setattr(workos, name, value)
        return self._client

    def enroll_factor(self, **fields):
        return without_none(self._workos.mfa.enroll_factor(**fields))

    def get_factor(self, id):
        lacks(self._workos.mfa, "get_factor", NO_CALL)

    def delete_factor(self, id):
        lacks(self._workos.mfa, "delete_factor", NO_CALL)

    def challenge_factor(self, id, **fields):
        return without_none(
            self._workos.mfa.challenge_factor(authentication_factor_id=id, **fields)
        )

    def verify_challenge(self, id, code):
        # Its only call is the call that later generations deprecate.
        return self.verify_by_deprecated(id, code)

    def verify_by_deprecated(self, id, code):
        return self._workos.mfa.verify_factor(authentication_challenge_id=id, code=code)

    def enroll_for_user(self, user_id, **fields):
        lacks(self._workos, "user_management", NO_CALL)

    def list_of_user(self, user_id, **page):
        lacks(self._workos, "user_management", NO_LISTS)

    def list_all_of_user(self, user_id, **page):
        lacks(self._workos, "user_management", NO_LISTS)

    def verify_webhook(self, body, signature, secret):
        return self._workos.webhooks.verify_event(body, signature, secret)

    def enroll_with_key(self, key, **fields):
        # Its calls accept no idempotency key, but its HTTP client accepts headers.
        return self.request("post", "auth/factors/enroll", fields, {"Idempotency-Key": key})

    def request(self, method, path, body=None, headers=None):
        """Sends a request that the library has no call for, by the library's HTTP client."""
        helper = self._workos.mfa.request_helper
        return without_state(
            helper.request(
                path, method=method, params=body, headers=headers, token=workos.api_key
            )
        )


class Workos4(Workos1):
    """Versions up to 4: the same, with more calls."""

    errors = {**Workos1.errors, 404: "NotFoundException"}
    error_has = Library.error_has
    hides_code = True
    has_get_and_delete = True
    has_users = True
    accepts_forgeries = False
    deprecated_verify_path = "/auth/challenges/{id}/verify"

    def get_factor(self, id):
        return without_none(self._workos.mfa.get_factor(id))

    def delete_factor(self, id):
        return self._workos.mfa.delete_factor(id)

    def verify_challenge(self, id, code):
        return self._workos.mfa.verify_challenge(authentication_challenge_id=id, code=code)

    def enroll_for_user(self, user_id, **fields):
        made = self._workos.user_management.enroll_auth_factor(user_id, **fields)
        return {name: without_none(value) for name, value in made.items()}

    def list_of_user(self, user_id, **page):
        if page:
            call = self._workos.user_management.list_auth_factors
            assert type(failure_of(call, user_id, **page)) is TypeError
            raise Skip(NO_PAGES)
        listed = self._workos.user_management.list_auth_factors(user_id)
        return [without_state(factor) for factor in listed.data], listed.list_metadata

    def list_all_of_user(self, user_id, **page):
        listed = self._workos.user_management.list_auth_factors(user_id)
        # Its iteration fails: it reads an order that the caller did not give.
        assert type(failure_of(list, listed.auto_paging_iter())) is KeyError
        raise Skip(NO_PAGES)

    def list_events(self, **filters):
        return self._workos.events.list_events(**filters)

    def verify_webhook(self, body, signature, secret):
        return super().verify_webhook(body.encode(), signature, secret)


class Workos5(Library):
    """Version 5: client objects, and replies as pydantic models."""

    errors = Workos4.errors
    error_has_retry_after = False
    lost_error = "httpx.RemoteProtocolError"
    declines = {"no type": TypeError, "no names": ValueError, "no phone number": ValueError}
    misreads_generic_otp = True

    def __init__(self, url, key, patient=True):
        from workos.utils.http_client import SyncHTTPClient  # no other generation has it

        self._workos = workos.WorkOSClient(api_key=key, client_id=CLIENT_ID, base_url=url)
        self._http = SyncHTTPClient(
            api_key=key,
            client_id=CLIENT_ID,
            base_url=self._workos.base_url,
            version=version("workos"),
        )

    def enroll_factor(self, **fields):
        return sent(self._workos.mfa.enroll_factor(**fields))

    def get_factor(self, id):
        return sent(self._workos.mfa.get_factor(id))

    def delete_factor(self, id):
        return self._workos.mfa.delete_factor(id)

    def challenge_factor(self, id, **fields):
        return sent(self._workos.mfa.challenge_factor(authentication_factor_id=id, **fields))

    def verify_challenge(self, id, code):
        return sent(self._workos.mfa.verify_challenge(authentication_challenge_id=id, code=code))

    def verify_by_deprecated(self, id, code):
        lacks(self._workos.mfa, "verify_factor", NO_CALL)

    def enroll_for_user(self, user_id, **fields):
        return sent(self._workos.user_management.enroll_auth_factor(user_id=user_id, **fields))

    def list_of_user(self, user_id, **page):
        listed = self._workos.user_management.list_auth_factors(user_id=user_id, **page)
        return [sent(factor) for factor in listed.data], listed.list_metadata.model_dump()

    def list_all_of_user(self, user_id, **page):
        listed = self._workos.user_management.list_auth_factors(user_id=user_id, **page)
        return [sent(factor) for factor in listed]

    def list_events(self, **filters):
        return self._workos.events.list_events(**filters).model_dump()

    def verify_webhook(self, body, signature, secret):
        event = self._workos.webhooks.verify_event(
            event_body=body.encode(), event_signature=signature, secret=secret
        )
        return event.model_dump()

    def enroll_with_key(self, key, **fields):
        return self.request("post", "auth/factors/enroll", fields, {"Idempotency-Key": key})

    def request(self, method, path, body=None, headers=None):
        """Sends a request that the library has no call for, by the library's HTTP client."""
        return without_state(self._http.request(path, method=method, json=body, headers=headers))


class Workos10(Library):
    """Versions from 6: generated clients, which retry."""

    def __init__(self, url, key, patient=True):
        retries = {} if patient else {"max_retries": 0}
        self._workos = workos.WorkOSClient(api_key=key, base_url=url, **retries)
        self._mfa = self._workos.multi_factor_auth

    def enroll_factor(self, **fields):
        return self._mfa.enroll_factor(**fields).to_dict()

    def get_factor(self, id):
        return self._mfa.get_factor(id).to_dict()

    def delete_factor(self, id):
        return self._mfa.delete_factor(id)

    def challenge_factor(self, id, **fields):
        return self._mfa.challenge_factor(id, **fields).to_dict()

    def verify_challenge(self, id, code):
        return self._mfa.verify_challenge(id, code=code).to_dict()

    def verify_by_deprecated(self, id, code):
        lacks(self._mfa, "verify_factor", NO_CALL)

    def enroll_for_user(self, user_id, **fields):
        return self._mfa.create_user_auth_factor(user_id, **fields).to_dict()

    def list_of_user(self, user_id, **page):
        listed = self._mfa.list_user_auth_factors(user_id, **page)
        metadata = {"before": listed.before, "after": listed.after}
        return [factor.to_dict() for factor in listed.data], metadata

    def list_all_of_user(self, user_id, **page):
        listed = self._mfa.list_user_auth_factors(user_id, **page)
        return [factor.to_dict() for factor in listed.auto_paging_iter()]

    def list_events(self, **filters):
        listed = self._workos.events.list_events(**filters)
        metadata = {"before": listed.before, "after": listed.after}
        return {"data": [event.to_dict() for event in listed.data], "list_metadata": metadata}

    def verify_webhook(self, body, signature, secret):
        event = self._workos.webhooks.verify_event(
            event_body=body, event_signature=signature, secret=secret
        )
        return event.to_dict()

    def enroll_with_key(self, key, **fields):
        return self._mfa.enroll_factor(**fields, request_options={"idempotency_key": key}).to_dict()

    def request(self, method, path, body=None):
        """Sends a request that the library has no call for."""
        return without_state(self._workos.request(method, path.split("/"), body=body))


def lacks(part, name, why):
    """Skips a step because a part of the library lacks a name."""
    assert not hasattr(part, name), name
    raise Skip(why)


def without_none(fields):
    """Returns the fields of the reply: the library sets missing fields to None."""
    fields = without_state(fields)
    return {name: value for name, value in fields.items() if value is not None}


def without_state(reply):
    """Returns a factor without its state, which WorkOS does not have and which changes. Typed
    libraries leave it out."""
    if isinstance(reply, dict) and reply.get("object") == "authentication_factor":
        return {k: v for k, v in reply.items() if k not in ("status", "last_used_at")}
    return reply


def sent(model):
    """Returns the fields of a model that the reply contained."""
    return model.model_dump(exclude_unset=True)


def load(wanted):
    """Returns the installed generation and its version."""
    installed = version("workos")
    if installed != wanted:
        raise SystemExit(f"workos {installed} is installed here; want {wanted}")
    generations = {1: Workos1, 4: Workos4, 5: Workos5, 10: Workos10}
    return generations[int(installed.split(".")[0])], installed
