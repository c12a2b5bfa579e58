"""Step 4: frames that were kept aside, one by one: to be read again, or dropped by a person."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, select

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.ledger_tables import QUARANTINE


class KeptFrame(NamedTuple):
    """A frame that was kept aside: its number, the region and stream in which it was found, and why."""

    id: int
    region: str
    stream: str
    code: str
    frame: bytes


class LedgerQuarantine:
    """Of `ledger`, beside whoever else writes it."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._store = ledger._store

    def numbers(self) -> list[int]:
        """Every frame that is kept aside, the oldest first."""
        with self._store.read() as connection:
            return list(connection.execute(select(QUARANTINE.c.id).order_by(QUARANTINE.c.id)).scalars())

    def find(self, number: int) -> KeptFrame | None:
        """The frame of that number; `None` where it is not there (any more)."""
        names = KeptFrame._fields
        with self._store.read() as connection:
            chosen = select(*(QUARANTINE.c[name] for name in names)).where(QUARANTINE.c.id == number)
            row = connection.execute(chosen).one_or_none()
        return None if row is None else KeptFrame(*row)

    def remove(self, number: int) -> None:
        """It is kept no longer; nothing where it is not there."""
        with self._store.write() as connection:
            connection.execute(delete(QUARANTINE).where(QUARANTINE.c.id == number))
