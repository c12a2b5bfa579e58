"""Step 7, by courier: the frames of a bundle from the center -> facts, records and cursors, as pull does.

The file's manifest says under which lives of the ledger it was made; how they lie to what the region holds is
settled before anything is applied. A part of a file has only what its first entry says was meant; into an
empty registry that waits for its rebuild it brings records, and moves nothing: the rebuild still begins with
what the office needs first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.adapters.registry_bundles import Applied, Placed
from pipeline.bundles import Continues, GoesBack, LeftBehind, Lineage, Problem, is_of_line, lineage
from pipeline.ports import Clock, Cursors, Settled
from schemas.errors import SchemaError
from schemas.feed import FactGroup, RecordChange, Span, unpack_facts, unpack_records
from schemas.frame import Header, Kind, open_body, split, verify
from schemas.keys import PrivateKey, PublicKey
from schemas.manifest import Manifest
from schemas.messages import Since
from schemas.ranges import total

#: Groups settled in one transaction, and frames of facts between two sweeps into the outbox.
SETTLE_GROUPS = 500
SWEEP_FRAMES = 100


class Registry(Protocol):
    """The registry as an import sees it."""

    def cursors(self) -> Cursors:
        """Where the region stands."""

    def follow(self, theirs: Sequence[Since], now_ms: int) -> tuple[Lineage, int]:
        """Adopt the bundle's lives of the ledger; what that came to, and above what facts are void."""

    def put_facts(
        self, span: Span, groups: Sequence[FactGroup], lives: set[str], now_ms: int, *, move: bool = True
    ) -> Placed:
        """Store groups that continue the cursor."""

    def put_records(
        self, span: Span, changes: Sequence[RecordChange], lives: set[str], now_ms: int, *, move: bool = True
    ) -> Applied:
        """Apply newer records."""

    def newer(self, changes: Sequence[RecordChange]) -> int:
        """How many are newer than what is held."""

    def open_for_service(self, records_to: int, now_ms: int) -> bool:
        """All records up to there are here."""

    def note(self, what: str, detail: str, now_ms: int) -> None:
        """Keep an event."""


class Facts(Protocol):
    """The registry's facts that the outbox has not settled yet."""

    def facts_after(self, position: int, limit: int) -> list[tuple[int, FactGroup]]:
        """Stored groups above `position`."""

    def forget_facts(self, upto: int, epoch: str) -> None:
        """They are settled."""


class Outbox(Protocol):
    """The outbox as an import sees it."""

    epoch: str

    def settle(
        self, facts: Sequence[tuple[int, FactGroup]], to: int, now_ms: int, start: int | None = None
    ) -> Settled:
        """Merge facts into our packets."""

    def settled_to(self) -> int:
        """The position up to which facts are settled."""

    def take_back(self, above: int, now_ms: int) -> int:
        """Facts above that position are void."""


@dataclass
class Imported:
    """What an import did. `facts`: packets that the bundle speaks of, of which `settled` are ours;
    `foreign_facts` are of an outbox that is gone. `records` that it holds, of which `changed` were newer.
    `gaps`: frames with something missing before them. `back`: packets that wait again, since the center was
    restored. `opened`: a rebuild is over by it. `problems`: frames that were not taken, by code."""

    facts: int = 0
    settled: int = 0
    foreign_facts: int = 0
    records: int = 0
    changed: int = 0
    gaps: int = 0
    forks: int = 0
    back: int = 0
    opened: bool = False
    problems: dict[str, Problem] = field(default_factory=dict)

    def problem(self, code: str) -> None:
        """One more frame that was not taken."""
        self.problems[code] = Problem(self.problems.get(code, Problem()).frames + 1)

    @property
    def clean(self) -> bool:
        """Whether everything in the bundle was taken."""
        return not (self.problems or self.forks)


