"""Load `urgent`: how long one urgent packet takes to the ledger during a drain of large ones."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from pipeline.sample import sample_lines
from tests.benchmarks.wan_link import Bench, running
from tests.benchmarks.wan_steady import backlog

RAMP_S, EVERY_S = 6.0, 3.0
LOST_S = 60.0


def to_ledger(bench: Bench, line: Mapping[str, Any]) -> float:
    """Enqueue an urgent packet and wait; seconds from the call until the ledger has it."""
    began_s = time.monotonic()
    packet = bench.outbox.enqueue({**line, "lane": "urgent"})
    while bench.ledger.packet(packet) is None:
        if time.monotonic() - began_s > LOST_S:
            return LOST_S
        time.sleep(0.01)
    return time.monotonic() - began_s


def run(args: argparse.Namespace) -> dict[str, Any]:
    """One every `EVERY_S` for `--seconds`, after the drain has found its rate."""
    took: list[float] = []
    with running(args) as bench:
        backlog(bench, args.seconds + RAMP_S + 10)
        time.sleep(RAMP_S)
        before, began_s = bench.counter("bytes"), time.monotonic()
        for line in sample_lines(max(1, int(args.seconds / EVERY_S)), seed=6):
            took.append(to_ledger(bench, line))
            bench.say("urgent", round(took[-1], 3), bench.push_state()["throttle"])
            time.sleep(max(0.0, EVERY_S - took[-1]))
        share = (bench.counter("bytes") - before) / (time.monotonic() - began_s) / bench.wan.rate_bytes_s
    return {
        "profile": args.profile,
        "load": args.load,
        "share": round(share, 3),
        "packets": len(took),
        "urgent_median_s": round(median(took), 2),
        "urgent_max_s": round(max(took), 2),
    }
