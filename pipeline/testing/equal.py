"""For tests: whether a region's records are the center's."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.registry_reader import RegistryReader
from schemas.identity import PacketId
from schemas.packet import read_head


def same_records(folder: Path, ledger: LedgerReader, region: str, more_here: int = 0) -> None:
    """See `World.check_records`; `folder` is the region's."""
    reader = RegistryReader(folder)
    try:
        here = {
            one.nik: (one.version, one.status, PacketId(region, one.epoch, one.seq), one.head)
            for one in reader.records(1_000_000)
        }
    finally:
        reader.close()
    rows = ledger.records(region=region, limit=1_000_000)
    for row in rows:
        assert row.nik in here, f"the record of {row.nik} is missing"
        *said, head = here[row.nik]
        assert said == [row.version, row.status, row.source], f"{row.nik}: {said} here, {row} there"
        assert read_head(head) == row.packet, f"{row.nik}: other contents than the center's"
    assert len(rows) + more_here == len(here), f"{len(here)} records here, {len(rows)} there"
