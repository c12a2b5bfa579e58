"""Step 7: the registry as a reconciliation sees it: digests of what its rows say, and rows opened anew.

A digest is computed from the contents of the rows each time, so a flipped bit on the disk is noticed. One
look at all of them, in the order in which they lie, gives the digests of some thousand ranges; what is asked
after that is summed up from these, or read by NIK where it is smaller.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_rows import read_cursors
from pipeline.adapters.sqlite import Database
from pipeline.ports import Cursors
from schemas.compare import NIK_STOP, ListedRecord, RecordsDigest, halves, records_digest
from schemas.feed import RecordChange, record_leaf
from schemas.ranges import Ranges

#: Ranges of the one look at everything.
RANGES = 4_096
#: The leaf of a row that says nothing a record can say: it agrees with none.
_NO_LEAF = 1
_ROW = "nik, version, status, epoch, seq, head"


class _Look(NamedTuple):
    bounds: list[int]
    digests: list[RecordsDigest]
    by_status: tuple[int, ...]


class RegistryCompare:
    """Beside whoever writes the registry; see `pipeline.region.comparing.OurRecords`."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT)
        self._look: _Look | None = None

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def cursors(self) -> Cursors:
        """Where the registry stands."""
        with self._database.read() as db:
            return read_cursors(db)

    def made_ms(self) -> int:
        """When the registry was made."""
        return self._database.number("SELECT coalesce((SELECT value FROM meta WHERE key = 'made_ms'), 0)")

    def look(self) -> tuple[int, ...]:
        """Read every row once; returns how many records have each status, from 1 on."""
        with self._database.read() as db:
            self._look = _read_all(db)
        return self._look.by_status

    # --- pipeline.region.comparing.OurRecords ---------------------------------------------------

    def digests(self, bounds: Sequence[int]) -> list[RecordsDigest]:
        """See the port."""
        seen = self._look
        with self._database.read() as db:
            return [
                _summed(seen, start, stop) or _digest(_rows(db, start, stop))
                for start, stop in pairwise(bounds)
            ]

    def split(self, start: int, stop: int, ways: int) -> Sequence[int]:
        """See the port; needs at least two records there."""
        seen = self._look
        if seen is not None:
            inner = seen.bounds[bisect_right(seen.bounds, start) : bisect_left(seen.bounds, stop)]
            if len(inner) >= ways - 1:
                return _spread(start, inner, stop, ways)
        between = "SELECT nik FROM record WHERE nik > ? AND nik < ? ORDER BY nik"
        found = self._database.rows(between, (start, stop), lambda row: int(row[0]))
        return _spread(start, found, stop, ways)

    def listed(self, ranges: Ranges) -> dict[int, ListedRecord]:
        """See the port."""
        found: dict[int, ListedRecord] = {}
        with self._database.read() as db:
            for start, stop in ranges:
                for row in _rows(db, start, stop):
                    found[row[0]] = ListedRecord(row[0], row[1], _leaf(*row))
        return found

    # --- repairs --------------------------------------------------------------------------------

    def sources(self, niks: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Of which packet `(epoch, seq)` each of these records was made."""
        found: dict[int, tuple[str, int]] = {}
        with self._database.read() as db:
            for nik in niks:
                row: Any = db.execute("SELECT epoch, seq FROM record WHERE nik = ?", (nik,)).fetchone()
                if row is not None:
                    found[nik] = (str(row[0]), int(row[1]))
        return found

    def open_records(self, niks: Iterable[int]) -> None:
        """Let the next word of the center replace these records, whatever its version."""
        with self._database.write() as db:
            db.executemany("UPDATE record SET open = 1 WHERE nik = ?", [(nik,) for nik in niks])

    def withdraw(self, asks: Iterable[int]) -> None:
        """Ask these questions no longer, and forget what was answered."""
        with self._database.write() as db:
            db.executemany("DELETE FROM ask WHERE id = ?", [(one,) for one in asks])


def _read_all(db: apsw.Connection) -> _Look:
    count = int(db.execute("SELECT count(*) FROM record").get or 0)
    every = max(1, -(-count // RANGES))
    inner = [
        int(nik)
        for n, (nik,) in enumerate(db.execute("SELECT nik FROM record ORDER BY nik"))
        if n % every == 0 and n
    ]
    bounds = [0, *(nik for nik in inner if 0 < nik < NIK_STOP), NIK_STOP]
    sums = [[0, 0, 0, 0] for _ in bounds]  # the last one: of NIKs that are none
    by_status = [0] * 9
    for row in db.execute(f"SELECT {_ROW} FROM record"):
        nik, version, status = (one if type(one) is int else -1 for one in row[:3])
        upper, lower = halves(_leaf(*row))
        one = sums[bisect_right(bounds, nik) - 1]
        one[0] += 1
        one[1] += upper
        one[2] += lower
        one[3] += version
        by_status[status if 1 <= status <= 8 else 0] += 1
    digests = [records_digest(n, upper, lower, 0, versions) for n, upper, lower, versions in sums[:-1]]
    return _Look(bounds, digests, tuple(by_status[1:]))


def _summed(seen: _Look | None, start: int, stop: int) -> RecordsDigest | None:
    """The digest of a range that is made of whole ones of the look; `None` where it is not."""
    if seen is None:
        return None
    first, last = bisect_left(seen.bounds, start), bisect_left(seen.bounds, stop)
    if seen.bounds[first : first + 1] != [start] or seen.bounds[last : last + 1] != [stop]:
        return None
    total = RecordsDigest()
    for one in seen.digests[first:last]:
        total = total.plus(one)
    return total


def _rows(db: apsw.Connection, start: int, stop: int) -> Iterable[Any]:
    return db.execute(f"SELECT {_ROW} FROM record WHERE nik >= ? AND nik < ? ORDER BY nik", (start, stop))


def _digest(rows: Iterable[Any]) -> RecordsDigest:
    count = upper = lower = versions = 0
    for row in rows:
        high, low = halves(_leaf(*row))
        version = row[1] if type(row[1]) is int else -1
        count, upper, lower, versions = count + 1, upper + high, lower + low, versions + version
    return records_digest(count, upper, lower, 0, versions)


def _leaf(nik: int, version: int, status: Any, epoch: str, seq: int, head: bytes) -> int:
    try:
        return record_leaf(RecordChange(version, status, epoch, seq, head), f"{nik:016d}")
    except Exception:  # whatever a damaged row holds: it agrees with no record
        return _NO_LEAF


def _spread(start: int, inner: Sequence[int], stop: int, ways: int) -> list[int]:
    """At most `ways` parts with about as many of `inner` in each."""
    step = max(1, -(-len(inner) // ways))
    return [start, *inner[step - 1 :: step][: ways - 1], stop]
