"""The figures of docs/benchmarks.md: `make bench`, or `python -m tests.benchmarks.run [SECTION ...]`.

Everything is measured in one run on one machine, ours beside the plain way and the limits. Times on a busy
machine differ from run to run; compare what stands in one table.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.sample import sample_lines
from schemas.packet import Packet, pack_head
from tests.benchmarks import enqueue, limits, plain_celery, region_stores
from tests.benchmarks.figures import table
from tests.benchmarks.there_and_back import measured

RECORDS = 20_000
BACKLOGS = (1_000, 200_000)
PLAIN, PLAIN_OVER_THE_LINK = 2_000, 100
LINK, LINK_BYTES_S = "regency-2m", 250_000
WORKERS = ("region/region", "center/intake", "center/validate", "center/deliver")


def _plain(count: int, profile: str | None) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory(dir=".") as name:
        return plain_celery.run(Path(name), count, profile)


def loopback() -> str:
    """Records from the outbox to the ledger, and there and back, the two sides speaking directly."""
    ours, plain = measured(RECORDS, None), _plain(PLAIN, None)
    rows = [
        ("Titian: enqueue to ledger", f"{RECORDS / ours['received_s']:,.0f}", "-"),
        ("Titian: there and back", f"{RECORDS / ours['returned_s']:,.0f}", f"{ours['cpu_total_s']:.1f}"),
        (
            f"plain Celery, one way ({PLAIN:,} packets)",
            f"{plain['packets_s']:,.0f}",
            f"{plain['cpu_s_of_20000']:.1f}",
        ),
    ]
    shares = ", ".join(f"{role} {cpu_s:.2f}" for role, cpu_s in ours["cpu_s"].items() if cpu_s >= 0.02)
    return (
        table((f"{RECORDS:,} records", "packets/s", f"CPU s of {RECORDS:,}"), rows)
        + f"\n\nCPU s by process: producer {ours['producer_cpu_s']:.2f}, {shares}."
    )


def link() -> str:
    """The same over 2 Mbit/s and 100 ms: bytes on the link, both directions, TCP's headers included."""
    ours, plain = measured(RECORDS, LINK), _plain(PLAIN_OVER_THE_LINK, LINK)
    load = sample_lines(RECORDS, seed=77)
    stored = [pack_head(Packet(one["kind"], one["payload"], (), 1)).prefix for one in load]
    stream, as_they_are = limits.zstd_stream_bytes(stored), sum(map(len, stored))
    rows = [
        ("Titian, there and back", ours["link_bytes"] / RECORDS, RECORDS / ours["returned_s"]),
        ("plain Celery, one way", plain["bytes_a_record"], plain["packets_s"]),
        ("one zstd -3 stream, one way, computed", stream / RECORDS, LINK_BYTES_S * RECORDS / stream),
        ("as they are, one way, computed", as_they_are / RECORDS, LINK_BYTES_S * RECORDS / as_they_are),
    ]
    said = [(what, f"{each:,.0f}", f"{rate:,.0f}") for what, each, rate in rows]
    return table(("over 2 Mbit/s, 100 ms", "bytes a record, up + down", "records/s"), said)


def memory() -> str:
    """The most memory that a worker process ever held, with a small and with a large backlog."""
    found = {count: measured(count, None)["peak_mib"] for count in BACKLOGS}
    rows = [(role, *(f"{found[count][role]:.0f} MiB" for count in BACKLOGS)) for role in WORKERS]
    return table(("peak memory", *(f"{count:,} packets" for count in BACKLOGS)), rows)


def recording() -> str:
    """What enqueue costs a producer, beside one synced write."""
    return enqueue.report(BACKLOGS[-1])


def steps() -> str:
    """Single steps in one process."""
    return region_stores.report(BACKLOGS[-1])


SECTIONS: dict[str, Callable[[], str]] = {
    "loopback": loopback,
    "link": link,
    "memory": memory,
    "enqueue": recording,
    "steps": steps,
}


def main(chosen: list[str]) -> None:
    unknown = set(chosen) - set(SECTIONS)
    if unknown:
        raise SystemExit(f"no section {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    print(f"Python {platform.python_version()}, {machine}")
    for name in chosen or SECTIONS:
        print(f"\n## {name}\n\n{SECTIONS[name].__doc__}\n\n{SECTIONS[name]()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
