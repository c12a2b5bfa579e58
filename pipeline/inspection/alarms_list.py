"""Inspection, pure: the document of `titian alarms`: what stands, since when, what to do, who was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.inspection.alarms_since import standing, with_since

VERSION = 1


def alarms_json(
    depth: Mapping[str, Any], state: Any, sinks: Sequence[str], *, watching: bool
) -> dict[str, Any]:
    """Of the document of `depth` and what the watching process keeps (`state`). `told` has, by sink, when it
    heard of it last (null: not yet), `failed` how often it could not be reached since. `watching`: whether
    anybody tells at all."""
    kept = {one["code"]: one for one in standing(state)}
    return {
        "version": VERSION,
        "side": depth["side"],
        "region": depth.get("region", ""),
        "at_ms": depth["at_ms"],
        "watching": watching,
        "alarms": [
            {**one, "told": _told(kept, one, sinks), "failed": _failed(kept, one, sinks)}
            for one in with_since(depth["alarms"], state)
        ],
    }


def _told(kept: Mapping[str, Any], alarm: Mapping[str, Any], sinks: Sequence[str]) -> dict[str, int | None]:
    return {name: _sink(kept, alarm, name).get("told_ms") or None for name in sinks}


def _failed(kept: Mapping[str, Any], alarm: Mapping[str, Any], sinks: Sequence[str]) -> dict[str, int]:
    return {name: int(_sink(kept, alarm, name).get("failed") or 0) for name in sinks}


def _sink(kept: Mapping[str, Any], alarm: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (kept.get(alarm["code"]) or {}).get("sinks", {}).get(name, {})
    return found
