"""Inspection, pure: the history of a packet as a region knows it: each step with its time and its place.

Places are those of the packet's way: `office outbox`, `link`, `center ledger`, `center validation`. What the
center decided has the time at which its word was settled here; its own clock's time is known at the center.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.adapters.outbox_reader import Event
from schemas.verdicts import Status

OUTBOX, LINK, LEDGER, VALIDATION = "office outbox", "link", "center ledger", "center validation"
_PLACES = {"sent": LINK, "requeued": LINK, "announced": LINK, "fork": LEDGER, "not resendable": LEDGER}


def place_of(what: str) -> str:
    """Where something happens to a packet."""
    if what in Status.__members__:
        at_ledger = (Status.RECEIVED_AT_CENTRAL, Status.REFUSED)
        return LEDGER if Status[what] in at_ledger else VALIDATION
    return _PLACES.get(what, OUTBOX)


def history_json(recorded_ms: int, events: Sequence[Event]) -> list[dict[str, Any]]:
    """The steps, oldest first: `at_ms`, `what`, `place`, `detail`. What is older than the events
    that are kept begins with when it was recorded."""
    steps = [
        {"at_ms": one.at_ms, "what": one.what, "place": place_of(one.what), "detail": one.detail}
        for one in events
    ]
    if not any(one.what == "enqueued" for one in events):
        steps.insert(0, {"at_ms": recorded_ms, "what": "recorded", "place": OUTBOX, "detail": ""})
    return steps
