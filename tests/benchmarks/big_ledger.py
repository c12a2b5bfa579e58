"""A center that has long known a region: its ledger filled by SQL, far faster than packets would come.

Every record is made from a packet of its own, of an epoch that is over; its card is printed, but for
`open_count` of them, spread evenly. Counters and numbers are as intake and validation would have left them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import open_store
from pipeline.adapters.ledger_niks import nik_key
from pipeline.adapters.ledger_packets import epoch_id
from pipeline.adapters.ledger_tables import BODY, PACKET, RECORD, REGION
from pipeline.sample import sample_lines
from schemas.feed import RecordChange, record_leaf
from schemas.lanes import Lane
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status

EPOCH = "00000a"
ROWS_A_TRANSACTION = 5_000


def heads(count: int, seed: int = 1806) -> Iterator[tuple[str, bytes]]:
    """NIK and stored bytes of as many different citizens."""
    seen: set[str] = set()
    for line in sample_lines(2 * count, seed=seed):
        nik = line["payload"]["nik"]
        if nik not in seen and len(seen) < count:
            seen.add(nik)
            yield nik, pack_head(Packet(line["kind"], line["payload"], (), 1_700_000_000_000)).prefix


def fill(where: Path | str, region: str, count: int, open_count: int) -> None:
    """Fill the ledger at `where`, which admits `region` and holds nothing of it, with `count` records."""
    store, people = open_store(where), heads(count)
    every = max(1, count // max(1, open_count))
    with store.write() as connection:
        epoch = epoch_id(connection, region, EPOCH)
    done = 0
    while part := list(islice(people, ROWS_A_TRANSACTION)):
        packets, bodies, records = [], [], []
        books = Books(region, 1_700_000_000_000)
        for nik, stored in part:
            done += 1
            ready = done % every == 0 and done // every <= open_count
            status = Status.PRINT_READY_RECORD if ready else Status.CARD_PRINTED
            packets.append(_packet(epoch, region, done, nik, stored, status))
            bodies.append({"epoch_id": epoch, "seq": done, "stored": stored})
            records.append(_record(epoch, region, done, nik, stored, status))
            books.moved(int(Lane.RECORD), None, int(status))
        books.count("received", len(part))
        books.count("records", len(part))
        with store.write() as connection:
            connection.execute(insert(PACKET), packets)
            connection.execute(insert(BODY), bodies)
            connection.execute(insert(RECORD), records)
            numbered = update(REGION).where(REGION.c.code == region)
            connection.execute(numbered.values(facts_no=done, records_no=done))
            books.write(connection)
    if done < count:
        raise SystemExit(f"the sample has only {done:,} different citizens")
    store.close()


def _packet(epoch: int, region: str, seq: int, nik: str, stored: bytes, status: Status) -> dict[str, Any]:
    return {
        "epoch_id": epoch,
        "seq": seq,
        "region": region,
        "lane": int(Lane.RECORD),
        "digest": hashlib.sha256(stored).digest(),
        "kind": "enrolment",
        "size": len(stored),
        "at_ms": 1_700_000_000_000,
        "received_ms": 1_700_000_000_000,
        "nik_key": nik_key(nik),
        "fact_no": seq,
        "status": int(status),
        "reasons": "",
        "due_ms": None,
        "tries": 0,
        "verdict_ms": 1_700_000_000_000,
        "pieces": 0,
    }


def _record(epoch: int, region: str, seq: int, nik: str, stored: bytes, status: Status) -> dict[str, Any]:
    change = RecordChange(1, status, EPOCH, seq, stored)
    return {
        "region": region,
        "nik": nik,
        "version": 1,
        "record_no": seq,
        "status": int(status),
        "epoch_ord": 1,
        "epoch_id": epoch,
        "seq": seq,
        "leaf": record_leaf(change, nik),
    }
