"""Inspection, pure: a side in one sentence: what waits, since when, why, and until when.

The console shows it first, and reads it out when it changes. Of a document of `titian depth`; names that
an older document lacks are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from workers.console.figures import Figures
from workers.console.words import LANGUAGES, words

Level = Literal["ok", "warn", "fail"]


class Headline(NamedTuple):
    """The sentence, how bad it is, and its `key`: while that stays, only figures in it have moved."""

    text: str
    level: Level
    key: str


def headline(document: Mapping[str, Any], language: str) -> Headline:
    """Of either side's document."""
    make = _region if document["side"] == "region" else _center
    text, key = make(document, words(language), Figures(language))
    return Headline(text, level(document), key)


def level(document: Mapping[str, Any]) -> Level:
    """The worst of its alarms."""
    levels = {one.get("level", "warn") for one in document["alarms"]}
    return "fail" if "fail" in levels else "warn" if levels else "ok"


def _region(document: Mapping[str, Any], say: Mapping[str, str], show: Figures) -> tuple[str, str]:
    if not document["waiting"]:
        n = document["unverdicted"]
        rest = say["head.only_verdict"].format(n=show.number(n)) if n else say["head.none"]
        return rest, f"empty {bool(n)}"
    oldest = document.get("oldest_ms")
    age_s = None if oldest is None else max(0, document["at_ms"] - oldest) / 1000
    what = say["head.waiting" if age_s is not None else "head.waiting_no_age"].format(
        n=show.number(document["waiting"]), size=show.size(document["waiting_bytes"]), age=show.span(age_s)
    )
    key, why = region_why(document, say, show)
    return f"{what}; {why}; {_until(document, say, show)}.", key


def region_why(document: Mapping[str, Any], say: Mapping[str, str], show: Figures) -> tuple[str, str]:
    """(key, clause): why it does not all go at once."""
    link, lanes = document["link"], document["lanes"]
    held = [label for label, lane in lanes.items() if lane["waiting"] and is_kept(lanes, label)]
    free = [label for label, lane in lanes.items() if lane["waiting"] and label not in held]
    throttle = document.get("throttle") or {}
    for name in ("superseded", "refusal", "denied"):
        if link.get(name):
            return name, say[f"why.{name}"]
    if link["state"] != "up":
        key = f"link.{link['state']}"
        return key, say[f"why.{link['state']}"].format(age=show.span(link.get("down_for_s") or link["age_s"]))
    if document.get("in_doubt"):
        return "in_doubt", say["why.in_doubt"]
    if link.get("held_for_s"):
        return "center", say["why.center"].format(age=show.span(link["held_for_s"]))
    names = ", ".join(say[f"lane.{label}"] for label in held)
    if held and not free:
        return f"held {names}", say["why.held"].format(lanes=names) + _opens(document, held, say, show)
    speed = show.speed(document["rates"]["minute"]["out"]["bytes_s"])
    but = say["why.but_held"].format(lanes=names) + _opens(document, held, say, show) if held else ""
    reason = "yield" if throttle.get("state") == "yield" else "moving"
    return f"{reason} {names}", say[f"why.{reason}"].format(speed=speed) + but


def is_kept(lanes: Mapping[str, Any], lane: str) -> bool:
    """Whether a lane stands still; what is `held` may also say that it only goes slower."""
    held = str((lanes.get(lane) or {}).get("held") or "")
    return bool(held) and not held.startswith(f"lane {lane} is capped")


def _opens(document: Mapping[str, Any], held: list[str], say: Mapping[str, str], show: Figures) -> str:
    opens = [document["lanes"][label].get("opens_ms") for label in held]
    known = [at_ms for at_ms in opens if at_ms is not None]
    if not known:
        return ""
    return say["why.opens"].format(time=show.clock(min(known), document["at_ms"]))


def _until(document: Mapping[str, Any], say: Mapping[str, str], show: Figures) -> str:
    eta_s = document.get("eta_s")
    if eta_s is None:
        return say["head.no_end"]
    at = show.clock(document["at_ms"] + eta_s * 1000, document["at_ms"])
    return say["head.end"].format(age=show.span(eta_s), time=at)


def _center(document: Mapping[str, Any], say: Mapping[str, str], show: Figures) -> tuple[str, str]:
    n, oldest = document["unverdicted"], document["oldest_unverdicted_ms"]
    if not document["running"]:
        waiting = say["head.center_stopped"]
    elif not n:
        waiting = say["head.center_none"]
    else:
        age_s = None if oldest is None else max(0, document["at_ms"] - oldest) / 1000
        waiting = say["head.center_waiting"].format(n=show.number(n), age=show.span(age_s))
    bad = sorted((one for one in document["regions"] if one.get("trouble")), key=lambda one: -one["trouble"])
    if not bad:
        regions = say["head.regions_fine"].format(of=show.number(len(document["regions"])))
    else:
        regions = say["head.regions_bad"].format(
            n=show.number(len(bad)), of=show.number(len(document["regions"])), code=bad[0]["region"]
        )
    return f"{waiting}; {regions}.", f"{bool(n)} {document['running']} {[one['region'] for one in bad[:1]]}"


def headlines(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The same in every language, as JSON."""
    return {language: headline(document, language)._asdict() for language in LANGUAGES}
