"""Step 2: counters, events and rates, kept in the transactions that they speak of.

So `depth` costs the same with 200,000 packets as with none, and answers while nothing runs. The sums of a
transaction are gathered here and written once, before it commits.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

import apsw

from pipeline.adapters.outbox_layout import NO_WORD, WAITING
from schemas.ranges import Ranges, from_wire, to_wire

#: Events kept; the oldest go first.
EVENTS_MAX = 500_000
#: Minutes that rates are kept.
RATE_MINUTES_MAX = 48 * 60
_PRUNE_EVERY = 256


def ranges_text(ranges: Ranges) -> str:
    """Ranges as they are stored."""
    return json.dumps(to_wire(ranges), separators=(",", ":"))


def ranges_of(text: str) -> Ranges:
    """Stored ranges, read."""
    return from_wire(json.loads(text))


class Books:
    """What one transaction does to the counts, at `now_ms`; `close` writes it. Bytes, milliseconds."""

    def __init__(self, db: apsw.Connection, now_ms: int, events_max: int = EVENTS_MAX) -> None:
        self._db = db
        self.now_ms = now_ms
        self._events_max = events_max
        self._counts: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        self._rates: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])

    def waiting(self, lane: int, packets: int, size: int) -> None:
        """So many more wait (less: negative)."""
        self._add(lane, WAITING, packets, size)

    def taken(self, lane: int, packets: int, size: int) -> None:
        """New packets: the center has said nothing of them, and they wait."""
        self._add(lane, NO_WORD, packets, size)
        self._add(lane, WAITING, packets, size)

    def word(self, lane: int, before: int | None, after: int | None, packets: int, size: int) -> None:
        """The center's word on packets went from one status to another (`None`: no word)."""
        self._add(lane, before or NO_WORD, -packets, -size)
        self._add(lane, after or NO_WORD, packets, size)

    def rate(self, lane: int, what: str, packets: int, size: int) -> None:
        """What moved in this minute: `in`, `out`, `receipt`, `verdict`, `refused`, `pruned`."""
        one = self._rates[lane, what]
        one[0] += packets
        one[1] += size

    def event(self, what: str, ranges: Ranges, detail: str = "") -> None:
        """Something happened to the seqs of `ranges` (`()`: to none). No names and no NIKs in `detail`."""
        first, last = (ranges[0][0], ranges[-1][1] - 1) if ranges else (0, 0)
        self._db.execute(
            "INSERT INTO event(at_ms, what, first, last, ranges, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (self.now_ms, what, first, last, ranges_text(ranges), detail),
        )
        number = self._db.last_insert_rowid()
        if number % _PRUNE_EVERY == 0:
            self._prune(number)

    def tally(self, what: str, n: int = 1) -> None:
        """Count something rare."""
        self._db.execute(
            "INSERT INTO tally VALUES (?1, ?2) ON CONFLICT(what) DO UPDATE SET n = n + ?2", (what, n)
        )

    def close(self) -> None:
        """Write the sums."""
        changes = [(n, size, lane, what) for (lane, what), (n, size) in self._counts.items() if n or size]
        for change in changes:
            self._db.execute(
                "UPDATE counter SET packets = packets + ?, bytes = bytes + ? WHERE lane = ? AND what = ?",
                change,
            )
        minute = self.now_ms // 60_000
        for (lane, what), (n, size) in self._rates.items():
            self._db.execute(
                "INSERT INTO rate VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT(minute, lane, what) "
                "DO UPDATE SET packets = packets + ?4, bytes = bytes + ?5",
                (minute, lane, what, n, size),
            )

    def _add(self, lane: int, what: int, packets: int, size: int) -> None:
        one = self._counts[lane, what]
        one[0] += packets
        one[1] += size

    def _prune(self, number: int) -> None:
        self._db.execute("DELETE FROM event WHERE id <= ?", (number - self._events_max,))
        self._db.execute("DELETE FROM rate WHERE minute < ?", (self.now_ms // 60_000 - RATE_MINUTES_MAX,))


def lane_cursors(db: apsw.Connection) -> Sequence[int]:
    """The cursor of each lane, by its number."""
    return [int(row[0]) for row in db.execute("SELECT cursor FROM lane ORDER BY lane")]
