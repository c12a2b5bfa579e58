"""Inspection, pure: the figures of a document of `depth` as plain values under the names of `metric_names`.

What is not known now is left out, and so is the rest of a group that cannot be read (`titian_left_out` says
which): a scrape never fails as a whole. Times become seconds, `*_ms` of the wall clock `*_timestamp_seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pipeline.inspection import metrics_center, metrics_region
from pipeline.inspection.metric_values import Value, seconds, value

__all__ = ["Value", "values", "without_stores"]

_LEVELS = ("warn", "fail")
_FIGURES = ("counts", "link", "throttle", "history", "center", "reconciled")

Document = Mapping[str, Any]
Group = Callable[[Document], Iterable[Value | None]]


def values(document: Document) -> list[Value]:
    """Every value of that document. It raises nothing that the document could bring about."""
    region = document.get("side") == "region"
    groups: Mapping[str, Group] = metrics_region.GROUPS if region else metrics_center.GROUPS
    found: list[Value] = []
    for name, group in {**_GROUPS, **groups}.items():
        try:
            for one in group(document):  # one by one: what comes before what cannot be read stays
                found += () if one is None else (one,)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            found.append(Value("titian_left_out", (*_who(document), name), 1.0))
    return found


def without_stores(side: str, region: str, titian: str, *, running: bool) -> list[Value]:
    """What can be said of a side whose stores cannot be read."""
    return [
        Value("titian_info", (side, region, titian), 1.0),
        Value("titian_running", (side, region), float(running)),
        Value("titian_stores_readable", (side, region), 0.0),
    ]


def _who(document: Document) -> tuple[str, str]:
    return str(document.get("side") or ""), str(document.get("region") or "")


def _side(document: Document) -> Iterator[Value | None]:
    who = _who(document)
    yield Value("titian_info", (*who, str(document.get("titian") or "")), 1.0)
    yield Value("titian_stores_readable", who, 1.0)
    yield value("titian_look_timestamp_seconds", who, seconds(document.get("at_ms")))
    yield value("titian_running", who, _running(document))


def _running(document: Document) -> bool:
    if document.get("side") == "region":
        return bool(document["link"]["state"] != "not running")
    return bool(document["running"])


def _ages(document: Document) -> Iterator[Value | None]:
    who, ages = _who(document), document.get("ages") or {}
    yield from (value("titian_figure_age_seconds", (*who, name), ages.get(name)) for name in _FIGURES)


def _alarms(document: Document) -> Iterator[Value | None]:
    who = _who(document)
    alarms = {str(one["code"]): one for one in document.get("alarms") or ()}
    for code, one in alarms.items():
        level = one.get("level")
        yield Value("titian_alarm", (*who, code, level if level in _LEVELS else "warn"), 1.0)
        yield value("titian_alarm_since_timestamp_seconds", (*who, code), seconds(one.get("since_ms")))


_GROUPS: Mapping[str, Group] = {"side": _side, "ages": _ages, "alarms": _alarms}
