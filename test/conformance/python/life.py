"""Runs the complete life of factors against a server with one version of workos:

    PYTHONPATH=libraries/5.46.0 python3 life.py 5.46.0

../README.md documents its environment and its output.
"""

import os
import sys

import libraries
from report import Report
from steps import challenges, factors, refusals, retries, time, users, webhooks
from fixture import Server, Fixture


def server(prefix):
    return Server(
        url=os.environ[prefix + "_URL"],
        key=os.environ[prefix + "_API_KEY"],
        network_url=os.environ[prefix + "_NETWORK_URL"],
    )


library, version = libraries.load(sys.argv[1])
report = Report("workos", version)
fixture = Fixture(library, report, server("COUNTERSIGN"), server("COUNTERSIGN_BRIEF"))
for chapter in (factors, challenges, refusals, users, retries, time, webhooks):
    chapter.run(fixture)
sys.exit(1 if report.failed else 0)
