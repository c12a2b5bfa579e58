"""The plain way, to compare with: one Celery task per packet, through the same embedded Valkey.

A producer sends each record as a task's argument; prefork workers at the center write it to SQLite
(`synchronous=FULL`), acknowledge late and drop what they know already. No receipt, no record back, no window,
and nothing between the sides is signed, sealed or compressed: it is the least that such a system does.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from pipeline.linksim import PROFILES, Address, Relay
from pipeline.sample import sample_lines
from tests.benchmarks.figures import usage
from workers.both_sides import free_port
from workers.embedded import ValkeyServer

WORKERS = 2
DATABASE = "plain.db"


def application(url: str, database: str) -> Celery:
    """The one task of the plain way; `database` is the center's file."""
    app = Celery("plain", broker=url, set_as_current=False)
    app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=16)
    app.conf.task_default_queue = "plain"
    opened: dict[int, sqlite3.Connection] = {}

    @app.task(name="plain.store")  # type: ignore[untyped-decorator]
    def store(number: int, line: dict[str, Any]) -> None:
        db = opened.get(os.getpid())
        if db is None:
            db = opened[os.getpid()] = sqlite3.connect(database, timeout=30, isolation_level=None)
            db.execute("PRAGMA synchronous=FULL")
        db.execute("INSERT OR IGNORE INTO packet VALUES (?, ?)", (number, repr(line)))

    return app


@contextmanager
def center(
    place: Path, host: str = "127.0.0.1", port: int = 0
) -> Iterator[tuple[ValkeyServer, Path, subprocess.Popen[bytes]]]:
    """The broker (at any free port, or the given one) and the workers of the center, running."""
    database = place / DATABASE
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE packet (number INTEGER PRIMARY KEY, line TEXT)")
    broker = ValkeyServer(place / "valkey", host=host, port=port or free_port(), socket=False)
    broker.start()
    argv = [sys.executable, "-m", "tests.benchmarks.plain_celery", broker.celery_url, str(database)]
    with (place / "plain.log").open("wb") as log:
        worker = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        yield broker, database, worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        broker.stop()


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _family(int(child))


def run(place: Path, count: int, profile: str | None) -> dict[str, Any]:
    """Carry `count` sample records the plain way: packets a second, CPU seconds, bytes on the link."""
    place.mkdir(parents=True, exist_ok=True)
    with center(place) as (broker, database, worker):
        there = Address("127.0.0.1", broker.port or 0)
        with Relay(Address("127.0.0.1", 0), there, PROFILES[profile or "fiber"]) as relay:
            url = broker.celery_url
            if profile is not None:
                url = re.sub(r":\d+/", f":{relay.address.port}/", url)
            app = application(url, str(database))
            _carry(app, database, 1)  # connections, processes and caches are warm then
            before_s = _cpu_s(worker.pid, broker) + time.process_time()
            bytes_before, began = relay.stats(), time.monotonic()
            _carry(app, database, count)
            took_s = time.monotonic() - began
            cpu_s = _cpu_s(worker.pid, broker) + time.process_time() - before_s
            link = relay.stats()
    up, down = link.up.wire_bytes, link.down.wire_bytes
    moved = up + down - bytes_before.up.wire_bytes - bytes_before.down.wire_bytes
    return {
        "packets": count,
        "packets_s": count / took_s,
        "cpu_s_of_20000": cpu_s / count * 20_000,
        "bytes_a_record": moved / count,
    }


def _carry(app: Celery, database: Path, count: int) -> None:
    with closing(sqlite3.connect(database)) as db:
        (first,) = db.execute("SELECT count(*) FROM packet").fetchone()
        for number, line in enumerate(sample_lines(count, seed=77), first):
            app.send_task("plain.store", (number, line), ignore_result=True)
        end_s = time.monotonic() + 600
        while db.execute("SELECT count(*) FROM packet").fetchone()[0] < first + count:
            if time.monotonic() > end_s:
                raise SystemExit("the plain way did not end within ten minutes")
            time.sleep(0.02)


def _cpu_s(worker: int, broker: ValkeyServer) -> float:
    """CPU seconds of the workers and of the broker, without the children that ended."""
    pid = int((broker.folder / "valkey.pid").read_text())
    return sum(usage(one).cpu_s for one in (*_family(worker), pid))


if __name__ == "__main__":
    options = ["worker", "-c", str(WORKERS), "-P", "prefork", "--loglevel", "WARNING", "--without-gossip"]
    application(sys.argv[1], sys.argv[2]).worker_main([*options, "--without-mingle", "--without-heartbeat"])
