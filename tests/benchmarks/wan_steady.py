"""Loads `large`, `records`, `idle`: how full the line is while a backlog drains, and what a ping sees."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.steering_file import write_steering
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from pipeline.throttle.steering import Pause, Steering
from tests.benchmarks.wan_link import Bench, figures, idle_pings, pinged, running
from workers.looking import ledger_place

#: Bytes on the line of a large packet and of a record, about.
LARGE_BYTES, RECORD_BYTES = 150_000, 60
#: So many records are enqueued before the run; others beside it, where fewer than the least are left (that
#: takes the processor from what is measured).
RECORDS_AHEAD, RECORDS_LEAST = 150_000, 50_000
#: Until the drain has found its rate, seconds.
RAMP_S = 5.0
FED_AT_A_TIME = 2_000
PAUSED = Steering((Pause(None, "until there is a backlog", "benchmark", 0),))


def backlog(bench: Bench, for_s: float) -> None:
    """Enqueue as many large packets as the line can carry in that time."""
    count = int(bench.wan.rate_bytes_s * for_s / LARGE_BYTES) + 20
    bench.outbox.enqueue_many(sample_lines(count, seed=77, biometrics=count))


def feed(region: Path, center: Path | str, count: int, ahead: Event) -> None:
    """In a process of its own: record `count` packets, staying ahead of the ledger."""
    ledger, lines, fed = LedgerReader.open(center), sample_lines(count, seed=77), 0
    bound = RECORDS_AHEAD
    with open_outbox(region) as outbox:
        while part := list(islice(lines, FED_AT_A_TIME)):
            while fed - ledger.counts().received > bound:
                bound = RECORDS_LEAST
                ahead.set()
                time.sleep(0.2)
            outbox.enqueue_many(part)
            fed += len(part)
    ahead.set()


@contextlib.contextmanager
def fed(bench: Bench, count: int) -> Iterator[None]:
    """A feeder beside the drain; the drain stands still until it is ahead, so that it never runs dry."""
    region, context = bench.both.region.path, multiprocessing.get_context("spawn")
    ahead = context.Event()
    write_steering(region, PAUSED)
    where = (region, ledger_place(bench.both.center), count, ahead)
    feeder = context.Process(target=feed, args=where, daemon=True)
    feeder.start()
    try:
        while not ahead.wait(1):
            if not feeder.is_alive():
                raise SystemExit("the feeder ended before it was ahead")
        write_steering(region, Steering())
        time.sleep(RAMP_S)
        yield
    finally:
        feeder.kill()
        feeder.join()


@contextlib.contextmanager
def load(bench: Bench, kind: str, for_s: float) -> Iterator[None]:
    """The backlog there, or (records: these take long to enqueue) kept ahead of the drain."""
    if kind == "records":
        with fed(bench, int(bench.wan.rate_bytes_s * for_s / RECORD_BYTES) + 20):
            yield
        return
    if kind == "large":
        backlog(bench, for_s)
    yield


def watched(bench: Bench, for_s: float) -> list[tuple[float, int, int]]:
    """Once a second: the time, the bytes of frames and the packets that the ledger has."""
    began_s, rows = time.time(), []
    while time.time() < began_s + for_s:
        time.sleep(1)
        counts = bench.ledger.counts()
        rows.append((time.time(), counts.counters.get("bytes", 0), counts.received))
        if bench.args.verbose:
            state = bench.push_state()
            print(round(time.time() - began_s), rows[-1][1:], state["waits"], state["throttle"])
    return rows


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Drain for so many seconds, and look."""
    with running(args) as bench:
        idle = idle_pings(bench.pings)
        with load(bench, args.load, args.seconds):
            rows = watched(bench, args.seconds)
            left = bench.both.counts()
        first, last = rows[len(rows) // 4], rows[-1]
        took_s = last[0] - first[0]
        loaded = pinged(bench.pings, first[0], last[0])
    return {
        "profile": args.profile,
        "share": round((last[1] - first[1]) / took_s / bench.wan.rate_bytes_s, 3),
        "packets_s": round((last[2] - first[2]) / took_s, 1),
        "ping_idle_ms": figures(idle),
        "ping_ms": figures(loaded),
        "waiting_at_end": left["recorded"] - left["received"],
    }
