"""The center's regions as a table for people: `depth` at the center, and `regions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.inspection.trouble import worst_first
from workers.cli_hold import held_text
from workers.render import clean, number, plain_table, size, span

_COUNTS = (
    ("received", "received"),
    ("unverdicted", "no verdict"),
    ("waiting", "in part"),
    ("announced", "announced"),
    ("dead", "refused"),
    ("records", "records"),
)


def regions_text(regions: Sequence[dict[str, Any]]) -> str:
    """One line a region, the one that needs a look first; below, who is held."""
    heads = [
        "region",
        "state",
        *(head for _, head in _COUNTS),
        "there",
        "lag",
        "link",
        "last heard",
        "version",
    ]
    rows = [_row(one) for one in worst_first(list(regions))]
    held = [f"region {one['region']} {held_text(one['held'])}" for one in regions if one["held"]]
    return "\n".join([plain_table([*heads, "trouble"], rows, right=range(2, 10)), *held])


def link_text(health: Mapping[str, Any] | None) -> str:
    """A region's link by its own words: what arrives, its round trip (and without a queue), cuts today."""
    if health is None or health["rtt_ms"] is None:
        return "-"
    base = "" if health["base_ms"] is None else f"/{health['base_ms']:,}"
    cuts = f", {number(health['cuts_today'])} cuts" if health["cuts_today"] else ""
    return f"{size(health['goodput_bytes_s'])}/s, {health['rtt_ms']:,}{base} ms{cuts}"


def _row(one: Mapping[str, Any]) -> list[str]:
    return [
        one["region"],
        one["state"],
        *(number(one[name]) for name, _ in _COUNTS),
        "-" if one["health"] is None else number(one["health"]["waiting"]),
        span(one["lag_s"]),
        link_text(one["health"]),
        "never" if one["last_seen_s"] is None else f"{span(one['last_seen_s'])} ago",
        clean(one["titian"]) or "-",
        clean(one["trouble_why"]),
    ]
