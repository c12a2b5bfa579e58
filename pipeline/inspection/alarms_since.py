"""Inspection, pure: since when the alarms of a document stand, as the watching process keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: The name of the state in watch.db.
STATE = "alarms"


def with_since(alarms: Sequence[dict[str, Any]], state: Any) -> list[dict[str, Any]]:
    """The same alarms, each with `since_ms`: what the document knows, else since when it has been seen
    (`state`: what `WatchReader.get("alarms")` gives); null where neither is known."""
    since = {one["code"]: one["since_ms"] for one in standing(state)}
    return [
        one if one.get("since_ms") is not None else {**one, "since_ms": since.get(one["code"])}
        for one in alarms
    ]


def standing(state: Any) -> list[dict[str, Any]]:
    """The periods in the state that are not over; of a state that says something else, none."""
    periods = state.get("periods") if isinstance(state, dict) else None
    if not isinstance(periods, list):
        return []
    known = [one for one in periods if isinstance(one, dict) and {"code", "since_ms"} <= one.keys()]
    return [one for one in known if not one.get("over")]