class Import:
    """Applies the frames of one bundle: `begin`, `take` each, `finish`. With `dry_run` nothing is changed."""

    def __init__(
        self,
        registry: Registry,
        facts: Facts,
        outbox: Outbox,
        region: str,
        ours: Sequence[PrivateKey],
        center: PublicKey,
        clock: Clock,
        *,
        epochs: frozenset[str],
        said: Manifest | None,
        whole: bool,
        dry_run: bool = False,
    ) -> None:
        self._registry, self._facts, self._outbox, self._clock = registry, facts, outbox, clock
        self._region, self._center, self._epochs = region, center, epochs
        self._ours = {key.id: key for key in ours}
        self._said, self._whole, self._dry_run = said, whole, dry_run
        self._move = whole or not registry.cursors().fresh
        self._lives = {one.incarnation for one in said.history} if said else set()
        self._unswept = 0
        self.done = Imported()

    def begin(self) -> str:
        """Compare the lives of the ledger; why nothing of the bundle can be taken, or an empty text."""
        if self._said is None or not self._move:
            return ""
        theirs, now_ms = self._said.history, self._clock.now_ms()
        if self._dry_run:
            held = self._registry.cursors()
            found = lineage(held.facts, held.records, held.history, theirs)
            return found.why if isinstance(found, LeftBehind) else ""
        found, void_above = self._registry.follow(theirs, now_ms)
        match found:
            case LeftBehind(why):
                return why
            case GoesBack() | Continues() if void_above >= 0:
                self.done.back = self._outbox.take_back(void_above, now_ms)
        return ""

    def take(self, frame: bytes) -> None:
        """One frame more. Raises `StoreError`; what was taken before stays."""
        try:
            parts = split(frame)
            if (code := self._why_not(parts.header)) is not None:
                self.done.problem(code)
                return
            verify(parts, lambda key: self._center if key == self._center.id else None)
            body = open_body(parts, self._ours.get)
            self._take(parts.header.kind, body)
        except SchemaError as why:
            self.done.problem(why.code)

    def finish(self, *, to_its_end: bool = True) -> Imported:
        """Settle what is left. `to_its_end`: every frame of the file was given to `take`."""
        if self._dry_run:
            return self.done
        self._sweep()
        said, now_ms = self._said, self._clock.now_ms()
        complete = to_its_end and self._whole and self.done.clean
        if complete and said and not (said.facts_from or said.records_from):
            self.done.opened = self._registry.open_for_service(said.records_to, now_ms)
        if not (self.done.settled or self.done.changed or self.done.opened):
            return self.done
        detail = (
            f"facts about {self.done.facts} packets, {self.done.changed} of {self.done.records} records newer"
        )
        self._registry.note("bundle", detail, now_ms)
        return self.done

    # --- one frame ------------------------------------------------------------------------------

    def _why_not(self, header: Header) -> str | None:
        """What stands against a frame before it is opened: the code of why, or `None`."""
        if header.region != self._region:
            return "foreign_region"
        if header.kind not in (Kind.FACTS, Kind.RECORDS, Kind.MANIFEST):
            return "wrong_kind"
        return None if header.recipient in self._ours else "other_key"

    def _take(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.FACTS:
            self._take_facts(*unpack_facts(body))
        elif kind is Kind.RECORDS:
            span, changes = unpack_records(body)
            if any(one.head is None for one in changes):
                self.done.problem("no_head")
                return
            self._take_records(span, changes)

    def _take_facts(self, span: Span, groups: Sequence[FactGroup]) -> None:
        ours = [group for group in groups if group.epoch in self._epochs]
        named = sum(total(group.seqs) for group in groups)
        of_ours = sum(total(group.seqs) for group in ours)
        placed = self._look(span, "facts")
        if placed is None:
            placed = self._registry.put_facts(span, ours, self._lives, self._clock.now_ms(), move=self._move)
        if placed is Placed.FOREIGN:
            self.done.problem("other_life")
            return
        if span.start == span.to and placed is Placed.OLD and not self._dry_run:
            return  # a receipt says again what stands in the feed before it
        self.done.facts += named
        self.done.foreign_facts += named - of_ours
        if self._dry_run:
            return
        if placed is Placed.BESIDE:
            self.done.gaps += self._move and span.start < span.to
            self._settle_beside(span.to, ours)
        self._unswept += 1
        if self._unswept >= SWEEP_FRAMES:
            self._sweep()

    def _take_records(self, span: Span, changes: Sequence[RecordChange]) -> None:
        placed = self._look(span, "records")
        if placed is None:
            applied = self._registry.put_records(
                span, changes, self._lives, self._clock.now_ms(), move=self._move
            )
        else:
            applied = Applied(placed, self._registry.newer(changes) if placed is not Placed.FOREIGN else 0)
        if applied.placed is Placed.FOREIGN:
            self.done.problem("other_life")
            return
        self.done.records += len(changes)
        self.done.changed += applied.changed
        self.done.gaps += self._move and applied.placed is Placed.BESIDE

    def _look(self, span: Span, sequence: str) -> Placed | None:
        """In a dry run: how the frame lies to what is held now."""
        if not self._dry_run:
            return None
        held = self._registry.cursors()
        found = lineage(held.facts, held.records, held.history, self._said.history if self._said else ())
        history = found.history if self._said and not isinstance(found, LeftBehind) else held.history
        of_line = is_of_line(span.incarnation, span.to, sequence, history, self._lives)
        return Placed.OLD if of_line else Placed.FOREIGN

    # --- facts into the outbox ------------------------------------------------------------------

    def _settle_beside(self, position: int, groups: Sequence[FactGroup]) -> None:
        """By their position, where they do not continue: nothing is moved."""
        facts = [(position, group) for group in groups]
        for at in range(0, len(facts), SETTLE_GROUPS):
            now_ms = self._clock.now_ms()
            done = self._outbox.settle(facts[at : at + SETTLE_GROUPS], self._outbox.settled_to(), now_ms)
            self.done.settled += total(done.settled)
            self.done.forks += len(done.forks)

    def _sweep(self) -> None:
        """Settle the outbox from the registry's facts, as push does; both may do it at the same time."""
        self._unswept = 0
        while (at := self._outbox.settled_to()) < (to := self._registry.cursors().facts):
            facts = self._facts.facts_after(at, SETTLE_GROUPS)
            to = facts[-1][0] if len(facts) >= SETTLE_GROUPS else to
            done = self._outbox.settle(facts, to, self._clock.now_ms(), start=at)
            self.done.settled += total(done.settled)
            self.done.forks += len(done.forks)
            self._facts.forget_facts(to, self._outbox.epoch)
