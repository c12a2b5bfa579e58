"""What recording costs: packets one by one and as a file, on an empty and on a full outbox, and meanwhile.

`python -m tests.benchmarks.enqueue [BACKLOG]`. Beside it what the disk does: one small synced append.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.adapters.outbox_sqlite import create_outbox
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.region import Producer, open_outbox
from pipeline.region.intake_files import enqueue_file
from pipeline.sample import sample_lines
from schemas.feed import RecordChange, Span
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status
from tests.benchmarks.figures import percentiles_ms, table, usage

ONE_BY_ONE = 1_000
RECORDS_A_SPAN = 500


def timed(times: int, what: Callable[[int], object]) -> list[float]:
    """How long each of `times` calls of `what(n)` took, seconds."""
    took = []
    for n in range(times):
        began_s = time.perf_counter()
        what(n)
        took.append(time.perf_counter() - began_s)
    return took


def singly(outbox: Producer, seed: int) -> list[float]:
    """Enqueue sample packets one by one."""
    lines = list(sample_lines(ONE_BY_ONE, seed=seed))
    return timed(ONE_BY_ONE, lambda n: outbox.enqueue(lines[n]))


def synced_appends(folder: Path) -> list[float]:
    """The disk alone: 4 KiB appended to a file, and synced."""
    handle, page = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY | os.O_APPEND), b"x" * 4096

    def append(_: int) -> None:
        os.write(handle, page)
        os.fdatasync(handle)

    took = timed(ONE_BY_ONE, append)
    os.close(handle)
    return took


def apply_for_ever(folder: Path, applied: Any) -> None:
    """In a process of its own: the registry takes records at full rate until it is killed."""
    registry = SqliteRegistry(folder)
    lines = list(sample_lines(RECORDS_A_SPAN, seed=9))
    heads = [pack_head(Packet(one["kind"], one["payload"], (), 1)).prefix for one in lines]
    at = 0
    while True:
        part = [
            RecordChange(1, Status.PRINT_READY_RECORD, "aaaaaa", at + n + 1, head)
            for n, head in enumerate(heads)
        ]
        registry.apply_records(Span("i", 1, at, at + RECORDS_A_SPAN), part, 60_000)
        at += RECORDS_A_SPAN
        applied.value = at


def while_the_registry_applies(folder: Path, outbox: Producer) -> tuple[list[float], float]:
    """Enqueue one by one meanwhile; returns the times, and the records a second that were applied."""
    applied = multiprocessing.Value("q", 0)
    other = multiprocessing.Process(target=apply_for_ever, args=(folder, applied), daemon=True)
    other.start()
    while not applied.value:
        time.sleep(0.01)
    before, began_s = applied.value, time.perf_counter()
    took = singly(outbox, 3)
    rate = (applied.value - before) / (time.perf_counter() - began_s)
    other.kill()
    other.join()
    return took, rate


def a_file(folder: Path, count: int) -> tuple[float, float]:
    """Enqueue a file of `count` lines in a process of its own: lines a second, its peak memory in MiB."""
    file = folder / "p.ndjson"
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(one) + "\n" for one in sample_lines(count, seed=4))
    argv = [sys.executable, "-m", "tests.benchmarks.enqueue", "--file", str(folder), str(file)]
    rate, peak = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    return float(rate), float(peak)


def report(backlog: int) -> str:
    """The table of this module."""
    rows: list[tuple[object, ...]] = []

    def row(what: str, took_s: list[float], note: str = "") -> None:
        figures = percentiles_ms(took_s)
        rows.append((what, f"{figures['median']:.2f} ms", f"{figures['p99']:.2f} ms", note))

    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        create_outbox(folder, "1806")
        create_registry(folder)
        row("4 KiB appended and synced (the limit)", synced_appends(folder))
        with open_outbox(folder) as outbox:
            row("one by one, empty outbox", singly(outbox, 1))
            rate, peak = a_file(folder, backlog)
            row(f"one by one, {backlog:,} waiting", singly(outbox, 2))
            took, applied = while_the_registry_applies(folder, outbox)
            row("the same, while the registry applies", took, f"{applied:,.0f} records/s applied")
    rows.append((f"a file of {backlog:,} lines", f"{rate:,.0f} lines/s", "", f"peak {peak:.0f} MiB"))
    return table(("enqueue", "median", "p99", ""), rows)


def _enqueue_file(folder: Path, file: Path) -> None:
    with open_outbox(folder) as outbox:
        began_s = time.perf_counter()
        lines = enqueue_file(outbox, file).lines
        rate = lines / (time.perf_counter() - began_s)
        print(rate, usage(os.getpid()).peak_mib)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--file"]:
        _enqueue_file(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(report(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
