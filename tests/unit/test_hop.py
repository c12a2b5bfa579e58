"""The rules of the hop hold for every history of restores, not only for those that we thought of."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.hop import Fit, adopted, common_point, fit, rewind_to, rewound
from schemas.feed import Span
from schemas.messages import HISTORY_MAX, Since


@dataclass
class ModelLedger:
    """A ledger whose facts are plain values; a backup is a copy, and each start begins an incarnation."""

    facts: list[str] = field(default_factory=list)
    since: list[Since] = field(default_factory=list)
    starts: int = 0
    written: int = 0

    def start(self) -> None:
        self.starts += 1
        self.since.append(Since(incarnation=f"life-{self.starts}", facts=len(self.facts), records=0))

    def write(self) -> None:
        self.written += 1
        self.facts.append(f"fact-{self.written}")


@dataclass
class ModelRegion:
    held: list[str] = field(default_factory=list)
    history: tuple[Since, ...] = ()

    def meet(self, ledger: ModelLedger) -> None:
        back = rewind_to(len(self.held), 0, self.history, ledger.since)
        newest = ledger.since[-1]
        if back is None:
            self.history = adopted(self.history, newest, HISTORY_MAX)
        else:
            del self.held[back[0] :]
            self.history = rewound(self.history, back[0], back[1], newest, HISTORY_MAX)

    def fetch(self, ledger: ModelLedger, upto: int) -> None:
        self.held += ledger.facts[len(self.held) : upto]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(["write", "start", "meet", "backup", "restore"]), max_size=40))
def test_after_meeting_the_ledger_a_region_holds_nothing_that_the_ledger_does_not(steps: list[str]) -> None:
    ledger, region = ModelLedger(), ModelRegion()
    ledger.start()
    backups: list[tuple[list[str], list[Since]]] = []
    for step in steps:
        if step == "write":
            ledger.write()
        elif step == "start":
            ledger.start()
        elif step == "backup":
            backups.append((list(ledger.facts), list(ledger.since)))
        elif step == "restore" and backups:
            facts, since = backups[-1]
            ledger.facts, ledger.since = list(facts), list(since)
            ledger.start()
        elif step == "meet":
            region.meet(ledger)
            assert region.held == ledger.facts[: len(region.held)]
            region.fetch(ledger, len(region.held) + 2)
    region.meet(ledger)
    assert region.held == ledger.facts[: len(region.held)]


def test_histories_without_a_common_incarnation_agree_on_nothing() -> None:
    theirs = [Since(incarnation="a", facts=0, records=0)]
    ours = [Since(incarnation="b", facts=0, records=0)]
    assert common_point(theirs, ours) == (0, 0)
    assert rewind_to(5, 3, theirs, ours) == (0, 0)


def test_a_region_that_has_nothing_never_rewinds() -> None:
    assert rewind_to(0, 0, [], [Since(incarnation="b", facts=9, records=9)]) is None


def test_a_restart_without_a_restore_asks_for_no_rewind() -> None:
    first, second = Since(incarnation="a"), Since(incarnation="b", facts=10, records=4)
    assert rewind_to(10, 4, [first], [first, second]) is None


def test_a_ledger_restored_from_before_the_cursor_asks_back_to_where_it_was_restored() -> None:
    first, restored = Since(incarnation="a"), Since(incarnation="c", facts=7, records=2)
    assert rewind_to(10, 4, [first], [first, restored]) == (7, 2)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_span_applies_only_where_it_continues_what_is_held(start: int, length: int, cursor: int) -> None:
    span = Span("a", 3, start, start + length)
    fits = fit(span, session=3, incarnation="a", cursor=cursor)
    assert (fits is Fit.APPLY) == (span.start <= cursor < span.to)
    assert (fits is Fit.GAP) == (cursor < span.start and cursor < span.to)


def test_a_span_of_another_session_or_incarnation_is_foreign_wherever_it_lies() -> None:
    assert fit(Span("a", 2, 0, 5), session=3, incarnation="a", cursor=0) is Fit.FOREIGN
    assert fit(Span("a", 3, 0, 5), session=3, incarnation="b", cursor=0) is Fit.FOREIGN
