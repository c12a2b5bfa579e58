"""Load `raw`: what others reach with the same packets over the same link, and what the ping sees beside them.

A raw TCP stream (one cubic connection) of the packets' stored bytes as one zstd -3 stream, and the plain way:
one Celery task per packet to the broker at the center (`plain_celery`).

    python -m tests.benchmarks.wan_raw center FOLDER          the plain way's center, until stdin ends
    python -m tests.benchmarks.wan_raw region URL KIND        its producer, until it is killed
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count as count_up
from pathlib import Path
from typing import Any

from pipeline.region.packing import draft_of
from pipeline.sample import sample_lines
from tests.benchmarks import plain_celery
from tests.benchmarks.limits import zstd_stream
from tests.benchmarks.wan_flow import ADDRESS, flowed
from tests.benchmarks.wan_link import Wan, figures, idle_pings, link, pinged, pings, wan_of

PORT = 6390
LEVEL = 3
#: Bytes of one on the line, at least: to make enough of them.
BYTES_MIN = {"records": 80, "large": 150_000}
BUFFER_BYTES = 256 * 1024
Rates = dict[str, Any]


def stored_bytes(kind: str, count: int) -> Iterator[bytes]:
    """Sample packets as they are stored."""
    large = count if kind == "large" else 0
    for line in sample_lines(count, seed=77, biometrics=large):
        draft = draft_of(line, 1, folder=Path(), once=False)
        yield draft.stored if draft.stored is not None else b"".join(draft.stream() if draft.stream else ())


def rates(wan: Wan, file: Path, rows: list[tuple[float, float, float]]) -> Rates:
    """From rows of time, bytes and packets so far, without the first quarter."""
    first, last = rows[len(rows) // 4], rows[-1]
    took_s = last[0] - first[0]
    return {
        "share": round((last[1] - first[1]) / took_s / wan.rate_bytes_s, 3),
        "packets_s": round((last[2] - first[2]) / took_s, 1),
        "ping_ms": figures(pinged(file, first[0], last[0])),
    }


def raw(wan: Wan, file: Path, place: Path, kind: str, for_s: float) -> Rates:
    """The stream, made before and then sent."""
    count = int(wan.rate_bytes_s * for_s / BYTES_MIN[kind]) + 20
    stream = place / "stream"
    with stream.open("wb") as out:
        out.writelines(zstd_stream(stored_bytes(kind, count), LEVEL))
    packets_a_byte = count / stream.stat().st_size
    rows = [(at, got, got * packets_a_byte) for at, got in flowed(wan, "region", for_s, stream)]
    return rates(wan, file, [row for row in rows if row[1]] or [(0.0, 0, 0.0), (1.0, 0, 0.0)])


# --- the plain way ----------------------------------------------------------------------------------


def plain(wan: Wan, file: Path, place: Path, kind: str, for_s: float) -> Rates:
    """One task a packet. Share: stored bytes (in the tasks they are base64 and JSON)."""
    some = list(stored_bytes(kind, 50))
    folder = place / f"plain-{kind}"
    folder.mkdir()
    own = (sys.executable, "-m", "tests.benchmarks.wan_raw")
    argv = [*wan.inside("center"), *own, "center", str(folder)]
    center = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert center.stdin is not None
    assert center.stdout is not None
    try:
        url = center.stdout.readline().strip()
        if not url:
            raise SystemExit(f"the plain way's center did not start; see {folder}")
        producer = subprocess.Popen([*wan.inside("region"), *own, "region", url, kind])
        try:
            rows = list(_stored(folder / plain_celery.DATABASE, for_s))
        finally:
            producer.kill()
            producer.wait()
    finally:
        center.stdin.close()
        center.wait(30)
    mean = sum(map(len, some)) / len(some)
    return rates(wan, file, [(at, packets * mean, packets) for at, packets in rows])


def _stored(database: Path, for_s: float) -> Iterator[tuple[float, int]]:
    """From the first packet on (at most half a minute): the time and how many are stored, four a second."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        began_s = time.time()
        while not _count(db) and time.time() - began_s < 30:
            time.sleep(0.05)
        end_s = time.time() + for_s
        while time.time() < end_s:
            yield time.time(), _count(db)
            time.sleep(0.25)


def _count(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT count(*) FROM packet").fetchone()[0]
    return found


def produce(url: str, kind: str) -> None:
    """Send task after task."""
    app = plain_celery.application(url, "")
    for part in count_up():
        lines = sample_lines(200, seed=part, biometrics=200 if kind == "large" else 0)
        for number, line in enumerate(lines):
            app.send_task("plain.store", (part * 200 + number, line), ignore_result=True)


def serve(folder: Path) -> None:
    """The broker and the workers, on the link's address."""
    with plain_celery.center(folder, ADDRESS, PORT) as (broker, _, _):
        print(broker.celery_url, flush=True)
        sys.stdin.read()


# --- all of them ------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Wan, Path, Path, str, float], Rates]] = {"raw": raw, "plain": plain}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Each way and kind for half of `--seconds`, one after another."""
    wan = wan_of(args)
    found: dict[str, Any] = {"profile": args.profile, "load": args.load, "congestion": "cubic"}
    with tempfile.TemporaryDirectory() as name, link(wan), pings(wan, Path(name)) as file:
        found["ping_idle_ms"] = figures(idle_pings(file))
        for way, measure in WAYS.items():
            for kind in BYTES_MIN:
                found[f"{way}_{kind}"] = measure(wan, file, Path(name), kind, args.seconds / 2)
                if args.verbose:
                    print(way, kind, found[f"{way}_{kind}"], flush=True)
                time.sleep(1 + BUFFER_BYTES / wan.rate_bytes_s)  # what is left in the link's buffer
    return found


if __name__ == "__main__":
    if sys.argv[1] == "center":
        serve(Path(sys.argv[2]))
    else:
        produce(sys.argv[2], sys.argv[3])
