"""Both sides on one machine, a load of records through them: rate, CPU, memory, bytes on the link.

`python -m tests.benchmarks.there_and_back [RECORDS] [PROFILE]`; no profile: they speak directly.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from tests.benchmarks.figures import processes
from workers.both_sides import BothSides, both_sides
from workers.looking import ledger_place

DEADLINE_S = 900.0


def drained(sides: BothSides, count: int) -> dict[str, Any]:
    """Record `count` packets at once while both sides run and wait for all; how long each part took."""
    load = list(sample_lines(count, seed=77))
    began, own_s = time.monotonic(), time.process_time()
    with open_outbox(sides.region.path) as outbox:
        outbox.enqueue_many(load)
    found: dict[str, Any] = {
        "enqueued_s": time.monotonic() - began,
        "producer_cpu_s": time.process_time() - own_s,
    }
    ledger = LedgerReader.open(ledger_place(sides.center))
    while "received_s" not in found:
        there, now = ledger.counts().received, time.monotonic()
        if there and "first" not in found:
            found["first"], found["first_s"] = there, now - began
        if there >= count:
            found["received_s"] = now - began
        elif now - began > DEADLINE_S:
            raise SystemExit(f"only {there} of {count} arrived within {DEADLINE_S:.0f} s")
        time.sleep(0.02)
    while sides.counts()["returned"] < count:
        if time.monotonic() - began > DEADLINE_S:
            raise SystemExit(f"not all came back within {DEADLINE_S:.0f} s: {sides.counts()}")
        time.sleep(0.05)
    found["returned_s"] = time.monotonic() - began
    return found


def idle(sides: BothSides) -> None:
    """Wait until both sides run and one packet went there and back."""
    with open_outbox(sides.region.path) as outbox:
        outbox.enqueue_many(list(sample_lines(1, seed=5)))
    while sides.counts()["returned"] < 1:
        time.sleep(0.1)
    time.sleep(1.5)


def measured(count: int, profile: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as name, both_sides(Path(name), profile) as sides:
        idle(sides)
        before, bytes_before = processes(sides), sides.counts()
        found = drained(sides, count)
        after, bytes_after = processes(sides), sides.counts()
    cpu = {role: round(one.cpu_s - before[role].cpu_s, 2) for role, one in after.items() if role in before}
    found["cpu_s"] = cpu
    found["cpu_total_s"] = round(sum(cpu.values()) + found["producer_cpu_s"], 2)
    found["peak_mib"] = {role: one.peak_mib for role, one in after.items()}
    found["link_bytes"] = sum(bytes_after[n] - bytes_before[n] for n in ("link_bytes_up", "link_bytes_down"))
    return found


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(measured(count, sys.argv[2] if len(sys.argv) > 2 else None))
