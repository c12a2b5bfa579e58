"""Inspection, pure: which figures of a document are kept over time, and when the link or the throttle turned.

Names of figures: `waiting.LANE` (packets without a receipt), `waiting_bytes.LANE`, `unverdicted`, `dead`,
`rtt_ms`, `base_ms`, `queue_ms`, `window_bytes`, `rate_bytes_s`, `level_bytes`, `goodput_bytes_s`,
`cap_bytes_s` (what people allow all lanes together), `link` (1 up, 0 down), `return_lag_s`, `free_bytes`,
`eta_s`; at the center `unverdicted`, `incomplete`, `quarantined`, `announced`, `regions_silent`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_CENTER = {
    "unverdicted": "unverdicted",
    "waiting": "incomplete",
    "quarantined": "quarantined",
    "announced": "announced",
    "silent": "regions_silent",
}


def samples(document: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a document of `depth` that are kept; what is not known now is left out."""
    found = _region(document) if document["side"] == "region" else _center(document)
    return {name: float(value) for name, value in found if isinstance(value, int | float)}


def _region(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for label, lane in document["lanes"].items():
        yield f"waiting.{label}", lane["waiting"]
        yield f"waiting_bytes.{label}", lane["waiting_bytes"]
    yield from ((name, document.get(name)) for name in ("unverdicted", "dead", "eta_s"))
    throttle = document.get("throttle") or {}
    for name in ("rtt_ms", "base_ms", "queue_ms", "window_bytes", "rate_bytes_s"):
        yield name, throttle.get(name)
    yield "level_bytes", (document.get("way_back") or {}).get("window_bytes")
    yield "goodput_bytes_s", document["link"].get("goodput_bytes_s")
    yield "cap_bytes_s", document.get("cap_bytes_s")
    yield "link", {"up": 1.0, "down": 0.0}.get(document["link"]["state"])
    yield "return_lag_s", (document.get("return") or {}).get("lag_s")
    yield "free_bytes", document["runway"]["free_bytes"]


def _center(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((ours, document.get(theirs)) for theirs, ours in _CENTER.items())


class Turns:
    """What turned between one document and the next. `state` is kept over restarts of the process."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state: dict[str, Any] = dict(state)

    def saw(self, document: Mapping[str, Any]) -> list[tuple[int, str, str]]:
        """`(at_ms, what, detail)` of each turn since the document before."""
        found: list[tuple[int, str, str]] = []
        if document["side"] != "region":
            return found
        at_ms, link = int(document["at_ms"]), document["link"]
        state = link["state"]
        if state in ("up", "down") and state != self.state.get("link"):
            self.state["link"] = state
            found.append((int(link.get("since_ms") or at_ms), f"link {state}", ""))
        throttle = (document.get("throttle") or {}).get("state")
        if throttle and throttle != self.state.get("throttle"):
            self.state["throttle"] = throttle
            found.append((at_ms, "throttle", str(throttle)))
        return found
