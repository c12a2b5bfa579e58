"""Step 2: what packets of the current epoch were called before, out of the outbox's table `past`.

`past.now_seq` leads to the next epoch, so older names are chains. They are listed in one order: the epoch
before the current one first, then the one before that; within an epoch by seq. It does not change while an
epoch lasts: rows of `past` that lead on are written when an epoch begins, and stay.

Only chains that reach the current epoch are told. A limit: a packet that was announced in the first epoch,
had its word under its name in the second, and was followed by a third before its region could tell the run
(the first wants that are answered do) is at the center, and its old announcement stays open: the loss list
names it once too often. Its digest and NIK hash are those of a packet that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw

from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from schemas.messages import Run

#: How many epochs back names are followed (SQLite joins 64 tables at most).
LEVELS_MAX = 16


class OutboxNames:
    """See `pipeline.region.renumbering.OlderNames`. Reads only; opened beside whoever writes."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / FILE_NAME, LAYOUT, readonly=True)

    def close(self) -> None:
        """Close what this thread holds open."""
        self._database.close()

    def count(self, epoch: str) -> int:
        """How many older names packets of `epoch` have."""
        with self._database.read() as db:
            return sum(_count(db, chain) for chain in _chains(db, epoch))

    def earlier(self, epoch: str) -> list[str]:
        """The epochs before `epoch`, oldest first."""
        with self._database.read() as db:
            lives = [str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n")]
        return lives[: lives.index(epoch)] if epoch in lives else []

    def runs(self, epoch: str, after: int, limit: int) -> list[Run]:
        """The next `limit` runs behind the first `after` names."""
        with self._database.read() as db:
            found: list[Run] = []
            for run in _runs(_names(db, epoch, after)):
                if len(found) == limit:
                    break
                found.append(run)
        return found


def names_before(db: apsw.Connection, epoch: str, seq: int) -> list[tuple[str, int]]:
    """What a packet of `epoch` was called in earlier epochs, oldest first."""
    lives = [str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n")]
    found: list[tuple[str, int]] = []
    for life in reversed(lives[: lives.index(epoch)] if epoch in lives else []):
        was = db.execute("SELECT seq FROM past WHERE epoch = ? AND now_seq = ?", (life, seq)).get
        if was is None:
            break
        seq = int(was)
        found.insert(0, (life, seq))
    return found


def _names(db: apsw.Connection, epoch: str, after: int) -> Iterator[tuple[str, int, int]]:
    """(epoch, seq, seq now) of the names behind the first `after`."""
    for chain in _chains(db, epoch):
        if after and (held := _count(db, chain)) <= after:
            after -= held
            continue
        wanted = f"SELECT p0.seq, p{len(chain) - 1}.now_seq {_from(chain)} ORDER BY p0.seq"
        for old, new in db.execute(f"{wanted} LIMIT -1 OFFSET ?{len(chain) + 1}", (*chain, after)):
            yield chain[0], int(old), int(new)
        after = 0


def _runs(names: Iterable[tuple[str, int, int]]) -> Iterator[Run]:
    held: tuple[str, int, int, int] | None = None
    for epoch, old, new in names:
        if held is not None:
            of, first, to, n = held
            if (epoch, old, new) == (of, first + n, to + n):
                held = (of, first, to, n + 1)
                continue
            yield Run(epoch=of, old=first, new=to, count=n)
        held = (epoch, old, new, 1)
    if held is not None:
        yield Run(epoch=held[0], old=held[1], new=held[2], count=held[3])


def _chains(db: apsw.Connection, epoch: str) -> Iterator[tuple[str, ...]]:
    """The epochs from an older one up to the one before `epoch`, nearest first."""
    lives = [str(row[0]) for row in db.execute("SELECT epoch FROM epoch ORDER BY n")]
    at = lives.index(epoch) if epoch in lives else 0
    for first in range(at - 1, max(-1, at - 1 - LEVELS_MAX), -1):
        yield tuple(lives[first:at])


def _from(chain: tuple[str, ...]) -> str:
    """`p0` is the oldest name; each next one is what it leads to. Placeholders: the epochs of the chain."""
    tables = ["FROM past p0"]
    tables += [
        f"CROSS JOIN past p{n} ON p{n}.seq = p{n - 1}.now_seq AND p{n}.epoch = ?{n + 1}"
        for n in range(1, len(chain))
    ]
    return " ".join(tables) + f" WHERE p0.epoch = ?1 AND p{len(chain) - 1}.now_seq IS NOT NULL"


def _count(db: apsw.Connection, chain: tuple[str, ...]) -> int:
    found: Any = db.execute(f"SELECT count(*) {_from(chain)}", chain).get
    return int(found)
