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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.adapters.outbox_draft import Draft
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.errors import StoreDamaged, StoreError
from pipeline.ports import EntryId
from schemas.feed import FactGroup, RecordChange, Span, digests_hash
from schemas.lanes import Lane
from schemas.messages import Since
from schemas.packet import Packet, pack_head
from schemas.verdicts import Status
from tests.faults.crash_vfs import Recorder
from tests.unit.outbox_rig import SMALL_DISK, draft

#: Pages after which the log is written back into the file: the product's 1,000 would make every state large.
LOG_PAGES = 40
#: Bytes of the packet that does not fit one piece.
LARGE_BYTES = 300_000
_LANES = tuple(Lane)
INCARNATION = "incarnation-1"
_OUTBOX_TABLES = (
    "SELECT seq, lane, kind, size, digest, key, nik, at_ms, status, fact_no, reasons FROM packet ORDER BY 1",
    "SELECT * FROM again ORDER BY lane, seq",
    "SELECT * FROM large ORDER BY seq",
    "SELECT * FROM lane ORDER BY lane",
    "SELECT * FROM sent ORDER BY session, n",
    "SELECT * FROM announced ORDER BY seq",
    "SELECT * FROM counter ORDER BY lane, what",
    "SELECT * FROM tally ORDER BY what",
    "SELECT * FROM event ORDER BY id",
    "SELECT * FROM meta ORDER BY key",
)
_REGISTRY_TABLES = (
    "SELECT * FROM meta ORDER BY key",
    "SELECT * FROM since ORDER BY n",
    "SELECT * FROM record ORDER BY id",
    "SELECT * FROM fact ORDER BY position, n",
    "SELECT * FROM event ORDER BY id",
)


@dataclass(frozen=True)
class Promised:
    """What holds at one moment. Packets 1 to `acked` were promised to their producers, none above `begun` was
    ever handed in; the stores are as in view `view`, or as in the next one where something is `underway`.
    `rewound`: the registry went back, and the outbox follows when push runs next."""

    view: int = 0
    acked: int = 0
    begun: int = 0
    underway: str = ""
    rewound: bool = False


class Seen(NamedTuple):
    """What the product makes of a disk: `error` in words, or the stores. `held` is the highest seq before the
    check of opening, `lost` what that check said is lost; `packets` are SHA-256 by seq of what can be read.
    """

    error: str
    epoch: str = ""
    held: int = 0
    lost: int = 0
    packets: dict[int, bytes] = {}  # noqa: RUF012  # never changed
    settled_to: int = 0
    facts: int = 0
    records: int = 0
    niks: frozenset[int] = frozenset()
    facts_there: tuple[int, ...] = ()
    view: bytes = b""


def see(folder: Path) -> Seen:
    """Open the stores as the product does, and read everything."""
    try:
        outbox = SqliteOutbox(folder, SMALL_DISK)
    except StoreError as why:
        return Seen(str(why))
    registry = SqliteRegistry(folder)
    try:
        held = outbox.highest_seq()
        outbox.check(1)
        return _seen(outbox, registry, held)
    except StoreError as why:
        return Seen(str(why))
    finally:
        outbox.close()
        registry.close()


def _seen(outbox: SqliteOutbox, registry: SqliteRegistry, held: int) -> Seen:
    packets: dict[int, bytes] = {}
    rows: list[Any] = outbox.connection.execute("SELECT seq FROM packet ORDER BY seq").fetchall()
    for (seq,) in rows:
        try:
            packets[seq] = hashlib.sha256(outbox.read(seq)).digest()
        except StoreDamaged:
            packets[seq] = b""
    niks: list[Any] = registry._database.db.execute("SELECT nik FROM record").fetchall()
    cursors = registry.cursors()
    settled_to = outbox.settled_to()
    return Seen(
        "",
        epoch=outbox.epoch,
        held=held,
        lost=int(outbox.connection.execute("SELECT n FROM tally WHERE what = 'lost'").get or 0),
        packets=packets,
        settled_to=settled_to,
        facts=cursors.facts,
        records=cursors.records,
        niks=frozenset(int(nik) for (nik,) in niks),
        facts_there=tuple(at for at, _ in registry.facts_after(settled_to, 1_000_000)),
        view=_view(outbox, registry, packets),
    )


def _view(outbox: SqliteOutbox, registry: SqliteRegistry, packets: dict[int, bytes]) -> bytes:
    """Two pairs of stores with the same view hold the same."""
    said = hashlib.sha256(repr(sorted(packets.items())).encode())
    for query in _OUTBOX_TABLES:
        said.update(repr(outbox.connection.execute(query).fetchall()).encode())
    with registry._database.read() as db:
        for query in _REGISTRY_TABLES:
            said.update(repr(db.execute(query).fetchall()).encode())
    return said.digest()


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
        self.records_at = {before.records: len(before.niks)}
        self._niks = set(before.niks)
        self._entry = self._drafts = 0
        self.views = [before.view]
        self.promised = Promised(0, before.held, before.held, rewound=before.settled_to > before.facts)
        recorder.mark(self.promised)  # what was there must outlive a cut while it is opened, too
        self._open()
        self._follow()

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
            self.apply_records, self.lose, self.announce, self.rewind, self.open_anew,
        ]  # fmt: skip
        large = self.rng.randrange(steps)
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
        self.views.append(_view(self.outbox, self.registry, packets))

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
        self.records_at[span.to] = len(self._niks)
        self._do("apply_records", lambda: self.registry.apply_records(span, changes, 60_000))

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
