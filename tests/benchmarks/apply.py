"""How fast the registry applies what comes with no link before: `python -m tests.benchmarks.apply [RECORDS]`.

Frames are built, sealed and signed beforehand, as the center makes them for a level of 64 and of 256 KiB;
`pull` opens and applies them, into a new registry on this disk, with every sync. Beside it the same rows
inserted into the same table by SQLite alone, as many to a transaction: synced, and not, which shows what this
disk costs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, cast

import apsw

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.outbox_sqlite import SqliteOutbox, create_outbox
from pipeline.adapters.registry_layout import FILE_NAME
from pipeline.adapters.registry_rows import record_rows
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.ports import EntryId
from pipeline.region.pull import Pull
from pipeline.region.speaker import Speaker
from pipeline.region_link import RegionLink
from pipeline.sample import sample_lines
from pipeline.throttle import ThrottleView
from schemas.back import PASS_OPEN, PASSES_DONE, BackFrame, Position, pack_back
from schemas.feed import RecordChange, Span, pack_records
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey
from schemas.messages import Since
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status
from tests.benchmarks.figures import table

LIFE, SESSION, NOW_MS = "incarnation-1", 7, 1_700_000_000_000
#: Bytes of heads in a frame before compression, at a level of 64 and of 256 KiB (`center.deliver`).
FRAMES = (128 * 1024, 256 * 1024)
#: Frames that one look at `down` brings (`redis_region_link`).
READ_AT_ONCE = 16


class Took(NamedTuple):
    """Seconds on the wall, and of this process's CPU."""

    wall_s: float
    cpu_s: float


class Ready:
    """A link of which every frame is here already."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._frames = frames
        self.read = 0

    def read_down(self, after: EntryId, wait_s: float) -> list[tuple[EntryId, bytes]]:
        """The next ones."""
        frames = self._frames[self.read : self.read + READ_AT_ONCE]
        first, self.read = self.read + 1, self.read + len(frames)
        return [(EntryId(SESSION, n), frame) for n, frame in enumerate(frames, first)]

    def delete_down(self, entries: Sequence[EntryId]) -> None:
        """They are gone."""

    def way_back(self) -> ThrottleView | None:
        """Nothing is measured."""
        return None

    def close(self) -> None:
        """Nothing is open."""


def records(count: int) -> list[RecordChange]:
    """Demographic records as an office has them."""
    heads = (
        pack_head(Packet(one["kind"], one["payload"], (), NOW_MS)).prefix
        for one in sample_lines(count, seed=6)
    )
    return [RecordChange(1, Status.PRINT_READY_RECORD, "aaaaaa", n, head) for n, head in enumerate(heads, 1)]


def parts_of(changes: Sequence[RecordChange], heads_bytes: int) -> list[list[RecordChange]]:
    """What goes into each frame."""
    parts: list[list[RecordChange]] = [[]]
    room = heads_bytes
    for one in changes:
        size = len(one.head or b"")
        if room < size:
            parts.append([])
            room = heads_bytes
        parts[-1].append(one)
        room -= size
    return parts


def live(parts: Sequence[Sequence[RecordChange]]) -> list[tuple[Kind, bytes]]:
    """Bodies of `records` frames."""
    bodies, at = [], 0
    for part in parts:
        bodies.append((Kind.RECORDS, pack_records(Span(LIFE, SESSION, at, at + len(part)), part)))
        at += len(part)
    return bodies


def back(parts: Sequence[Sequence[RecordChange]]) -> list[tuple[Kind, bytes]]:
    """Bodies of `back` frames of a rebuild's first pass."""
    total = left = sum(map(len, parts))
    bodies = []
    for part in parts:
        start, left = Position(PASS_OPEN, left), left - len(part)
        to = Position(PASS_OPEN, left) if left else Position(PASSES_DONE, total)
        bodies.append((Kind.BACK, pack_back(BackFrame(LIFE, SESSION, start, to, left, total, tuple(part)))))
    return bodies


def pulled(folder: Path, bodies: Sequence[tuple[Kind, bytes]], count: int) -> Took:
    """`pull` takes all of it into a new registry."""
    ours, center = PrivateKey.generate(), PrivateKey.generate()
    create_outbox(folder, "1806")
    rebuilds = bodies[0][0] is Kind.BACK
    create_registry(folder, NOW_MS, fresh=rebuilds)
    frames = [
        seal_frame(Header(kind, "1806", "aaaaaa", center.id, ours.id), body, ours=center, theirs=ours.public)
        for kind, body in bodies
    ]
    link, speaker = Ready(frames), Speaker("benchmark", session=SESSION)
    with closing(SqliteOutbox(folder)) as outbox, closing(SqliteRegistry(folder)) as registry:
        since = Since(incarnation=LIFE, facts=0, records=0)
        if rebuilds:
            registry.start_at(0, count, since, NOW_MS)
        else:
            registry.adopt(since)
        end = cast("RegionLink", link)
        pull = Pull(outbox, registry, end, speaker, SystemClock(), ours, center.public)

        def run() -> None:
            while link.read < len(frames):
                pull.step(0.0)

        took = timed(run)
        assert registry.record_count() == count, "not all of it was applied"
    return took


def inserted(folder: Path, parts: Sequence[Sequence[RecordChange]], synchronous: str) -> Took:
    """SQLite alone: the same rows into the same table and index, the same number to a transaction."""
    create_registry(folder, NOW_MS)
    rows = [record_rows(n, part) for n, part in enumerate(parts, 1)]
    with closing(apsw.Connection(str(folder / FILE_NAME))) as db:
        db.execute(f"PRAGMA synchronous={synchronous}")
        columns = len(rows[0][0])
        names = [row[0] for row in db.execute("SELECT name FROM pragma_table_info('record')")]
        named = [name for name in names if name not in ("id", "open")][:columns]
        insert = f"INSERT INTO record({', '.join(named)}) VALUES ({', '.join('?' * columns)})"

        def run() -> None:
            for some in rows:
                with db:
                    db.executemany(insert, some)

        return timed(run)


def timed(run: Callable[[], None]) -> Took:
    """How long it took."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    run()
    return Took(time.perf_counter() - wall_s, time.process_time() - cpu_s)


def report(count: int) -> str:
    """The table of this module."""
    changes = records(count)
    rows: list[tuple[str, str, str]] = []

    def add(what: str, did: Callable[[Path], Took]) -> None:
        with tempfile.TemporaryDirectory(dir=".") as name:
            took = did(Path(name))
        rows.append((what, f"{count / took.wall_s:,.0f}", f"{count / took.cpu_s:,.0f}"))

    for heads_bytes in FRAMES:
        parts = parts_of(changes, heads_bytes)
        each = f"{len(parts[0])} a frame"
        for what, bodies in (("records", live(parts)), ("back", back(parts))):
            add(f"pull, {what}, {each}", lambda at, bodies=bodies: pulled(at, bodies, count))  # type: ignore[misc]
        add(f"SQLite alone, {each}", lambda at, parts=parts: inserted(at, parts, "FULL"))  # type: ignore[misc]
        add(f"the same without syncs, {each}", lambda at, parts=parts: inserted(at, parts, "OFF"))  # type: ignore[misc]
    return table((f"{count:,} records applied", "records/s", "per CPU second"), rows)


if __name__ == "__main__":
    print(report(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
