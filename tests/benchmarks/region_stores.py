"""The region's stores, measured and printed: `python -m tests.benchmarks.region_stores [PACKETS]`."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.adapters.high_water import HighWaterFile
from pipeline.adapters.outbox_sqlite import create_outbox
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.ports import Batch, EntryId
from pipeline.region import Producer, open_outbox
from pipeline.region.intake_files import enqueue_file
from schemas.feed import FactGroup, RecordChange, Span, digests_hash
from schemas.lanes import Lane
from schemas.packet import Packet, pack_head
from schemas.ranges import numbers, total
from schemas.verdicts import Status


def nik(n: int) -> str:
    return f"180606{1 + n % 28:02d}{1 + n // 28 % 12:02d}{n // 336 % 100:02d}{1 + n // 33_600:04d}"


def payload(n: int) -> dict[str, str]:
    return {
        "nik": nik(n), "nama": f"WARGA NOMOR {n}", "no_kk": nik(n // 4), "tempat_lahir": "KOTA AGUNG",
        "tanggal_lahir": "1990-01-01", "jenis_kelamin": "LAKI-LAKI", "golongan_darah": "O",
        "alamat": f"JL. MERDEKA NO. {n % 300}, GANG MAWAR", "rt": "001", "rw": "002", "kel_desa": "KURIPAN",
        "kecamatan": "KOTA AGUNG", "agama": "ISLAM", "status_perkawinan": "KAWIN", "pekerjaan": "PETANI",
        "kewarganegaraan": "WNI", "berlaku_hingga": "SEUMUR HIDUP", "catatan": "x" * 200,
    }  # fmt: skip


def percentiles(times_s: list[float]) -> str:
    ordered = sorted(time_s * 1e3 for time_s in times_s)
    return f"median {ordered[len(ordered) // 2]:.3f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.3f} ms"


def timed(times: int, what: Callable[[int], object]) -> list[float]:
    out = []
    for n in range(times):
        began_s = time.perf_counter()
        what(n)
        out.append(time.perf_counter() - began_s)
    return out


def enqueue_singly(outbox: Producer, label: str) -> None:
    packets = [{"kind": "enrolment", "payload": payload(n)} for n in range(1_000)]
    print(f"enqueue one by one, {label}: {percentiles(timed(1_000, lambda n: outbox.enqueue(packets[n])))}")


def claim_all(outbox: Producer) -> None:
    lanes, packets, began_s, n = tuple(Lane), 0, time.perf_counter(), 0
    while claimed := outbox.store.claim(EntryId(1, n + 1), lanes, 60_000, 32_768, 60_000):
        n += 1
        packets += total(claimed.seqs) if isinstance(claimed, Batch) else 0
    each_us = (time.perf_counter() - began_s) / packets * 1e6
    print(f"claim: {packets} packets in {n} frames, {each_us:.1f} us a packet")


def settle_all(outbox: Producer, status: Status, position: int) -> None:
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
    print(f"settle {status.name}: {(time.perf_counter() - began_s) / len(digest) * 1e6:.1f} us a packet")


def apply_records(folder: Path, count: int, each: int) -> None:
    create_registry(folder)
    registry = SqliteRegistry(folder)
    heads = [pack_head(Packet("enrolment", payload(n), (), 1)).prefix for n in range(count)]
    began_s = time.perf_counter()
    for at in range(0, count, each):
        part = [
            RecordChange(1, Status.PRINT_READY_RECORD, "aaaaaa", n + 1, heads[n])
            for n in range(at, min(at + each, count))
        ]
        registry.apply_records(Span("i", 1, at, at + each), part, 60_000)
    print(f"registry: {count / (time.perf_counter() - began_s):.0f} records/s, {each} to a transaction")
    registry.close()


def main(packets: int) -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        create_outbox(folder, "1806")
        outbox = open_outbox(folder)
        high_water = HighWaterFile(folder / "probe")
        print(
            f"the second file alone: {percentiles(timed(1_000, lambda n: high_water.raise_to('aaaaaa', n)))}"
        )
        enqueue_singly(outbox, "empty")
        file = folder / "p.ndjson"
        with open(file, "w", encoding="utf-8") as out:
            out.writelines(
                json.dumps({"kind": "enrolment", "payload": payload(n)}) + "\n" for n in range(packets)
            )
        began_s = time.perf_counter()
        counts = enqueue_file(outbox, file)
        rate = counts.lines / (time.perf_counter() - began_s)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"enqueue of a file: {counts.taken} taken, {rate:.0f} lines/s, peak {peak} MiB")
        enqueue_singly(outbox, f"with {packets} waiting")
        claim_all(outbox)
        settle_all(outbox, Status.RECEIVED_AT_CENTRAL, 1)
        settle_all(outbox, Status.PRINT_READY_RECORD, 1_000_000)
        outbox.close()
        apply_records(folder, 100_000, 500)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
