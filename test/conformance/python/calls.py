"""Makes the calls that it reads, one per line, with one version of the library;
../kinds_test.go documents the form:

    python3 calls.py VERSION
"""

import json
import os
import sys

import libraries

library, version = libraries.load(sys.argv[1])
client = library(os.environ["COUNTERSIGN_URL"], os.environ["COUNTERSIGN_API_KEY"])

calls = {
    "enroll": lambda type: client.enroll_factor(type=type),
    "challenge": lambda id: client.challenge_factor(id),
    "verify": lambda id, code: client.verify_challenge(id, code),
    "post": lambda path, body: client.request("post", path.removeprefix("/"), body),
}


def show(line):
    print(json.dumps(line, default=str), flush=True)


show({"version": version})
for line in sys.stdin:
    name, *args = json.loads(line)
    try:
        show({"value": calls[name](*args)})
    except Exception as error:  # of the library, whose class depends on the version
        show({"error": f"{type(error).__name__}: {error}"})
