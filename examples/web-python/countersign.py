"""Checks the settings when the application starts. Without this, the first sign-in would fail."""

import http.client
import sys
import urllib.error
import urllib.request


def get(url, path, **headers):
    with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=10) as reply:
        return reply.read()


def browser_module(url, key):
    """Returns the browser module of Countersign, or ends the program with one line that says what to do."""
    if not url or not key:
        sys.exit("Set COUNTERSIGN_URL and COUNTERSIGN_API_KEY: 'make run' prints both.")
    try:
        get(url, "/user_management/users/user_1/auth_factors", Authorization="Bearer " + key)
        return get(url, "/js/countersign.js")
    except urllib.error.HTTPError as error:
        if error.code == 401:
            sys.exit("Countersign does not accept COUNTERSIGN_API_KEY. Use the key that 'make run' prints.")
        sys.exit(f"Countersign at {url} answers with status {error.code}. Correct COUNTERSIGN_URL.")
    except (OSError, ValueError, http.client.HTTPException):
        sys.exit(f"Countersign does not answer at {url}. Start it with 'make run', or correct COUNTERSIGN_URL.")
