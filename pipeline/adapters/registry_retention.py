"""Step 7, much later: attachments that came back (by a rebuild, or asked for) go again.

They are copies of what the center has: `titian records --nik N --fetch` brings one back at any time. So they
go when they are old and their citizen's card is printed, or there is no such record.

Pieces name the packet and not the citizen: where the record was not in the same pass (it came by a bundle, or
moved meanwhile) `nik` is 0 until the attachment is old. Then its owner is the record that was made from that
packet; where none was, nothing shows the attachment. No index leads there, so all are found in one look.
"""

from __future__ import annotations

from pipeline.adapters.outbox_retention import give_pages_back
from pipeline.adapters.sqlite import Database
from pipeline.region.housekeeping import Gone
from schemas.verdicts import Status

_DUE = (
    "SELECT a.id, a.size FROM attachment a LEFT JOIN record r ON r.nik = a.nik "
    f"WHERE a.at_ms < ? AND (r.status IS NULL OR r.status = {int(Status.CARD_PRINTED)}) ORDER BY a.id LIMIT ?"
)


_OWNERLESS = "SELECT EXISTS(SELECT 1 FROM attachment WHERE nik = 0 AND at_ms < ?)"
_OWNERS = (
    "SELECT r.nik, r.epoch, r.seq FROM record r CROSS JOIN attachment a "
    "ON a.epoch = r.epoch AND a.seq = r.seq WHERE +a.nik = 0 AND a.at_ms < ?"
)


class RegistryRetention:
    """Deletes such attachments, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prune(self, before_ms: int, now_ms: int, limit: int = 50) -> Gone:  # noqa: ARG002  # nothing is dated
        """At most `limit` attachments that came before `before_ms`."""
        if self._database.number(_OWNERLESS, (before_ms,)):
            self._find_owners(before_ms)
        due = self._database.rows(_DUE, (before_ms, limit), tuple)
        for number, _ in due:
            with self._database.write() as db:
                db.execute("DELETE FROM piece WHERE attachment = ?", (number,))
                db.execute("DELETE FROM attachment WHERE id = ?", (number,))
        return Gone(len(due), len(due), sum(size for _, size in due))

    def _find_owners(self, before_ms: int) -> None:
        owners = self._database.rows(_OWNERS, (before_ms,), tuple)
        with self._database.write() as db:
            db.executemany("UPDATE attachment SET nik = ? WHERE epoch = ? AND seq = ? AND nik = 0", owners)

    def give_back(self) -> int:
        """Give free pages back to the disk, a bounded number a call; returns how many."""
        return give_pages_back(self._database)
