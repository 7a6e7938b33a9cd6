"""Facts that Schemathesis cannot learn from openapi.yaml, and a report for the test:
how often each operation gave each answer, and the secrets in the answers."""

import atexit
import collections
import itertools
import json
import os

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData
from schemathesis.specs.openapi import stateful

# Refusals of requests that the document allows. They depend on earlier requests, or on
# rules that a schema cannot express.
REFUSED_FOR_ANOTHER_REASON = {
    "idempotency_error": "the key was used before",
    "authentication_challenge_expired": "it is too late",
    "authentication_challenge_previously_verified": "it was verified before",
    "one_time_code_too_many_attempts": "too many codes were wrong before",
    "after_invalid_cursor": "it is the id of another user's factor, or of no event",
    "before_invalid_cursor": "it is the id of another user's factor",
    "factor_id_invalid": "the zero value has the form of an id, but no factor or challenge has it",
    "challenge_id_invalid": "the zero value has the form of an id, but no factor or challenge has it",
    "range_end_before_start": "the two times are in the wrong order",
    "to_out_of_range": "the two times are in the wrong order",
    "from_out_of_range": "the time is in the future",
    "invalid_url": "it is not a URL that the server may call",
    "overlap_seconds_not_a_whole_number": "a schema counts 5.0 as a whole number",
    "receipt_expires_in_not_a_whole_number": "a schema counts 60.0 as a whole number",
    "user_id_too_many_factors": "the user has as many factors as a user may have",
    "origin_unknown": "it is not an origin of the environment",
    "receipt_aud_too_long": "the limit is in bytes",
    "receipt_nonce_too_long": "the limit is in bytes",
    "receipt_action_title_too_long": "the limit is in bytes",
    "receipt_action_details_too_long": "the limit is in bytes",
    "receipt_aud_invalid_characters": "it has control characters",
    "receipt_nonce_invalid_characters": "it has control characters",
    "receipt_action_title_invalid_characters": "it has control characters",
    "receipt_action_details_invalid_characters": "it has control characters",
    "receipt_unsupported": "the challenge registers a passkey",
    "receipts_not_configured": "the server has no public_url",
    "invalid_phone_number": "no country has such numbers",
    "sms_template_has_link": "phones show a part of it as a link",
    "ip_address_invalid": "it is not an address",
    "user_agent_invalid_characters": "it has control characters",
}

# The server limits texts in bytes; schemas limit them in characters.
LIMITS = {"user_id_too_long": 256, "totp_issuer_too_long": 128, "totp_user_too_long": 256, "webauthn_user_too_long": 256}

answers = collections.Counter()
secrets = set()


def begins_scenario(operation, node, produced_anywhere):
    """Let enrollments begin a scenario. By default Schemathesis begins none with an
    enrollment: it assumes that another call must create the user_id first."""
    return operation.method == "post" and operation.path.endswith(("/enroll", "/auth_factors"))


stateful.is_likely_root_transition = begins_scenario


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Hide the proof of a deletion. By its name, Schemathesis would link it with replies about
    challenges, some of which do not tell the id of a factor in their path."""
    delete = raw_schema["paths"]["/auth/factors/{id}"]["delete"]
    delete["parameters"] = [p for p in delete["parameters"] if p.get("name") != "authentication_challenge_id"]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keep a failure, unless the document cannot be more exact."""
    if isinstance(failure, RejectedPositiveData):
        return not refused_for_another_reason(case, response)
    if isinstance(failure, AcceptedNegativeData):
        return not is_no_code(case, response) and not is_no_time(case)
    if isinstance(failure, EnsureResourceAvailability):
        return is_there(response.json().get("entity_id"))
    return True


def refused_for_another_reason(case, response):
    body = response.json()
    codes = [e["code"] for e in body.get("errors", [])] or [body.get("code")]
    return all(code in REFUSED_FOR_ANOTHER_REASON or is_too_many_bytes(case, code) for code in codes)


def is_too_many_bytes(case, code):
    if code not in LIMITS:
        return False
    name = code.removesuffix("_too_long")
    value = case.body.get(name) if isinstance(case.body, dict) and name in case.body else case.path_parameters.get(name)
    return len(value) <= LIMITS[code] < len(value.encode())


def is_no_code(case, response):
    """Any JSON value may be tried as a code. A value that is not a code is not an
    error; the answer is valid false."""
    code = case.body.get("code") if isinstance(case.body, dict) else None
    return (
        case.operation.path.endswith("/verify")
        and code is not None
        and not isinstance(code, str)
        and response.json().get("valid") is False
    )


def is_no_time(case):
    """An empty optional time means the same as an absent one. No format can say so."""
    return isinstance(case.body, dict) and case.operation.path.endswith("/replay") and case.body.get("to") == ""


factor_of = {}  # the id of the factor, by the id of each challenge and each factor
deleted = set()  # ids of factors


def is_there(id):
    """Report whether the server must know an id: it created the id and has not deleted
    the factor since. Schemathesis does not know about ids in bodies, and not that the
    challenges of a factor are deleted with it."""
    return id in factor_of and factor_of[id] not in deleted


@schemathesis.check
def what_was_made_is_found(context, response, case):
    if response.status_code == 404 and is_there(id := response.json().get("entity_id")):
        raise AssertionError(f"{id} was made, not deleted, and is not found")


fresh = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Send the Idempotency-Key of the document's example with only one request. The
    server would refuse all further requests with it."""
    for parameter in case.operation.headers:
        shown = parameter.definition.get("example")
        if shown and case.headers and case.headers.get(parameter.name) == shown:
            case.headers[parameter.name] = f"{shown[:-4]}{next(fresh):04x}"


@schemathesis.hook
def after_call(context, case, response):
    try:
        body = response.json()
    except ValueError:
        body = None
    outcome = ""
    if isinstance(body, dict):
        if "valid" in body:
            outcome = " valid" if body["valid"] else " not valid"
        elif "code" in body:
            outcome = " with a code" if response.status_code == 201 else " " + body["code"]
        remember(body)
    if case.method.upper() == "DELETE" and response.status_code == 204:
        deleted.add(case.path_parameters.get("id"))
    answers[f"{case.method.upper()} {case.operation.path} {response.status_code}{outcome}"] += 1


def remember(value, key=None):
    """Record the secrets, which no log may contain, and the factors and challenges."""
    if isinstance(value, dict):
        if value.get("object") == "authentication_challenge":
            factor_of[value["id"]] = value["authentication_factor_id"]
        elif value.get("object") == "authentication_factor":
            factor_of[value["id"]] = value["id"]
        for k, v in value.items():
            remember(v, k)
    elif isinstance(value, list):
        for v in value:
            remember(v)
    elif isinstance(value, str):
        if key in ("secret", "uri", "phone_number") or key == "code" and value.isdigit():
            secrets.add(value)


@atexit.register
def report():
    with open(os.environ["COUNTERSIGN_FUZZ_REPORT"], "w", encoding="utf-8") as file:
        json.dump({"answers": answers, "secrets": sorted(secrets)}, file)
