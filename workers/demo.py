"""`titian demo`: the whole way on one machine: a center, a region, 500 packets, a link that dies half-way."""

from __future__ import annotations

import contextlib
import json as jsonlib
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from workers.both_sides import BothSides, both_sides
from workers.stop_signal import StopSignal

PROFILE = "regency-2m"
WITH_ATTACHMENTS = 20
CUT_S = 5.0
DEADLINE_S = 300.0


def run_demo(json: bool, packets: int, keep: Path | None) -> int:
    """Run the demo; returns the exit code: 0 if every packet arrived once and came back."""
    with contextlib.ExitStack() as stack:
        place = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="titian-demo-")))
        started_s = time.monotonic()
        sides = stack.enter_context(both_sides(place, PROFILE))
        outbox = stack.enter_context(open_outbox(sides.region.path))
        lines = sample_lines(packets, biometrics=min(WITH_ATTACHMENTS, packets))
        sent = [outbox.enqueue(line) for line in lines]
        whole = _watch(sides, packets, started_s, quiet=json)
        summary = {**_counts(sides, started_s), **sides.verdict(sent), "complete": whole}
    if json:
        print(jsonlib.dumps(summary))
    else:
        Console().print(_table(summary, "summary"))
    return 0 if whole and not summary["lost"] and not summary["duplicated"] else 1


def _counts(sides: BothSides, started_s: float) -> dict[str, Any]:
    return {"version": 1, **sides.counts(), "seconds": round(time.monotonic() - started_s, 1)}


def _watch(sides: BothSides, packets: int, started_s: float, *, quiet: bool) -> bool:
    """Look on until everything is back (True) or time is up; the link dies once, half-way."""
    relay, pause, cut = sides.relay, StopSignal(), False
    assert relay is not None
    console = Console(quiet=quiet, stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            now = _counts(sides, started_s)
            if not cut and now["received"] >= packets // 2:
                relay.cut_for(CUT_S)
                cut = True
            if not quiet:
                live.update(_table(now, "link cut" if relay.stats().cut else "link up"), refresh=True)
            if now["validated"] >= packets and now["returned"] >= packets:
                return True
            if now["seconds"] > DEADLINE_S:
                return False
            pause.wait(0.25)


def _table(counts: dict[str, Any], title: str) -> Table:
    table = Table("what", "count", title=title)
    for name, value in counts.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    return table
