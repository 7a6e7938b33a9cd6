"""One-time codes as an authenticator app computes them (RFC 6238)."""

import base64
import hmac
import time

PERIOD = 30  # seconds


def code_at(secret, steps=0):
    """Returns the code of the time step that is steps after the current one."""
    counter = int(time.time()) // PERIOD + steps
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.digest(key, counter.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def wrong_for(secret):
    """Returns a code that is wrong for the secret at all times near now."""
    near = {code_at(secret, steps) for steps in range(-3, 4)}
    return next(code for code in (digit * 6 for digit in "01234567") if code not in near)


def other_than(code):
    """Returns a code other than the given one."""
    return f"{(int(code) + 1) % 1_000_000:06}"
