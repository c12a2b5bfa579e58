"""Inspection: what a person should look at, from the documents of `depth`: a code, what is, and what to do.

The rules are in `alarms_region` and `alarms_center`; from when on something is an alarm is in the settings
(`[alarms]`). A code stands at most once in a document. docs/alarms.md lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.inspection.alarms_region import region_rules
from pipeline.inspection.refusals import denial, refusal
from pipeline.said import Said, say
from pipeline.settings import AlarmsPart


def refusal_sentence(code: str) -> Said:
    """A refusal of the center in words."""
    return refusal(code).sentence()


def denial_sentence(why: str) -> Said:
    """A denial of the center's broker (`why`: what it said) in words."""
    return say("{sentence} ({why})", "{sentence} ({why})", sentence=denial(why).sentence(), why=why)


def region_alarms(depth: Mapping[str, Any], limits: AlarmsPart | None = None) -> list[dict[str, Any]]:
    """The alarms of a region's document: `code`, `text`, `text_id`, `do`, `do_id`, `level`, `since_ms`."""
    return [one.to_json() for one in region_rules(depth, limits or AlarmsPart())]


def center_alarms(depth: Mapping[str, Any], limits: AlarmsPart | None = None) -> list[dict[str, Any]]:
    """The alarms of a center's document, likewise."""
    from pipeline.inspection.alarms_center import center_rules  # here: a region's `depth` starts quickly

    return [one.to_json() for one in center_rules(depth, limits or AlarmsPart())]
