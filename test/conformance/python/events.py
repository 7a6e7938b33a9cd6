"""Lists events and verifies a delivery with one version of workos:

    PYTHONPATH=libraries/5.46.0 python3 events.py 5.46.0

COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server, and COUNTERSIGN_PLAN is a plan of
../events_test.go, which also has the expected results.
"""

import json
import os
import sys

import libraries
from report import Report
from fixture import failure_of

library, version = libraries.load(sys.argv[1])
client = library(os.environ["COUNTERSIGN_URL"], os.environ["COUNTERSIGN_API_KEY"])
plan = json.loads(os.environ["COUNTERSIGN_PLAN"])
report = Report("workos", version)


def ids_of(page):
    return [event["id"] for event in page["data"]]


def list_events(**options):
    return client.list_events(events=plan["types"], **options)


@report.step("list events")
def _():
    return {"ids": ids_of(list_events(limit=100))}


@report.step("list events page by page")
def _():
    page, ids = list_events(limit=2), []
    while True:
        assert len(page["data"]) <= 2
        ids += ids_of(page)
        after = page["list_metadata"]["after"]
        if after is None:
            return {"ids": ids}
        page = list_events(limit=2, after=after)


@report.step("list events in a range")
def _():
    return {"ids": ids_of(list_events(limit=100, range_start=plan["range_start"], range_end=plan["range_end"]))}


@report.step("list events after an event")
def _():
    return {"ids": ids_of(list_events(limit=100, after=plan["after"]))}


@report.step("list events of an unknown type")
def _():
    error = failure_of(client.list_events, events=[plan["unknown"]])
    assert type(error) is library.error_for(422), repr(error)
    assert error.response.json()["errors"][0]["code"] == "events_unknown_type"


@report.step("verify a delivery")
def _():
    delivery = plan["delivery"]
    body, signature, secret = delivery["body"], delivery["signature"], delivery["secret"]
    event = client.verify_webhook(body, signature, secret)
    altered = body.replace("succeeded", "failed")
    error = failure_of(client.verify_webhook, altered, signature, secret)
    assert type(error) is ValueError, repr(error)
    return {"ids": [event["id"]], "detail": event["data"]["user_id"]}


sys.exit(1 if report.failed else 0)
