"""Inspection, step 7 (and 5): records as registry or ledger hold them, and their attachments' bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters.outbox_bytes import stream
from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import Record, RegistryReader
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged
from schemas.errors import SchemaError
from schemas.identity import PacketId
from schemas.packet import Attachment, Packet, head_bytes, read_head
from schemas.verdicts import Status

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import LedgerReader
    from pipeline.adapters.ledger_shelf import RecordRow

VERSION = 1
_PAGE = 500

#: An attachment and its bytes, in pieces: each is to be taken before the next.
Attached = Iterator[tuple[Attachment, Iterator[bytes]]]


@dataclass(frozen=True)
class OneRecord:
    """A record with what it says. `attached` reads those of its attachments that are on this side; `missing`
    names the others, which are not here (any more) for the reason `absent`."""

    region: str
    nik: str
    version: int
    status: Status
    source: PacketId
    packet: Packet
    attached: Callable[[], Attached] = lambda: iter(())
    missing: tuple[str, ...] = ()
    absent: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `titian records --json` shows it."""
        return {
            "region": self.region,
            "nik": self.nik,
            "version": self.version,
            "status": self.status.name,
            "source": str(self.source),
            "kind": self.packet.kind,
            "recorded_ms": self.packet.at_ms,
            "payload": self.packet.payload,
            "attachments": [
                {"name": a.name, "media_type": a.media_type, "bytes": a.size, "sha256": a.digest.hex()}
                for a in self.packet.attachments
            ],
        }


# --- the region -----------------------------------------------------------------------------------


def region_records(
    registry: RegistryReader, region: str, limit: int, damaged: Callable[[StoreDamaged], object] | None = None
) -> Iterator[OneRecord]:
    """The first `limit` records, in the order in which they first came. One that does not read is passed over
    and told to `damaged`; without that it ends the listing (`StoreDamaged`)."""
    after = 0
    while limit > 0:
        page = registry.records_or_damage(min(limit, _PAGE), after)
        if not page:
            return
        for after, one in page:  # noqa: B007 - from where the next page goes on
            try:
                if isinstance(one, StoreDamaged):
                    raise one
                yield _held(one, region)
            except StoreDamaged as why:
                if damaged is None:
                    raise
                damaged(why)
        limit -= len(page)


def region_record(
    registry: RegistryReader, outbox: OutboxReader, folder: Path, region: str, nik: str
) -> OneRecord | None:
    """The record of one citizen. Its attachments lie in the outbox as long as those are kept there, or among
    those that came back from the center."""
    held = registry.record(nik)
    if held is None:
        return None
    one = _held(held, region)
    if not one.packet.attachments:
        return one
    found = outbox.find(one.source)
    if found is None or found.place is None:
        return _came_back(one, registry, f"its packet {one.source} is not in this outbox")
    if _is_pruned(folder, found.id.seq):
        return _came_back(one, registry, "they were deleted here some time after the verdict")
    return _with(one, lambda: _outbox_bytes(folder, found.id.seq, found.size))


def _held(one: Record, region: str) -> OneRecord:
    """Raises `StoreDamaged` where what is stored does not read, or is another citizen's."""
    try:
        packet = read_head(one.head, check=False)
        right = packet.nik == one.nik
    except (SchemaError, LookupError, TypeError, ValueError):
        right = False
    if not right:
        raise StoreDamaged(
            f"the record of {one.nik} does not read: its bytes are damaged on this disk. Fetch it from the "
            f"center: titian records --nik {one.nik} --fetch"
        )
    return OneRecord(region, one.nik, one.version, one.status, PacketId(region, one.epoch, one.seq), packet)


def _came_back(one: OneRecord, registry: RegistryReader, why: str) -> OneRecord:
    """With the attachments that a rebuild or a question brought back."""
    held = {at.name: at for at in registry.attachments(one.source.epoch, one.source.seq) if at.whole == 1}
    listed = one.packet.attachments
    here = [at for at in listed if at.name in held and held[at.name].digest == at.digest]
    missing = tuple(at.name for at in listed if at not in here)

    def attached() -> Attached:
        return ((at, registry.attachment_bytes(held[at.name].id)) for at in here)

    return replace(one, attached=attached, missing=missing, absent=why if missing else "")


def _is_pruned(folder: Path, seq: int) -> bool:
    database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
    try:
        with database.read() as db:
            return bool(db.execute("SELECT pruned_ms FROM packet WHERE seq = ?", (seq,)).get)
    finally:
        database.close()


def _outbox_bytes(folder: Path, seq: int, size: int) -> Iterator[bytes]:
    database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
    try:
        with database.read() as db:
            row: Any = db.execute("SELECT upload FROM packet WHERE seq = ?", (seq,)).fetchone()
            if row is None:
                raise StoreDamaged(f"packet {seq} is not in the outbox any more")
            yield from stream(db, seq, row[0], size)
    finally:
        database.close()


# --- the center -----------------------------------------------------------------------------------


def center_records(
    ledger: LedgerReader, *, nik: str | None = None, region: str | None = None, limit: int = 1_000
) -> list[OneRecord]:
    """Records by region and NIK; of one citizen there may be one from each region."""
    return [_row(ledger, row) for row in ledger.records(nik=nik, region=region, limit=limit)]


def _row(ledger: LedgerReader, row: RecordRow) -> OneRecord:
    one = OneRecord(row.region, row.nik, row.version, row.status, row.source, row.packet)
    return _with(one, lambda: ledger.stored(row.source))


def _with(one: OneRecord, stored: Callable[[], Iterator[bytes]]) -> OneRecord:
    return replace(one, attached=lambda: attachments(stored()))


# --- attachments ----------------------------------------------------------------------------------


def attachments(stored: Iterator[bytes]) -> Attached:
    """A packet's attachments out of its stored bytes, in order, each in pieces; take each before the next.

    Nothing is held but a piece. Raises `StoreDamaged` where the bytes end early."""
    begin = b""
    while len(begin) < 4 or len(begin) < head_bytes(begin):
        begin += _next(stored)
    rest = _Rest(begin[head_bytes(begin) :], stored)
    for one in read_head(begin, check=False).attachments:
        yield one, rest.take(one.size)


def _next(stored: Iterator[bytes]) -> bytes:
    data = next(stored, None)
    if data is None:
        raise StoreDamaged("the stored bytes of this packet are cut off")
    return data


class _Rest:
    """Takes so many bytes at a time out of pieces of any size."""

    def __init__(self, begin: bytes, source: Iterator[bytes]) -> None:
        self._held, self._source = begin, source

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in pieces."""
        while size:
            if not self._held:
                self._held = _next(self._source)
            part, self._held = self._held[:size], self._held[size:]
            size -= len(part)
            yield part
