"""`depth --watch` as lines for a terminal of any size: what waits, how the last hour went, what is wrong.

Pure: a document, the figures of the last hour by name, and how large the terminal is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.cli_depth_region_text import alarm_lines, link_lines, until, waiting_line
from workers.cli_depth_text import depth_text
from workers.render import clean, number, plain_table, size, span, when
from workers.sparkline import sparkline, timeline

Series = Mapping[str, Sequence[float | None]]
#: Figures of the last hour that are shown: names of `pipeline.inspection.sampling`.
NAMES = ("goodput_bytes_s", "rtt_ms", "link")
WAITING = ("waiting.urgent", "waiting.control", "waiting.record", "waiting.biometric")
_LABEL = 9


def screen(found: Mapping[str, Any], series: Series, width: int, height: int) -> list[str]:
    """At most `height` lines of at most `width` characters."""
    lines = _region(found, series, width) if found["side"] == "region" else _center(found)
    room = max(1, height)
    alarms = alarm_lines(found)
    if len(lines) + len(alarms) > room:
        kept = max(0, room - len(lines) - 1)
        alarms = [*alarms[:kept], f"! {len(alarms) - kept} more alarms"] if len(alarms) > kept else alarms
    return [clean(line)[: max(1, width)] for line in [*lines, *alarms][:room]]


def _region(found: Mapping[str, Any], series: Series, width: int) -> list[str]:
    throttle = found.get("throttle")
    held = {lane["held"]: None for lane in found["lanes"].values() if lane.get("held")}
    return [
        f"{when(found['at_ms'])}  {waiting_line(found)}",
        f"  {until(found)}",
        "",
        *_lanes(found["lanes"]).splitlines(),
        "",
        *_sparks(found, series, width),
        *link_lines(found),
        *([] if throttle is None else [f"throttle: {throttle['state']}: {throttle['reason']}"]),
        *(f"held: {one}" for one in held),
    ]


def _lanes(lanes: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ["lane", "waiting", "bytes", "in flight", "dead", "oldest", "receipts", "done in"]
    return plain_table(
        heads,
        [
            [
                name,
                number(lane["waiting"]),
                size(lane["waiting_bytes"]),
                number(lane["in_stream"]),
                number(lane["dead"]),
                span(lane["oldest_age_s"]),
                f"{size(lane['rates']['minute']['receipt']['bytes_s'])}/s",
                "-" if not lane["waiting"] else "?" if lane["eta_s"] is None else span(lane["eta_s"]),
            ]
            for name, lane in lanes.items()
        ],
        right=range(1, len(heads)),
    )


def _sparks(found: Mapping[str, Any], series: Series, width: int) -> list[str]:
    link = found["link"]
    base = link.get("base_ms")
    shown = {
        "waiting": (summed([series.get(name, ()) for name in WAITING]), number(found["waiting"])),
        "through": (series.get("goodput_bytes_s", ()), f"{size(link.get('goodput_bytes_s') or 0)}/s"),
        "rtt": (
            series.get("rtt_ms", ()),
            "-" if link.get("rtt_ms") is None else f"{link['rtt_ms']:,.0f} ms over {base or 0:,.0f} ms",
        ),
    }
    room = max(0, min(60, width - _LABEL - 2 - max(len(text) for _, text in shown.values())))
    lines = [f"{name:<{_LABEL}}{sparkline(row, room)}  {text}" for name, (row, text) in shown.items()]
    return [*lines, f"{'link':<{_LABEL}}{timeline(series.get('link', ()), room)}  the last hour", ""]


def summed(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Column by column; not known where none of them is."""
    length = max((len(row) for row in rows), default=0)
    found: list[float | None] = []
    for at in range(length):
        known = [one for row in rows if at < len(row) and (one := row[at]) is not None]
        found.append(sum(known) if known else None)
    return found


def _center(found: Mapping[str, Any]) -> list[str]:
    by_trouble = sorted(found["regions"], key=lambda one: (-(one.get("trouble") or 0), one["region"]))
    text = depth_text({**found, "regions": by_trouble, "alarms": []})
    return [f"{when(found['at_ms'])}  {text.splitlines()[0]}", *text.splitlines()[1:]]
