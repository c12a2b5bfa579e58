"""The registry against a model: cursors move only over what continues, records only to what is newer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.errors import NotFound
from pipeline.ports import Cursors
from schemas.feed import FactGroup, RecordChange, Span
from schemas.messages import Since
from schemas.packet import Packet, pack_head
from schemas.verdicts import Reason, Status

EPOCHS = ("aaaaaa", "bbbbbb")
NIKS = [f"18060615059000{n:02d}" for n in range(1, 6)]


def head(nik: str, name: str = "A") -> bytes:
    return pack_head(Packet("enrolment", {"nik": nik, "nama": name}, (), 1)).prefix


def change(nik: str, version: int, name: str = "A") -> RecordChange:
    return RecordChange(version, Status.PRINT_READY_RECORD, EPOCHS[0], version, head(nik, name))


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.facts = self.records = 0
        self.history: tuple[Since, ...] = ()
        self.groups: list[tuple[int, FactGroup]] = []
        self.held: dict[str, tuple[int, int, bytes]] = {}  # NIK -> version, record_no, head
        self.open: set[str] = set()

    @initialize()
    def make(self) -> None:
        create_registry(self.folder)
        self.registry = SqliteRegistry(self.folder)
        self.reader = RegistryReader(self.folder)

    def teardown(self) -> None:
        self.reader.close()
        self.registry.close()
        shutil.rmtree(self.folder)

    def span(self, cursor: int, back: int, length: int) -> Span:
        start = max(0, cursor - back)
        return Span("one", 1, start, start + length)

    @rule(
        back=st.integers(-2, 3),
        length=st.integers(0, 6),
        niks=st.lists(st.sampled_from(NIKS), unique=True),
        version=st.integers(1, 9),
    )
    def apply_records(self, back: int, length: int, niks: list[str], version: int) -> None:
        span = self.span(self.records, back, length)
        fits = span.start <= self.records < span.to
        changes = [change(nik, version, f"N{version}") for nik in niks]
        assert self.registry.apply_records(span, changes, 60_000) is fits
        if not fits:
            return
        self.records = span.to
        for nik in niks:
            if nik not in self.held or version > self.held[nik][0] or nik in self.open:
                self.held[nik] = version, span.to, head(nik, f"N{version}")
                self.open.discard(nik)

    @rule(
        back=st.integers(-2, 3),
        length=st.integers(0, 6),
        epochs=st.lists(st.sampled_from(EPOCHS), max_size=3),
    )
    def apply_facts(self, back: int, length: int, epochs: list[str]) -> None:
        span = self.span(self.facts, back, length)
        fits = span.start <= self.facts < span.to
        reasons = (Reason("engine_failed", "é"),)
        groups = [
            FactGroup(e, Status.SEARCH_FAILURE_AT_CENTRAL, reasons, ((1, 3), (7, 8)), b"h" * 32)
            for e in epochs
        ]
        assert self.registry.apply_facts(span, groups, 60_000) is fits
        if fits:
            self.facts = span.to
            self.groups += [(span.to, one) for one in groups]

    @rule(sequence=st.sampled_from(["facts", "records"]), back=st.integers(-1, 2), length=st.integers(1, 3))
    def keep_raw(self, sequence: str, back: int, length: int) -> None:
        cursor = getattr(self, sequence)
        span = self.span(cursor, back, length)
        fits = span.start <= cursor < span.to
        assert self.registry.keep_raw(span, sequence, b"frame", "newer_version", 60_000) is fits
        if fits:
            setattr(self, sequence, span.to)

    @rule(upto=st.integers(0, 40), epoch=st.sampled_from(EPOCHS))
    def forget(self, upto: int, epoch: str) -> None:
        self.registry.forget_facts(upto, epoch)
        self.groups = [one for one in self.groups if one[0] > upto or one[1].epoch != epoch]

    @rule(facts=st.integers(0, 30), records=st.integers(0, 30), name=st.sampled_from("abc"))
    def rewind(self, facts: int, records: int, name: str) -> None:
        since = Since(incarnation=name, facts=facts, records=records)
        self.registry.rewind(facts, records, since)
        self.facts, self.records = min(self.facts, facts), min(self.records, records)
        self.groups = [one for one in self.groups if one[0] <= facts]
        self.open |= {nik for nik, (_, record_no, _) in self.held.items() if record_no > records}
        kept = [one for one in self.history if one.facts <= facts and one.records <= records]
        self.meet(kept, since)

    @rule(name=st.sampled_from("abcd"))
    def adopt(self, name: str) -> None:
        since = Since(incarnation=name, facts=self.facts, records=self.records)
        self.registry.adopt(since)
        self.meet(list(self.history), since)

    def meet(self, kept: list[Since], since: Since) -> None:
        if not kept or kept[-1].incarnation != since.incarnation:
            kept = [one for one in kept if one.incarnation != since.incarnation] + [since]
        self.history = tuple(kept)

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = SqliteRegistry(self.folder)

    @invariant()
    def cursors_and_history_are_those_of_the_model(self) -> None:
        expected = Cursors(self.facts, self.records, self.history)
        assert self.registry.cursors() == self.reader.cursors() == expected

    @invariant()
    def records_are_those_of_the_model(self) -> None:
        assert self.registry.record_count() == self.reader.count() == len(self.held)
        found = {one.nik: (one.version, one.record_no, one.head) for one in self.reader.records(100)}
        assert found == self.held
        for nik in NIKS:
            assert (self.reader.record(nik) is not None) is (nik in self.held)

    @invariant()
    def facts_come_in_order_and_by_whole_positions(self) -> None:
        assert self.registry.facts_after(0, 1_000) == self.groups
        first = self.registry.facts_after(0, 1)
        assert first == [one for one in self.groups if one[0] == self.groups[0][0]]
        assert self.reader.unsettled() == len(self.groups)


RegistryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestRegistryModel = RegistryMachine.TestCase


def test_a_record_that_came_twice_keeps_its_place_and_its_newest_contents(tmp_path: Path) -> None:
    create_registry(tmp_path)
    registry, reader = SqliteRegistry(tmp_path), RegistryReader(tmp_path)
    registry.apply_records(Span("i", 1, 0, 2), [change(NIKS[0], 1, "OLD"), change(NIKS[1], 1)], 1)
    registry.apply_records(Span("i", 1, 2, 3), [change(NIKS[0], 2, "NEW")], 1)
    assert [(one.id, one.nik, one.version) for one in reader.records(10)] == [
        (1, NIKS[0], 2),
        (2, NIKS[1], 1),
    ]
    assert [one.nik for one in reader.records(10, after=1)] == [NIKS[1]]
    assert reader.record("12345") is None


def test_a_frame_that_was_not_understood_is_kept_and_told(tmp_path: Path) -> None:
    create_registry(tmp_path)
    registry, reader = SqliteRegistry(tmp_path), RegistryReader(tmp_path)
    registry.keep_raw(Span("i", 1, 0, 5), "records", b"12345", "newer_version", 7)
    (raw,) = reader.raw()
    assert (raw.sequence, raw.start, raw.upto, raw.at_ms, raw.reason, raw.bytes) == (
        "records", 0, 5, 7, "newer_version", 5,
    )  # fmt: skip
    assert [one.what for one in reader.events()] == ["kept raw"]


def test_a_record_without_its_head_is_our_own_defect(tmp_path: Path) -> None:
    create_registry(tmp_path)
    with pytest.raises(ValueError, match="without its head"):
        SqliteRegistry(tmp_path).apply_records(
            Span("i", 1, 0, 1), [change(NIKS[0], 1)._replace(head=None)], 1
        )


def test_a_folder_without_a_registry_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no registry"):
        RegistryReader(tmp_path)
