"""Step 7: the `down` stream -> facts, records and cursor, each frame in one transaction; then it is deleted.

A frame is applied only if it continues what is held (`pipeline.hop.fit`); a gap, a damaged frame or another
incarnation asks for a new session, in which the center starts from our cursors. Nothing is deleted from the
stream unless a session is ours, so a machine that may not speak as this region takes nothing away from the
one that may.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum

from pipeline.errors import LinkDenied, LinkDown
from pipeline.hop import Fit, fit
from pipeline.ports import Clock, Cursors, EntryId, Outbox, Registry
from pipeline.region.backoff import Backoff
from pipeline.region.speaker import Heard, Speaker
from pipeline.region_link import RegionLink
from schemas.errors import FrameError, SchemaError, UnknownKey
from schemas.feed import RecordChange, Span, span_of, unpack_facts, unpack_records
from schemas.frame import Header, Kind, open_body, split, verify
from schemas.keys import PrivateKey, PublicKey
from schemas.messages import Ack, unpack_message

#: Before the first entry of any session.
NOWHERE = EntryId(0, 0)


class Step(Enum):
    """What became of one frame."""

    APPLIED = "applied"
    OLD = "held already"
    ACK = "an ack"
    SKIPPED = "not for us, or of a session that is over"
    ASKED_ANEW = "asked for again"
    KEPT_RAW = "verified, but from a newer center: kept for a later version"


@dataclass(frozen=True)
class Pulled:
    """What one step did: frames by outcome, packets that facts spoke of, records changed."""

    steps: tuple[Step, ...] = ()
    facts: int = 0
    records: int = 0
    waits: str = ""

    @property
    def frames(self) -> int:
        """Frames that were read."""
        return len(self.steps)


@dataclass
class Pull:
    """The resident of the registry's end of the link."""

    outbox: Outbox
    registry: Registry
    link: RegionLink
    speaker: Speaker
    clock: Clock
    ours: PrivateKey
    center: PublicKey
    rng: random.Random = field(default_factory=random.Random)
    clock_off_ms: int = 0
    _position: EntryId = NOWHERE
    _backoff: Backoff = field(init=False)
    _facts: int = 0
    _records: int = 0

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.rng)

    def step(self, wait_s: float) -> Pulled:
        """Read what is there (waiting at most `wait_s`), apply it, delete it. Never raises for a link that is
        down; what fails in a store does raise, and nothing of that frame was done."""
        if self.clock.now_s() < self._backoff.until_s:
            return Pulled(waits="link down")
        if self.speaker.superseded:
            return Pulled(waits="superseded")
        self._facts = self._records = 0
        steps: list[Step] = []
        try:
            entries = self.link.read_down(self._position, wait_s)
            self._backoff.worked()
            taken: list[EntryId] = []
            for entry, frame in entries:
                steps.append(self._take(frame))
                self.speaker.meet(entry.session)
                self._position = entry
                taken.append(entry)
            if taken and self.speaker.session:
                self.link.delete_down(taken)
        except (LinkDown, LinkDenied):
            self._went_down()
            return Pulled(tuple(steps), self._facts, self._records, "link down")
        return Pulled(tuple(steps), self._facts, self._records)

    def close(self) -> None:
        """Let go of the link; may be called from another thread to end a wait."""
        self.link.close()

    def _went_down(self) -> None:
        self.link.close()
        self._backoff.failed(self.clock.now_s())

    # --- one frame ------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> Step:
        try:
            parts = split(frame)
            verify(parts, lambda key: self.center if key == self.center.id else None)
            if parts.header.recipient != self.ours.id:
                return Step.SKIPPED
            body = open_body(parts, lambda key: self.ours if key == self.ours.id else None)
        except UnknownKey:
            return Step.SKIPPED
        except FrameError:
            return self._ask_anew()
        try:
            return self._apply(parts.header, body)
        except SchemaError as why:
            return self._keep_raw(parts.header, body, frame, why)

    def _apply(self, header: Header, body: bytes) -> Step:
        if header.kind is Kind.ACK:
            return self._hear(unpack_message(Ack, body))
        cursors = self.registry.cursors()
        if header.kind is Kind.FACTS:
            span, groups = unpack_facts(body)
            if (fits := self._fit(span, cursors.facts, cursors)) is not Fit.APPLY:
                return self._unfit(fits)
            self.registry.apply_facts(span, groups, self.clock.now_ms())
            self._facts += sum(stop - start for group in groups for start, stop in group.seqs)
            return Step.APPLIED
        span, changes = unpack_records(body)
        if (fits := self._fit(span, cursors.records, cursors)) is not Fit.APPLY:
            return self._unfit(fits)
        whole = self._whole(changes)
        if whole is None:
            return self._ask_anew(whole=True)
        self.registry.apply_records(span, whole, self.clock.now_ms())
        self._records += len(whole)
        return Step.APPLIED

    def _fit(self, span: Span, cursor: int, cursors: Cursors) -> Fit:
        newest = cursors.history[-1].incarnation if cursors.history else ""
        return fit(span, session=self.speaker.session, incarnation=newest, cursor=cursor)

    def _unfit(self, fits: Fit) -> Step:
        if fits is Fit.OLD:
            return Step.OLD
        return self._ask_anew()

    def _ask_anew(self, *, whole: bool = False) -> Step:
        if not self.speaker.session:
            return Step.SKIPPED
        self.speaker.ask_anew(whole=whole)
        return Step.ASKED_ANEW

    def _hear(self, ack: Ack) -> Step:
        """Act on an ack. Should we die between session and stores, the next instance is told again."""
        heard = self.speaker.hear(ack, self.clock.now_s(), self.registry.cursors())
        if heard is Heard.OUTDATED:
            self.speaker.ask_anew(outdated=True)
            return Step.ASKED_ANEW
        if heard is Heard.GRANTED and ack.rewind is not None:
            facts, records = ack.rewind
            # The registry first: until the outbox follows, push finds no old fact there to settle again.
            self.registry.rewind(facts, records, ack.since)
            self.outbox.take_back(facts, self.clock.now_ms())
        elif heard is Heard.GRANTED:
            self.registry.adopt(ack.since)
        if heard in (Heard.GRANTED, Heard.ANSWER):
            self.clock_off_ms = ack.clock_ms - self.clock.now_ms()
        return Step.SKIPPED if heard is Heard.STALE else Step.ACK

    def _whole(self, changes: tuple[RecordChange, ...]) -> list[RecordChange] | None:
        """The changes with their heads: those sent by reference are read from our outbox. `None` if one is
        not there (or its epoch is not ours): then the center must send contents."""
        referred = [c.seq for c in changes if c.head is None and c.epoch == self.outbox.epoch]
        heads = self.outbox.heads(referred) if referred else {}
        whole: list[RecordChange] = []
        for one in changes:
            if one.head is not None:
                whole.append(one)
                continue
            head = heads.get(one.seq) if one.epoch == self.outbox.epoch else None
            if head is None:
                return None
            whole.append(one._replace(head=head))
        return whole

    def _keep_raw(self, header: Header, body: bytes, frame: bytes, why: SchemaError) -> Step:
        """It verifies and is not understood: kept for a later version where we know which part it is."""
        span = span_of(body) if header.kind in (Kind.FACTS, Kind.RECORDS) else None
        if span is None:
            return self._ask_anew()
        cursors = self.registry.cursors()
        sequence = "facts" if header.kind is Kind.FACTS else "records"
        cursor = cursors.facts if header.kind is Kind.FACTS else cursors.records
        if (fits := self._fit(span, cursor, cursors)) is not Fit.APPLY:
            return self._unfit(fits)
        self.registry.keep_raw(span, sequence, frame, f"{why.code}: {why}", self.clock.now_ms())
        return Step.KEPT_RAW
