"""Step 4: the ledger's books, kept within the transaction that they are about: tallies, counters, events.

Changes are collected while a transaction runs and written once at its end, so that a batch of hundreds of
packets costs a handful of rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.adapters.ledger_engine import Statement, upsert
from pipeline.adapters.ledger_tables import COUNTER, EVENT, QUARANTINE, RATE, TALLY

#: Quarantine of one region: frames and bytes; the oldest go first.
QUARANTINE_FRAMES_MAX = 1_000
QUARANTINE_BYTES_MAX = 32 * 1024 * 1024
#: Rates are kept this long, minutes; events this long, milliseconds.
RATE_MINUTES = 7 * 24 * 60
DETAIL_CHARS_MAX = 300

_EVENT = Statement(
    EVENT.insert().values(
        {
            name: bindparam(name)
            for name in ("at_ms", "region", "epoch_id", "seq_first", "seq_last", "what", "detail")
        }
    ),
    ("at_ms", "region", "epoch_id", "seq_first", "seq_last", "what", "detail"),
)


def storable(text: str, chars_max: int) -> str:
    """A text that may quote what came in, so that any database takes it (PostgreSQL knows no NUL)."""
    return text[:chars_max].replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass
class Books:
    """What one transaction adds to the books of `region`."""

    region: str
    now_ms: int
    tallies: Counter[tuple[int, int]] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    events: list[tuple[int, str, int | None, int | None, int | None, str, str]] = field(default_factory=list)

    def moved(self, lane: int, before: int | None, after: int | None, n: int = 1) -> None:
        """`n` packets of `lane` went from one status to another (`None`: were not there, are gone)."""
        if before is not None:
            self.tallies[lane, before] -= n
        if after is not None:
            self.tallies[lane, after] += n

    def count(self, what: str, n: int = 1) -> None:
        """It happened `n` times."""
        if n:
            self.counters[what] += n

    def event(
        self, what: str, epoch_id: int | None = None, first: int = 0, last: int = 0, detail: str = ""
    ) -> None:
        """It happened to the packets `first` to `last` of an epoch (or to the region)."""
        seqs = (first, last) if epoch_id is not None else (None, None)
        self.events.append(
            (self.now_ms, self.region, epoch_id, *seqs, what, storable(detail, DETAIL_CHARS_MAX))
        )

    def write(self, connection: Connection) -> None:
        """Everything into the tables."""
        _EVENT.many(connection, self.events)
        tallies = [(self.region, lane, st, n) for (lane, st), n in sorted(self.tallies.items()) if n]
        counters = sorted(self.counters.items())
        minute = self.now_ms // 60_000
        _adder(connection, "tally").many(connection, tallies)
        _adder(connection, "counter").many(connection, [(self.region, what, n) for what, n in counters])
        _adder(connection, "rate").many(connection, [(minute, self.region, what, n) for what, n in counters])


def quarantine(
    connection: Connection, books: Books, stream: str, code: str, sentence: str, frame: bytes
) -> None:
    """Keep a frame aside with its reason (`trim_quarantine` afterwards)."""
    connection.execute(
        QUARANTINE.insert().values(
            region=books.region,
            stream=stream,
            code=storable(code, 64),
            sentence=storable(sentence, 500),
            at_ms=books.now_ms,
            frame=frame,
        )
    )


def trim_quarantine(connection: Connection, books: Books) -> None:
    """What passes the region's bounds goes, the oldest first, and is counted."""
    held = connection.execute(
        select(QUARANTINE.c.id, func.length(QUARANTINE.c.frame))
        .where(QUARANTINE.c.region == books.region)
        .order_by(QUARANTINE.c.id.desc())
    ).all()
    kept_bytes = 0
    for place, (_, frame_bytes) in enumerate(held):
        kept_bytes += frame_bytes
        if place and (place >= QUARANTINE_FRAMES_MAX or kept_bytes > QUARANTINE_BYTES_MAX):
            old = (QUARANTINE.c.region == books.region, QUARANTINE.c.id <= held[place].id)
            connection.execute(delete(QUARANTINE).where(*old))
            books.count("quarantine_dropped", len(held) - place)
            return


def forget_old_rates(connection: Connection, now_ms: int) -> None:
    """Rates older than a week go."""
    connection.execute(delete(RATE).where(RATE.c.minute < now_ms // 60_000 - RATE_MINUTES))


_ADDERS: dict[tuple[str, str], Statement] = {}


def _adder(connection: Connection, name: str) -> Statement:
    """`n` is added to a row, which is made where there is none."""
    found = _ADDERS.get((connection.dialect.name, name))
    if found is None:
        table = {"tally": TALLY, "counter": COUNTER, "rate": RATE}[name]
        names = [column.name for column in table.columns]
        made: postgresql.Insert | sqlite.Insert = upsert(connection, table)
        adding = made.values({one: bindparam(one) for one in names}).on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={"n": table.c.n + made.excluded.n}
        )
        found = _ADDERS[connection.dialect.name, name] = Statement(adding, names)
    return found
