"""Webhooks. The library verifies their signatures."""

import json

from report import Skip
from fixture import failure_of


def run(fixture):
    verify = fixture.client.verify_webhook

    @fixture.report.step("webhook signature")
    def _():
        delivery = fixture.server.delivery()
        secret, body, signature = delivery["secret"], delivery["body"], delivery["signature"]
        event, want = verify(body, signature, secret), json.loads(body)
        for name in ("id", "event", "created_at"):
            assert event[name] == want[name]
        assert {**event["data"]} == want["data"]

        def refuses(body, signature):
            error = failure_of(verify, body, signature, secret)
            assert type(error) is ValueError, repr(error)

        refuses(body, delivery["stale"])
        refuses(body, signature + "0")
        altered = body.replace("user@example.com", "mallory@example.com")
        if fixture.library.accepts_forgeries:
            assert verify(altered, signature, secret)["data"]["email"] == "mallory@example.com"
            verify(body, delivery["forged"], secret)
            raise Skip("accepts forged webhooks: do not rely on it")
        refuses(altered, signature)
        refuses(body, delivery["forged"])
