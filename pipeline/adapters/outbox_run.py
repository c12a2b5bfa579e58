"""Step 3: small packets of one lane for the next frame; what leads to them is not trusted.

An index, or the table `again`, says which seqs come next: that they rise, and that the row found under each
is of that lane, is looked at here: a flipped bit must never put a packet's bytes under another identity.
"""

from __future__ import annotations

import apsw

from pipeline.adapters.outbox_aside import damage_of
from pipeline.adapters.sqlite_errors import REBUILD
from pipeline.errors import StoreDamaged
from schemas.lanes import Lane
from schemas.limits import BATCH_PACKETS_MAX, BATCHED_PACKET_BYTES_MAX

#: Cast: a flipped bit may have made a text of it, which would not even be read. All of it is read in the
#: packet's row, also what the index has too.
_COLUMNS = (
    f"p.size, CASE WHEN p.size <= {BATCHED_PACKET_BYTES_MAX} THEN CAST(b.stored AS BLOB) END, "
    "CAST(p.digest AS BLOB), p.status, p.lane"
)
_BEHIND = "LEFT JOIN packet p ON p.seq = a.seq LEFT JOIN body b ON b.seq = a.seq"
_AGAIN = f"SELECT a.seq, {_COLUMNS} FROM again a {_BEHIND} WHERE a.lane = ? ORDER BY a.seq"
_NEW = (
    f"SELECT a.seq, {_COLUMNS} FROM packet a INDEXED BY packet_lane {_BEHIND} "
    "WHERE a.lane = ? AND a.seq > ? ORDER BY a.seq"
)


class Run:
    """Small packets that fit one frame, in the order of their seqs; `damaged` ones are passed over.

    `passed` is the last seq that was looked at; `full`: the next one did not fit. Bytes.
    """

    def __init__(self, db: apsw.Connection, lane: Lane, bytes_max: int) -> None:
        self.seqs: list[int] = []
        self.stored: list[bytes] = []
        self.damaged: list[tuple[int, int, str]] = []
        self.bytes = 0
        self.passed = 0
        self.full = False
        self._db, self._lane = db, lane
        self._bytes_max = bytes_max

    def again(self, cursor: int) -> int | None:
        """Take what waits again, at or below the lane's cursor. Returns the seq of a large packet if one
        comes first. Raises `StoreDamaged` where what leads to the packets does not agree with them, as `new`
        does."""
        large = self._gather(self._db.execute(_AGAIN, (self._lane,)))
        if max(self.passed, large or 0) > cursor:
            raise _misled(self._lane, large or self.passed)
        return large

    def new(self, cursor: int) -> int | None:
        """The same of what was never sent, above the cursor."""
        self.passed = cursor
        return self._gather(self._db.execute(_NEW, (self._lane, cursor)))

    def _gather(self, rows: apsw.Cursor) -> int | None:
        try:
            for seq, size, stored, digest, status, lane in rows:
                if lane != self._lane or seq <= self.passed:
                    raise _misled(self._lane, seq)
                if status is not None:
                    self.passed = seq
                    continue
                if size > BATCHED_PACKET_BYTES_MAX:
                    self.full = bool(self.seqs)
                    return None if self.seqs else int(seq)
                if why := damage_of(size, digest, stored):
                    self.damaged.append((seq, size, why))
                    self.passed = seq
                    continue
                if self.seqs and (self.bytes + size > self._bytes_max or len(self.seqs) >= BATCH_PACKETS_MAX):
                    self.full = True
                    return None
                self.seqs.append(seq)
                self.stored.append(stored)
                self.bytes += size
                self.passed = seq
        finally:
            rows.close()
        return None


def _misled(lane: Lane, seq: object) -> StoreDamaged:
    return StoreDamaged(
        f"what leads to the packets of lane {int(lane)} is damaged (at {seq}), and building it anew has not "
        f"helped. {REBUILD}"
    )
