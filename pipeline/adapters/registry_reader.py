"""Inspection of the registry, read-only: which records there are, how far it has got, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.adapters.registry_asks import Asked, asked
from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_rebuild import read_pieces
from pipeline.adapters.registry_rows import meta, read_cursors
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged
from pipeline.ports import Cursors
from schemas.errors import SchemaError
from schemas.feed import RecordChange, record_leaf
from schemas.messages import Back
from schemas.verdicts import Status


class Record(NamedTuple):
    """What the region holds to be true of one citizen. `head` is the beginning of the stored bytes of the
    packet `(epoch, seq)` that it was made from: `schemas.packet.read_head` reads it. `id` is its place in the
    registry, `record_no` the position in the center's sequence up to which the frame went that brought it."""

    id: int
    nik: str
    version: int
    status: Status
    epoch: str
    seq: int
    record_no: int
    head: bytes


class RegistryRate(NamedTuple):
    """What was applied in one minute (minutes since 1970): `facts` (groups) or `records`."""

    minute: int
    what: str
    n: int
    bytes: int


class RegistryEvent(NamedTuple):
    """Something rare that happened: `rewind`, `kept raw`."""

    id: int
    at_ms: int
    what: str
    detail: str


class Raw(NamedTuple):
    """A verified frame that this version does not understand, kept for a later one."""

    id: int
    sequence: str
    start: int
    upto: int
    at_ms: int
    reason: str
    bytes: int


class Rebuild(NamedTuple):
    """How the rebuild of this registry stands: `fresh`, it waits to be told where to begin; `back`, how far
    it has got; since when the office is open and all is here, milliseconds (`None`: not yet, or never)."""

    fresh: bool
    back: Back | None
    opened_ms: int | None
    rebuilt_ms: int | None


class HeldAttachment(NamedTuple):
    """An attachment that came back. `whole`: 0 some of it is still to come, 1 all is here and matches its
    digest, 2 it did not match and has to be fetched again (`pipeline.adapters.registry_rebuild`)."""

    name: str
    media_type: str
    size: int
    digest: bytes
    whole: int
    id: int


#: Cast: a flipped bit may have made a text of any of them, which would not even be read.
_COLUMNS = ", ".join(
    ["id"]
    + [f"CAST({name} AS INTEGER)" for name in ("nik", "version", "status", "seq", "record_no", "leaf")]
    + [f"CAST({name} AS BLOB)" for name in ("epoch", "head")]
)


class RegistryReader:
    """Opened beside whoever writes; takes no lock. Raises `NotFound` (none there) or `StoreError`."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
        self._database.db  # noqa: B018  # say at once if it is not there

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def count(self) -> int:
        """How many records there are."""
        return self._database.number("SELECT max(id) FROM record", none=0)

    def record(self, nik: str) -> Record | None:
        """The record of one citizen."""
        if not (len(nik) == 16 and nik.isascii() and nik.isdigit()):
            return None
        found = self._database.rows(f"SELECT {_COLUMNS} FROM record WHERE nik = ?", (int(nik),), _record)
        return found[0] if found else None

    def records(self, limit: int, after: int = 0) -> Iterator[Record]:
        """Up to `limit` records of an `id` above `after`, in the order in which they first came."""
        query = f"SELECT {_COLUMNS} FROM record WHERE id > ? ORDER BY id LIMIT ?"
        return map(_record, self._database.rows(query, (after, limit), tuple))

    def records_or_damage(self, limit: int, after: int = 0) -> list[tuple[int, Record | StoreDamaged]]:
        """The same with their `id`, and in place of one that does not read what is wrong with it."""
        query = f"SELECT {_COLUMNS} FROM record WHERE id > ? ORDER BY id LIMIT ?"
        return [(row[0], _or_damage(row)) for row in self._database.rows(query, (after, limit), tuple)]

    def cursors(self) -> Cursors:
        """How far the region has got in the center's two sequences."""
        with self._database.read() as db:
            return read_cursors(db)

    def positions(self) -> tuple[int, int]:
        """How far it has got in `facts` and in `records`: the numbers of `cursors` alone."""
        rows = self._database.rows("SELECT key, value FROM meta WHERE key IN ('facts', 'records')", (), tuple)
        held = {str(key): int(value) for key, value in rows}
        return held.get("facts", 0), held.get("records", 0)

    def raw_count(self, limit: int = 1_000) -> int:
        """How many frames are kept raw; it is not counted further than `limit`."""
        return self._database.number("SELECT count(*) FROM (SELECT 1 FROM raw LIMIT ?)", (limit,))

    def rebuild(self) -> Rebuild:
        """How its rebuild stands."""
        with self._database.read() as db:
            cursors = read_cursors(db)
            opened, rebuilt = meta(db, "opened_ms"), meta(db, "rebuilt_ms")
        return Rebuild(cursors.fresh, cursors.back, opened, rebuilt)

    def attachments(self, epoch: str, seq: int) -> list[HeldAttachment]:
        """What came back of the attachments of packet `(epoch, seq)`."""
        return self._database.rows(
            "SELECT name, media_type, size, digest, whole, id FROM attachment WHERE epoch = ? AND seq = ?",
            (epoch, seq),
            HeldAttachment._make,
        )

    def attachment_bytes(self, number: int) -> Iterator[bytes]:
        """The bytes of attachment `number` (`HeldAttachment.id`), in pieces, as far as they are here."""
        with self._database.read() as db:
            yield from read_pieces(db, number)

    def asked(self, number: int) -> Asked | None:
        """The question `number`, with its answer as far as it has come; `None` where it is forgotten."""
        with self._database.read() as db:
            return asked(db, number)

    def unsettled(self) -> int:
        """Groups of facts that the outbox has not settled yet."""
        return self._database.number("SELECT count(*) FROM fact")

    def raw(self, limit: int = 100) -> list[Raw]:
        """Frames that are kept raw, oldest first."""
        return self._database.rows(
            "SELECT id, sequence, start, upto, at_ms, reason, length(frame) FROM raw ORDER BY id LIMIT ?",
            (limit,),
            Raw._make,
        )

    def events(self, after: int = 0, limit: int = 1_000) -> list[RegistryEvent]:
        """Events of an id above `after`, oldest first."""
        return self._database.rows(
            "SELECT id, at_ms, what, detail FROM event WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            RegistryEvent._make,
        )

    def rates(self, since_minute: int) -> list[RegistryRate]:
        """What was applied from `since_minute` on (minutes since 1970), oldest first."""
        return self._database.rows(
            "SELECT minute, what, n, bytes FROM rate WHERE minute >= ? ORDER BY minute",
            (since_minute,),
            RegistryRate._make,
        )


def _or_damage(row: Any) -> Record | StoreDamaged:
    try:
        return _record(row)
    except StoreDamaged as why:
        return why


def _record(row: Any) -> Record:
    number, nik, version, status, seq, record_no, leaf, epoch, head = row
    try:
        shown = f"{nik:016d}"
        change = RecordChange(version, Status(status), epoch.decode("ascii"), seq, head)
        right = leaf is None or record_leaf(change, shown) == leaf
    except (TypeError, ValueError, AttributeError, OverflowError, SchemaError):
        right = False
    if not right:
        raise StoreDamaged(
            f"the record of {nik} does not read: its bytes are damaged on this disk. Fetch it from the "
            f"center: titian records --nik {nik} --fetch"
        )
    return Record(number, shown, version, change.status, change.epoch, seq, record_no, head)
