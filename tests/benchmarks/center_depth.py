"""What it costs to look at a whole center: `python -m tests.benchmarks.center_depth [--regions 514] ...`.

A ledger is filled by SQL: packets of every region, of which some wait for their verdict, some are announced,
some regions have lost a disk, every region has said its health, and every region was active in each of the
last sixty minutes. Then the document of `depth` is made again and again; on PostgreSQL with `--url`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from pipeline.adapters.ledger_engine import Store, open_store
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_tables import ANNOUNCED, COUNTER, EPOCH, PACKET, RATE, REGION, TALLY
from pipeline.inspection.depth_center import center_depth
from schemas.lanes import Lane
from schemas.messages import Health, Want, pack_message
from schemas.verdicts import Status

NOW_MS = 1_790_000_000_000
ROWS = 20_000
WHATS = ("received", "records", "bytes", "PRINT_READY_RECORD", "announced", "frames")


def fill(place: Path | str, asked: argparse.Namespace) -> None:
    """Fill the ledger at `place`."""
    ledger, random_ = SqlLedger(place), random.Random(5)
    ledger.open_incarnation(1)
    codes = [f"{11 + n // 60:02}{n % 60 + 1:02}" for n in range(asked.regions)]
    for code in codes:
        ledger.admit(code, code.encode() * 4, 1)
    ledger.close()
    store = open_store(place)
    each = asked.packets // asked.regions
    for n, code in enumerate(codes):
        lost_disk = n < asked.lost_disks
        waits = asked.waiting // asked.regions
        _region(store, random_, code, each, waits, asked.announced // asked.regions, lost_disk)
    _rates(store, codes)
    store.close()


def _region(
    store: Store, random_: random.Random, code: str, each: int, waits: int, told: int, lost_disk: bool
) -> None:
    old = each // 2 if lost_disk else 0
    with store.write() as connection:
        names = [("0a0a0a", 1, old + 40 if lost_disk else 0), ("k3v9qa", 2, each - old)]
        for epoch, ord_, highest in names[0 if lost_disk else 1 :]:
            values = {"region": code, "epoch": epoch, "ord": ord_, "highest_seq": highest, "last_ms": NOW_MS}
            connection.execute(insert(EPOCH).values(**values))
        ids = dict(
            connection.execute(
                EPOCH.select().where(EPOCH.c.region == code).with_only_columns(EPOCH.c.epoch, EPOCH.c.id)
            ).all()
        )
        rows = [_packet(random_, ids["0a0a0a"], code, seq, False) for seq in range(1, old + 1)]
        rows += [_packet(random_, ids["k3v9qa"], code, seq, seq <= waits) for seq in range(1, each - old + 1)]
        for at in range(0, len(rows), ROWS):
            connection.execute(insert(PACKET), rows[at : at + ROWS])
        connection.execute(
            insert(ANNOUNCED), [_told(random_, ids["k3v9qa"], code, each + n) for n in range(told)]
        )
        done = {"region": code, "lane": int(Lane.RECORD)}
        statuses = ((Status.RECEIVED_AT_CENTRAL, waits), (Status.PRINT_READY_RECORD, each - waits))
        connection.execute(insert(TALLY), [{**done, "status": int(status), "n": n} for status, n in statuses])
        counters = dict.fromkeys(WHATS, each) | {"announced": told, "announced_bytes": told * 600_000}
        connection.execute(
            insert(COUNTER), [{"region": code, "what": what, "n": n} for what, n in counters.items()]
        )
        want = pack_message(_want(random_, each))
        said = {"want": want, "epoch": "k3v9qa", "highest_seq": each - old, "last_seen_ms": NOW_MS - 9_000}
        row = update(REGION).where(REGION.c.code == code)
        connection.execute(row.values(**said, session=3, token_key=b"x" * 8, instance="i"))


def _packet(random_: random.Random, epoch: int, code: str, seq: int, waits: bool) -> dict[str, Any]:
    status = Status.RECEIVED_AT_CENTRAL if waits else Status.PRINT_READY_RECORD
    at_ms = NOW_MS - random_.randrange(86_400_000)
    return {
        "epoch_id": epoch,
        "seq": seq,
        "region": code,
        "lane": int(Lane.RECORD),
        "digest": random_.randbytes(32),
        "kind": "enrolment",
        "size": 600,
        "at_ms": at_ms,
        "received_ms": at_ms,
        "nik_key": random_.getrandbits(62),
        "fact_no": seq,
        "status": int(status),
        "reasons": "",
        "due_ms": at_ms if waits else None,
        "tries": 0,
        "verdict_ms": None if waits else at_ms,
        "pieces": 0,
    }


def _told(random_: random.Random, epoch: int, code: str, seq: int) -> dict[str, Any]:
    return {
        "epoch_id": epoch,
        "seq": seq,
        "region": code,
        "lane": int(Lane.BIOMETRIC),
        "nik_key": random_.getrandbits(62),
        "size": 600_000,
        "digest": random_.randbytes(32),
        "at_ms": NOW_MS - 7_200_000,
        "told_ms": NOW_MS - 3_600_000,
    }


def _want(random_: random.Random, seq: int) -> Want:
    health = Health(
        waiting=random_.randrange(400),
        waiting_kib=random_.randrange(60_000),
        oldest_s=random_.randrange(9_000),
        eta_s=840,
        rtt_ms=640,
        base_ms=600,
        goodput_bytes_s=30_000,
        cuts_today=random_.randrange(12),
    )
    told = {"n": 900, "instance": "i" * 16, "grant": 1, "session": 3, "epoch": "k3v9qa", "highest_seq": seq}
    told |= {"clock_ms": NOW_MS, "facts": seq, "records": seq, "level": 65_536, "titian": "0.1.0"}
    return Want(**told, health=health)


def _rates(store: Store, codes: list[str]) -> None:
    minute = NOW_MS // 60_000
    for ago in range(61):
        with store.write() as connection:
            rows = [{"minute": minute - ago, "region": c, "what": w, "n": 60} for c in codes for w in WHATS]
            connection.execute(insert(RATE), rows)


def measure(place: Path | str, times: int) -> dict[str, Any]:
    """Milliseconds (of the clock, and of this process) of a document, and its bytes as JSON."""
    reader = LedgerReader.open(place)
    clock_ms, cpu_ms = [], []
    for _ in range(times):
        at_s, at_cpu_s = time.perf_counter(), time.process_time()
        document = center_depth(reader, running=True, now_ms=NOW_MS, titian="0.1.0")
        clock_ms.append((time.perf_counter() - at_s) * 1000)
        cpu_ms.append((time.process_time() - at_cpu_s) * 1000)
    reader.close()
    return {
        "first_ms": round(clock_ms[0], 1),
        "median_ms": round(statistics.median(clock_ms), 1),
        "max_ms": round(max(clock_ms), 1),
        "least_ms": round(min(clock_ms), 1),
        "cpu_median_ms": round(statistics.median(cpu_ms), 1),
        "json_bytes": len(json.dumps(document)),
        "regions": len(document["regions"]),
        "received": document["received"],
        "unverdicted": document["unverdicted"],
        "announced": document["announced"],
        "lost": document["lost"],
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=514)
    parser.add_argument("--packets", type=int, default=400_000)
    parser.add_argument("--waiting", type=int, default=50_000, help="of them without a verdict")
    parser.add_argument("--announced", type=int, default=50_000)
    parser.add_argument(
        "--lost-disks", type=int, default=20, help="regions half of whose packets are of an old epoch"
    )
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--url", default="", help="a PostgreSQL database that is empty; else an SQLite file")
    parser.add_argument("--keep", type=Path, default=None, help="where the SQLite file is, or stays")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        place = asked.url or (asked.keep or Path(made) / "ledger.db")
        if not isinstance(place, Path) or not place.exists():
            fill(place, asked)
        print(json.dumps(measure(place, asked.times), indent=1))


if __name__ == "__main__":
    main()
