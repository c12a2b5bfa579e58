"""The region's stores, step by step in one process: `python -m tests.benchmarks.region_stores [PACKETS]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from pipeline.adapters.outbox_sqlite import create_outbox
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.ports import Batch, EntryId
from pipeline.region import Producer, open_outbox
from pipeline.sample import sample_lines
from schemas.feed import FactGroup, RecordChange, Span, digests_hash
from schemas.lanes import Lane
from schemas.packet import Packet, pack_head
from schemas.ranges import numbers, total
from schemas.verdicts import Status
from tests.benchmarks.figures import table


def claim_all(outbox: Producer) -> float:
    """Claim everything in frames of 32 KiB; returns microseconds a packet."""
    lanes, packets, began_s, n = tuple(Lane), 0, time.perf_counter(), 0
    while claimed := outbox.store.claim(EntryId(1, n + 1), lanes, 60_000, 32_768, 60_000):
        n += 1
        packets += total(claimed.seqs) if isinstance(claimed, Batch) else 0
    return (time.perf_counter() - began_s) / packets * 1e6


def settle_all(outbox: Producer, status: Status, position: int) -> float:
    """Settle everything with facts of 400 packets, five to a transaction; microseconds a packet."""
    db = outbox.store.connection
    digest: dict[int, bytes] = dict(db.execute("SELECT seq, digest FROM packet").fetchall())  # type: ignore[arg-type]
    spans = [((at, min(at + 400, len(digest) + 1)),) for at in range(1, len(digest) + 1, 400)]
    facts = [
        (
            position + i,
            FactGroup(outbox.epoch, status, (), span, digests_hash(digest[n] for n in numbers(span))),
        )
        for i, span in enumerate(spans)
    ]
    began_s = time.perf_counter()
    for at in range(0, len(facts), 5):
        outbox.store.settle(facts[at : at + 5], facts[min(at + 4, len(facts) - 1)][0], 60_000)
    return (time.perf_counter() - began_s) / len(digest) * 1e6


def apply_records(folder: Path, count: int, each: int) -> float:
    """Apply `count` records, `each` to a transaction; microseconds a record."""
    create_registry(folder)
    registry = SqliteRegistry(folder)
    lines = sample_lines(count, seed=6)
    heads = [pack_head(Packet(one["kind"], one["payload"], (), 1)).prefix for one in lines]
    began_s = time.perf_counter()
    for at in range(0, count, each):
        part = [
            RecordChange(1, Status.PRINT_READY_RECORD, "aaaaaa", n + 1, heads[n])
            for n in range(at, min(at + each, count))
        ]
        registry.apply_records(Span("i", 1, at, at + each), part, 60_000)
    took_s = time.perf_counter() - began_s
    registry.close()
    return took_s / count * 1e6


def report(packets: int) -> str:
    """The table of this module."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        create_outbox(folder, "1806")
        with open_outbox(folder) as outbox:
            began_s = time.perf_counter()
            load = sample_lines(packets, seed=8)
            outbox.enqueue_many(load)
            steps = [("enqueue_many", (time.perf_counter() - began_s) / packets * 1e6)]
            steps.append(("claim", claim_all(outbox)))
            steps.append(("settle receipts", settle_all(outbox, Status.RECEIVED_AT_CENTRAL, 1)))
            steps.append(("settle verdicts", settle_all(outbox, Status.PRINT_READY_RECORD, 1_000_000)))
        steps.append(("apply records, 500 at a time", apply_records(folder, packets // 2, 500)))
    return table(
        (f"single steps at the region, {packets:,} packets", "us a packet"),
        [(what, f"{us:.1f}") for what, us in steps],
    )


if __name__ == "__main__":
    print(report(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
