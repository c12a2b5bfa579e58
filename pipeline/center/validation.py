"""Step 5: packets without a final verdict -> verdicts, records, claims. Decides here, the ledger writes.

A batch is decided in the order in which its packets came: what one packet changes (a claim, a record) the
next one sees. The ledger takes the whole batch only if nothing that was looked at has changed meanwhile;
otherwise nothing is written and it is decided again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pipeline.center.matching import (
    Case,
    Claim,
    DeduplicationEngine,
    EngineFailed,
    Evidence,
    ExactMatcher,
    Held,
    Matches,
    biometrics,
)
from pipeline.center.rules import Rule, Verdict, load_rules
from pipeline.errors import StoreError
from schemas.feed import DETAIL_CHARS_MAX, REASONS_MAX
from schemas.packet import Packet, stored_size
from schemas.verdicts import Reason, Status

#: A failed search is tried again after so long, doubling from the first to the last (ms).
RETRY_MS_FIRST = 1_000
RETRY_MS_LAST = 600_000
#: So often a batch is decided anew because another validator was faster.
ROUNDS_MAX = 5


class Pending(NamedTuple):
    """A packet that waits for its verdict, as the ledger holds it. `tries`: failed searches so far; `prefix`:
    length and head of its stored bytes."""

    region: str
    epoch: str
    epoch_ord: int
    epoch_id: int
    seq: int
    lane: int
    status: Status
    reasons: tuple[Reason, ...]
    tries: int
    packet: Packet
    evidence: tuple[Evidence, ...]
    prefix: bytes = b""


class Work(NamedTuple):
    """Packets that are due, and what is known of their biometrics and citizens, all of one moment."""

    pending: tuple[Pending, ...]
    claims: tuple[Claim, ...]
    records: Mapping[tuple[str, str], Held]


class Decided(NamedTuple):
    """The word on one packet. `due_ms`: when it is looked at again (`None`: not by itself)."""

    pending: Pending
    status: Status
    reasons: tuple[Reason, ...]
    due_ms: int | None = None


class NewClaim(NamedTuple):
    """A biometric that nobody had claimed, and the packet that it came in."""

    claim: Claim
    epoch_id: int
    seq: int


class Decisions(NamedTuple):
    """Everything that follows from a `Work`. `records` by (region, NIK): what the record becomes; its version
    is one more than what is held in `work`."""

    decided: tuple[Decided, ...]
    claims: tuple[NewClaim, ...]
    records: Mapping[tuple[str, str], Held]


class VerdictLedger(Protocol):
    """The ledger as validation sees it."""

    def unverdicted(self, limit: int, now_ms: int) -> Work:
        """Packets that are due, oldest first (whole bytes bounded: fewer than `limit` may come)."""

    def give_verdicts(self, work: Work, decisions: Decisions, now_ms: int) -> bool:
        """Write them in one transaction; False, and nothing done, if what `work` says is no longer so."""


@dataclass(frozen=True)
class ValidationResult:
    """What a step did: regions with news, packets by status, and the bytes of these packets. `more`: others
    are due already."""

    regions: tuple[str, ...] = ()
    counts: Mapping[Status, int] = field(default_factory=dict)
    more: bool = False
    bytes: int = 0

    @property
    def packets(self) -> int:
        """How many were decided."""
        return sum(self.counts.values())


class Validation:
    """Gives verdicts. `rules` by name (the registered ones by default), `engine` finds duplicates."""

    def __init__(
        self,
        ledger: VerdictLedger,
        rules: Mapping[str, Rule] | None = None,
        engine: DeduplicationEngine | None = None,
    ) -> None:
        self._ledger = ledger
        self._rules = load_rules() if rules is None else dict(rules)
        self._engine = ExactMatcher() if engine is None else engine

    def step(self, now_ms: int, limit: int = 500) -> ValidationResult:
        """Decide what is due, at most `limit` packets, in one transaction.

        Raises `StoreError` if the ledger cannot, or if others change what is looked at again and again.
        """
        for _ in range(ROUNDS_MAX):
            work = self._ledger.unverdicted(limit, now_ms)
            if not work.pending:
                return ValidationResult()
            decisions = decide(work, self._rules, self._engine, now_ms)
            if self._ledger.give_verdicts(work, decisions, now_ms):
                return _result(decisions, len(work.pending) >= limit)
        raise StoreError("other validators were faster each time; the packets stay due")


def decide(work: Work, rules: Mapping[str, Rule], engine: DeduplicationEngine, now_ms: int) -> Decisions:
    """The word on every packet of `work`, in order."""
    desk = _Desk(work, rules, engine, now_ms)
    decided = tuple(desk.decide(one) for one in work.pending)
    return Decisions(decided, tuple(desk.new_claims.values()), desk.new_records)


def retry_ms(tries: int) -> int:
    """How long a packet waits after its `tries`-th failed search."""
    return min(RETRY_MS_FIRST << min(max(tries - 1, 0), 20), RETRY_MS_LAST)


class _Desk:
    """A batch on the desk: what is known, and what its packets have added to that so far."""

    def __init__(
        self, work: Work, rules: Mapping[str, Rule], engine: DeduplicationEngine, now_ms: int
    ) -> None:
        self._rules, self._engine, self._now_ms = rules, engine, now_ms
        self._records = dict(work.records)
        self._before = work.records
        self._owners: dict[bytes, Claim] = {}
        self._known: dict[str, list[Claim]] = {}
        self.new_claims: dict[bytes, NewClaim] = {}
        self.new_records: dict[tuple[str, str], Held] = {}
        for claim in work.claims:
            self._remember(claim)

    def decide(self, one: Pending) -> Decided:
        """The word on one packet; what it changes is remembered for the next."""
        case = self._case(one)
        notes: list[Reason] = []
        for name, rule in self._rules.items():
            try:
                said = rule(case)
            except Exception as why:
                return self._again(
                    one, Reason("rule_failed", _detail(f"{name}: {type(why).__name__}: {why}"))
                )
            if isinstance(said, Verdict):
                return Decided(one, said.status, (*said.reasons, *notes)[:REASONS_MAX])
            if said is not None:
                notes.append(said)
        if one.packet.kind == "card_printed":
            return self._card(one, case, notes)
        return self._search(one, case, notes)

    def _search(self, one: Pending, case: Case, notes: list[Reason]) -> Decided:
        matches = Matches()
        if case.biometrics:
            try:
                matches = self._engine.search(case)
            except EngineFailed as why:
                return self._again(one, Reason("engine_failed", _detail(str(why))))
            except Exception as why:
                return self._again(one, Reason("engine_failed", _detail(f"{type(why).__name__}: {why}")))
        if matches.others:
            both = _detail(f"{one.packet.nik}, {', '.join(matches.others)}")
            return Decided(one, Status.DUPLICATE_RECORD, (Reason("same_biometrics_other_nik", both), *notes))
        self._claim(one, settled=not matches.conflicts)
        if matches.conflicts:
            names = _detail(f"{one.packet.nik} ({', '.join(matches.conflicts)})")
            return Decided(one, Status.ADJUDICATE_RECORD, (Reason("nik_has_other_biometrics", names), *notes))
        if self._older(one, case.record):
            notes.append(Reason("note_older_than_record"))
        else:
            self._put(one, Status.PRINT_READY_RECORD, one.epoch_ord, one.epoch_id, one.seq)
        return Decided(one, Status.PRINT_READY_RECORD, tuple(notes)[:REASONS_MAX])

    def _card(self, one: Pending, case: Case, notes: list[Reason]) -> Decided:
        record = case.record
        if record is not None and self._older(one, record):
            notes.append(Reason("note_older_than_record"))
        elif record is not None:
            self._put(one, Status.CARD_PRINTED, record.epoch_ord, record.epoch_id, record.seq)
        return Decided(one, Status.CARD_PRINTED, tuple(notes)[:REASONS_MAX])

    def _again(self, one: Pending, reason: Reason) -> Decided:
        """It could not be decided: it is tried again by itself."""
        due_ms = self._now_ms + retry_ms(one.tries + 1)
        return Decided(one, Status.SEARCH_FAILURE_AT_CENTRAL, (reason,), due_ms)

    # --- what is known --------------------------------------------------------------------------

    def _case(self, one: Pending) -> Case:
        nik = one.packet.nik
        record = self._records.get((one.region, nik))
        if not one.packet.attachments:
            return Case(one.region, one.packet, (), record=record)
        owned = (self._owners.get(attachment.digest) for attachment in biometrics(one.packet))
        owners = tuple(claim for claim in owned if claim is not None)
        known = tuple(self._known.get(nik, ()))
        return Case(one.region, one.packet, one.evidence, owners, known, record)

    def _claim(self, one: Pending, *, settled: bool) -> None:
        """The packet's biometrics that nobody has are its citizen's from now on."""
        for attachment in biometrics(one.packet):
            if attachment.digest not in self._owners:
                claim = Claim(attachment.digest, one.packet.nik, attachment.name, settled)
                self.new_claims[claim.digest] = NewClaim(claim, one.epoch_id, one.seq)
                self._remember(claim)

    def _remember(self, claim: Claim) -> None:
        self._owners[claim.digest] = claim
        if claim.settled:
            self._known.setdefault(claim.nik, []).append(claim)

    def _put(self, one: Pending, status: Status, epoch_ord: int, epoch_id: int, seq: int) -> None:
        key = (one.region, one.packet.nik)
        before = self._before.get(key)
        version = 1 if before is None else before.version + 1
        self._records[key] = self.new_records[key] = Held(version, int(status), epoch_ord, epoch_id, seq)

    def _older(self, one: Pending, record: Held | None) -> bool:
        return record is not None and (one.epoch_ord, one.seq) < (record.epoch_ord, record.seq)


def _detail(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:DETAIL_CHARS_MAX]


def _result(decisions: Decisions, more: bool) -> ValidationResult:
    counts: dict[Status, int] = {}
    for one in decisions.decided:
        counts[one.status] = counts.get(one.status, 0) + 1
    regions: Sequence[str] = sorted({one.pending.region for one in decisions.decided})
    looked_at = (one.pending for one in decisions.decided)
    size = sum(stored_size(len(one.prefix), one.packet.attachments) for one in looked_at)
    return ValidationResult(tuple(regions), counts, more, size)
