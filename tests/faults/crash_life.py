"""For crash tests: a region's stores at work for a while, recorded; and what can be seen of them after a
power cut.

A `Life` does one thing after the other: packets taken in, claimed, settled, lost and claimed again; facts and
records applied; stores closed and opened. Before and after each it notes what is promised from there on.
After a cut both stores must be as they were when the last thing was done, or as they are after the one that
was underway.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.adapters.outbox_draft import Draft
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.ports import EntryId
from pipeline.region.rebuild import position_of
from schemas.back import PASS_OPEN, PASS_PICTURES, PASSES_DONE, BackFrame, Piece, Position
from schemas.feed import FactGroup, RecordChange, Span, digests_hash
from schemas.lanes import Lane
from schemas.messages import Since
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status
from tests.faults.crash_seen import Promised, Seen, stands, view
from tests.faults.crash_vfs import Recorder
from tests.unit.outbox_rig import SMALL_DISK, draft

#: Pages after which the log is written back into the file: the product's 1,000 would make every state large.
LOG_PAGES = 40
#: Bytes of the packet that does not fit one piece.
LARGE_BYTES = 270_000
_LANES = tuple(Lane)
#: Records that a rebuild fetches.
TOP = 12
INCARNATION = "incarnation-1"


class Life:
    """One run of the stores in `folder`, of which `before` was seen. `contents` are digests by seq."""

    def __init__(
        self,
        folder: Path,
        recorder: Recorder,
        rng: random.Random,
        before: Seen,
        *,
        normal: bool = False,
        session: int = 1,
    ) -> None:
        self.folder, self.recorder, self.rng = folder, recorder, rng
        self.session, self.normal = session, normal
        self.epoch = before.epoch
        self.contents = dict(before.packets)
        self.records_at = {before.stands: len(before.niks)}
        self._niks = set(before.niks)
        self._entry = self._drafts = 0
        self.views = [before.view]
        self.promised = Promised(0, before.held, before.held, rewound=before.settled_to > before.facts)
        recorder.mark(self.promised)  # what was there must outlive a cut while it is opened, too
        self._open()
        self._follow()
        if before.fresh:
            since = Since(incarnation=INCARNATION, facts=0, records=TOP)
            self.records_at[TOP, Position(PASS_OPEN, TOP)] = 0
            self._do("start_at", lambda: self.registry.start_at(0, TOP, since, 1_000))

    def _open(self) -> None:
        self.outbox = SqliteOutbox(self.folder, SMALL_DISK)
        self.registry = SqliteRegistry(self.folder)
        self.outbox.connection.pragma("wal_autocheckpoint", LOG_PAGES)
        self.registry._database.db.pragma("wal_autocheckpoint", LOG_PAGES)
        if self.normal:
            self.outbox.connection.pragma("synchronous", 1)
        self.outbox.check(1)

    def close(self) -> None:
        """Let go of the files."""
        self.outbox.close()
        self.registry.close()

    def live(self, steps: int) -> None:
        """Do `steps` things."""
        doing: list[Callable[[], None]] = [
            self.take_one, self.take_one, self.take_one, self.take_many, self.claim, self.claim,
            self.apply_facts, self.apply_facts, self.settle, self.settle, self.apply_records,
            self.apply_records, self.go_back, self.go_back, self.lose, self.announce, self.rewind,
            self.open_anew,
        ]  # fmt: skip
        large = self.rng.randrange(2 * steps)  # in every other life
        for n in range(steps):
            do = self.take_large if n == large else self.rng.choice(doing)
            do()

    def _do(self, what: str, do: Callable[[], Any], drafts: list[Draft] | None = None) -> None:
        """One thing: what is promised before and after it is marked in the record."""
        for seq, one in enumerate(drafts or (), self.promised.acked + 1):
            self.contents[seq] = one.digest
        begun = self.promised.acked + len(drafts or ())
        self.promised = replace(self.promised, underway=what, begun=begun)
        self.recorder.mark(self.promised)
        do()
        self.promised = Promised(len(self.views), begun, begun, rewound=self.promised.rewound)
        self.recorder.mark(self.promised)
        packets = {seq: self.contents[seq] for seq in range(1, begun + 1)}
        self.views.append(view(self.outbox, self.registry, packets))

    # --- what happens -------------------------------------------------------------------------------

    def take_one(self) -> None:
        self._take(1)

    def take_many(self) -> None:
        self._take(self.rng.randint(2, 12))

    def _take(self, count: int) -> None:
        drafts = [self._draft(self.rng.choice((200, 600, 5_000))) for _ in range(count)]
        self._do("take", lambda: self.outbox.take(drafts, 1_000), drafts)

    def take_large(self) -> None:
        one = self._draft(LARGE_BYTES)
        self._do("take_large", lambda: self.outbox.take_large(one, 1_000), [one])

    def _draft(self, size: int) -> Draft:
        self._drafts += 1
        number = self.session * 100_000 + self._drafts
        return draft(number, size, self.rng.choice(_LANES))

    def claim(self) -> None:
        self._entry += 1
        entry = EntryId(self.session, self._entry)
        lanes = self.rng.sample(_LANES, len(_LANES))
        self._do("claim", lambda: self.outbox.claim(entry, lanes, 3_000, 100_000, 1_000))

    def lose(self) -> None:
        lost = self.outbox.in_flight()[:2]
        self._do("requeue", lambda: self.outbox.requeue(lost, 1_000))

    def announce(self) -> None:
        lane = self.rng.choice(_LANES)
        told = [seq for seq, _ in self.outbox.announced.untold(lane, 1, 5)]
        self._do("announce", lambda: self.outbox.announced.tell(lane, told, 1_000))

    def apply_facts(self) -> None:
        at = self.registry.cursors().facts
        seqs = sorted(self.rng.sample(range(1, self.promised.acked + 1), min(3, self.promised.acked)))
        status = self.rng.choice((Status.RECEIVED_AT_CENTRAL, Status.PRINT_READY_RECORD))
        groups = [self._group(seq, status) for seq in seqs]
        span = Span(INCARNATION, self.session, at, at + len(groups))
        self._do("apply_facts", lambda: self.registry.apply_facts(span, groups, 60_000))

    def _group(self, seq: int, status: Status) -> FactGroup:
        return FactGroup(self.epoch, status, (), ((seq, seq + 1),), digests_hash([self.contents[seq]]))

    def settle(self) -> None:
        """As push does: facts into the outbox, and only then they go from the registry."""
        at, to = self.outbox.settled_to(), self.registry.cursors().facts
        facts = self.registry.facts_after(at, 1_000)
        self._do("settle", lambda: self.outbox.settle(facts, to, 1_000, start=at))
        self._do("forget", lambda: self.registry.forget_facts(to, self.epoch))

    def apply_records(self) -> None:
        at = self.registry.cursors().records
        changes = [self._change(at + n + 1) for n in range(self.rng.randint(1, 6))]
        span = Span(INCARNATION, self.session, at, at + len(changes))
        self.records_at[span.to, stands(self.registry.cursors())[1]] = len(self._niks)
        self._do("apply_records", lambda: self.registry.apply_records(span, changes, 60_000))

    def go_back(self) -> None:
        """A frame of a rebuild, where there is one: records, and in the last pass parts of pictures."""
        cursors = self.registry.cursors()
        if cursors.back is None:
            return
        start = position_of(cursors.back)
        to = Position(start.pass_no, start.floor - self.rng.randint(1, 8))
        if to.floor < 0:
            to = Position(start.pass_no + 1, TOP if start.pass_no + 1 < PASSES_DONE else 0)
        pictures = start.pass_no == PASS_PICTURES
        records = () if pictures else tuple(self._change(n) for n in range(start.floor, max(to.floor, 0), -1))
        pieces = _pieces(self.epoch, start.floor + 1) if pictures else ()
        frame = BackFrame(INCARNATION, self.session, start, to, max(to.floor, 0), TOP, records, pieces)
        after = None if to.pass_no == PASSES_DONE else to
        self.records_at[cursors.records, after] = len(self._niks)
        self._do("apply_back", lambda: self.registry.apply_back(frame, 60_000))

    def _change(self, version: int) -> RecordChange:
        nik = 1806061505900001 + self.rng.randrange(60)
        self._niks.add(nik)
        packet = Packet("enrolment", {"nik": str(nik), "nama": f"WARGA {version}"}, (), 0)
        return RecordChange(version, Status.PRINT_READY_RECORD, self.epoch, version, pack_head(packet).prefix)

    def rewind(self) -> None:
        """The center's ledger went back: first the registry, then the outbox, as pull and push do."""
        if self.rng.random() < 0.5:
            return
        cursors = self.registry.cursors()
        facts = max(0, cursors.facts - self.rng.randint(0, 4))
        since = Since(incarnation=f"i-{self.session}-{len(self.views)}", facts=facts, records=cursors.records)
        self.promised = replace(self.promised, rewound=True)
        self._do("rewind", lambda: self.registry.rewind(facts, cursors.records, since))
        self._follow()

    def _follow(self) -> None:
        facts = self.registry.cursors().facts
        if self.outbox.settled_to() > facts:
            self._do("take_back", lambda: self.outbox.take_back(facts, 1_000))
        self.promised = replace(self.promised, rewound=False)
        self.recorder.mark(self.promised)

    def open_anew(self) -> None:
        def again() -> None:
            self.close()
            self._open()

        self._do("open anew", again)


def _pieces(epoch: str, seq: int) -> tuple[Piece, ...]:
    """A picture in two parts."""
    data = bytes([seq % 251]) * 3_000
    said = (epoch, seq, "face", "image/jpeg", len(data), hashlib.sha256(data).digest())
    return Piece(*said, 0, data[:2_000]), Piece(*said, 2_000, data[2_000:])
