"""Step 7: the `down` stream -> facts, records and cursor, each frame in one transaction; then it is deleted.

A frame is applied only if it continues what is held (`pipeline.hop.fit`); a gap, a damaged frame or another
incarnation asks for a new session, in which the center starts from our cursors. Nothing is deleted from the
stream unless a session is ours, so a machine that may not speak as this region takes nothing away from the
one that may.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pipeline.errors import LinkDenied, LinkDown
from pipeline.hop import Fit, fit
from pipeline.ports import Clock, Cursors, EntryId, Outbox, Registry
from pipeline.region.backoff import Backoff
from pipeline.region.level import MeasuredLink, level_of
from pipeline.region.pulled import SETTLING, Pulled, Step
from pipeline.region.rebuild import back_span, fit_answer, fit_back
from pipeline.region.speaker import Heard, Speaker
from pipeline.region_link import RegionLink
from schemas.asks import unpack_answer
from schemas.back import BackFrame, unpack_back
from schemas.errors import FrameError, SchemaError, UnknownKey
from schemas.feed import RecordChange, Span, span_of, unpack_facts, unpack_records
from schemas.frame import Header, Kind, open_body, split, verify
from schemas.keys import PrivateKey, PublicKey
from schemas.messages import Ack, unpack_message

#: Before the first entry of any session.
NOWHERE = EntryId(0, 0)


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
    _waiting: list[tuple[EntryId, bytes]] = field(default_factory=list)
    _backoff: Backoff = field(init=False)
    _facts: int = 0
    _records: int = 0
    _no_way_back: bool = False

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
            entries, self._waiting = self._waiting or self.link.read_down(self._position, wait_s), []
            self._backoff.worked()
            taken: list[EntryId] = []
            for place, (entry, frame) in enumerate(entries):
                steps.append(self._take(frame))
                if steps[-1] is Step.NOT_YET:
                    self._waiting = entries[place:]
                    break
                # A ledger restored from a backup may still speak to the machine whose place we took.
                if steps[-1] is not Step.OTHERS:
                    self.speaker.meet(entry.session)
                self._position = entry
                taken.append(entry)
            if taken and self.speaker.session:
                self.link.delete_down(taken)
        except (LinkDown, LinkDenied):
            self._went_down()
            return Pulled(tuple(steps), self._facts, self._records, "link down")
        self._measure()
        size = sum(len(frame) for _, frame in entries[: len(steps)])
        return Pulled(tuple(steps), self._facts, self._records, SETTLING if self._waiting else "", size)

    def close(self) -> None:
        """Let go of the link; may be called from another thread to end a wait."""
        self.link.close()

    def _measure(self) -> None:
        """What wants may name as the level, after what the way back carries."""
        view = self.link.way_back() if isinstance(self.link, MeasuredLink) else None
        if view is not None:
            self.speaker.level_bytes = level_of(
                view.rate_bytes_s, view.rtt_s or 0.0, self.speaker.level_bytes
            )

    def _went_down(self) -> None:
        self.link.close()
        self._waiting = []
        self._backoff.failed(self.clock.now_s())

    # --- one frame ------------------------------------------------------------------------------

    def _take(self, frame: bytes) -> Step:
        try:
            parts = split(frame)
            verify(parts, lambda key: self.center if key == self.center.id else None)
            if parts.header.recipient != self.ours.id:
                return Step.OTHERS
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
        match header.kind:
            case Kind.ACK:
                return self._hear(unpack_message(Ack, body))
            case Kind.FACTS:
                return self._take_facts(body)
            case Kind.RECORDS:
                return self._take_records(body)
            case Kind.BACK:
                return self._take_back(unpack_back(body))
            case Kind.ANSWER:
                return self._take_answer(body)
        return Step.SKIPPED  # nothing that a center sends

    def _take_facts(self, body: bytes) -> Step:
        cursors = self.registry.cursors()
        span, groups = unpack_facts(body)
        if (fits := self._fit(span, cursors.facts, cursors)) is not Fit.APPLY:
            return self._unfit(fits)
        self.registry.apply_facts(span, groups, self.clock.now_ms())
        self._facts += sum(stop - start for group in groups for start, stop in group.seqs)
        return Step.APPLIED

    def _take_records(self, body: bytes) -> Step:
        cursors = self.registry.cursors()
        span, changes = unpack_records(body)
        if (fits := self._fit(span, cursors.records, cursors)) is not Fit.APPLY:
            return self._unfit(fits)
        whole = self._whole(changes)
        if whole is None:
            # Facts come first, and push settles them: until then nobody knows whose packets these are.
            settled = self.outbox.settled_to() >= cursors.facts
            return self._ask_anew(whole=True) if settled else Step.NOT_YET
        self.registry.apply_records(span, whole, self.clock.now_ms())
        self._records += len(whole)
        return Step.APPLIED

    def _take_back(self, frame: BackFrame) -> Step:
        cursors = self.registry.cursors()
        fits = fit_back(frame, self.speaker.session, _newest(cursors), cursors.back)
        if fits is not Fit.APPLY:
            # Behind a frame that said nothing to us there is only a gap: the live records go on without it.
            return Step.SKIPPED if fits is Fit.GAP and self._no_way_back else self._unfit(fits)
        self.registry.apply_back(frame, self.clock.now_ms())
        self._records += len(frame.records)
        return Step.APPLIED

    def _take_answer(self, body: bytes) -> Step:
        answer = unpack_answer(body)
        newest = _newest(self.registry.cursors())
        fits = fit_answer(answer, self.speaker.session, newest, self.registry.asks())
        if fits is not Fit.APPLY:
            return self._unfit(fits)
        self.registry.apply_answer(answer, self.clock.now_ms())
        return Step.APPLIED

    def _fit(self, span: Span, cursor: int, cursors: Cursors) -> Fit:
        return fit(span, session=self.speaker.session, incarnation=_newest(cursors), cursor=cursor)

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
        cursors = self.registry.cursors()
        heard = self.speaker.hear(ack, self.clock.now_s(), cursors)
        if heard is Heard.OUTDATED:
            self.speaker.ask_anew(outdated=True)
            return Step.ASKED_ANEW
        if heard is Heard.GRANTED and ack.rewind is not None:
            facts, records = ack.rewind
            # The registry first: until the outbox follows, push finds no old fact there to settle again.
            self.registry.rewind(facts, records, ack.since)
            self.outbox.take_back(facts, self.clock.now_ms())
        elif heard is Heard.GRANTED:
            if _newest(cursors) not in ("", ack.since.incarnation):
                # What a bundle told beyond the cursor, of a life that ended before that, never was.
                self.outbox.take_back(ack.since.facts, self.clock.now_ms())
            self.registry.adopt(ack.since)
            if ack.start is not None:
                facts, records = ack.start
                self.registry.start_at(facts, records, ack.since, self.clock.now_ms())
        if heard in (Heard.GRANTED, Heard.ANSWER):
            self.clock_off_ms = ack.clock_ms - self.clock.now_ms()
        return Step.SKIPPED if heard is Heard.STALE else Step.ACK

    def _whole(self, changes: tuple[RecordChange, ...]) -> list[RecordChange] | None:
        """The changes with their heads: those sent by reference are read from our outbox. `None` if one has
        no settled receipt there (or its epoch is not ours): a copy of this folder may hold another packet
        under that number."""
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
        if header.kind is Kind.ANSWER:
            return Step.SKIPPED  # whoever asked will see that no answer comes
        if header.kind is Kind.BACK:
            return self._keep_raw_back(body, frame, why)
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

    def _keep_raw_back(self, body: bytes, frame: bytes, why: SchemaError) -> Step:
        """The same of the way back. Should we die between the two steps, it is kept twice."""
        empty = back_span(body)
        if empty is None:
            self._no_way_back = True
            return Step.SKIPPED
        cursors = self.registry.cursors()
        fits = fit_back(empty, self.speaker.session, _newest(cursors), cursors.back)
        if fits is not Fit.APPLY:
            return self._unfit(fits)
        span = Span(empty.incarnation, empty.session, empty.start.floor, empty.to.floor)
        now_ms = self.clock.now_ms()
        self.registry.keep_raw(span, "back", frame, f"{why.code}: {why}", now_ms)
        self.registry.apply_back(empty, now_ms)
        return Step.KEPT_RAW


def _newest(cursors: Cursors) -> str:
    """The incarnation that frames must be of."""
    return cursors.history[-1].incarnation if cursors.history else ""
