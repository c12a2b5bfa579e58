"""The search of a reconciliation over plain sets, what is done about a difference, and the nights."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.outbox_sqlite import SqliteOutbox, create_outbox
from pipeline.adapters.registry_sqlite import SqliteRegistry, create_registry
from pipeline.errors import AlreadyRunning, Unreachable
from pipeline.inspection.compared import last_result
from pipeline.region import reconcile
from pipeline.region.comparing import RecordsSide, days_before
from pipeline.region.reconcile import Difference, Mend, OurPacket, Search, evenly, mend_packet, mend_record
from pipeline.testing.clock import ManualClock
from schemas import compare
from schemas.asks import HeldPacket
from schemas.compare import DAY_MS, NIK_STOP, ListedRecord, RecordsDigest, Tops
from schemas.messages import ASK_BYTES_MAX, ASKS_MAX, Since
from schemas.ranges import Ranges, contains
from schemas.verdicts import Status
from workers.reconcile_nightly import Nightly, latest_night_ms, reconcile_due
from workers.reconciled import Reconciled, write_result

Held = dict[int, ListedRecord]


def digest(records: Sequence[ListedRecord]) -> RecordsDigest:
    halves = [compare.halves(one.leaf) for one in records]
    upper, lower = sum(a for a, _ in halves), sum(b for _, b in halves)
    unknown, versions = sum(one.leaf == 0 for one in records), sum(one.version for one in records)
    return compare.records_digest(len(records), upper, lower, unknown, versions)


def digests(held: Held, bounds: Sequence[int]) -> list[RecordsDigest]:
    return [digest([one for nik, one in held.items() if a <= nik < b]) for a, b in pairwise(bounds)]


class Ours:
    """A registry of plain records."""

    def __init__(self, held: Held) -> None:
        self.held = held

    def digests(self, bounds: Sequence[int]) -> list[RecordsDigest]:
        return digests(self.held, bounds)

    def split(self, start: int, stop: int, ways: int) -> Sequence[int]:
        inner = sorted(nik for nik in self.held if start < nik < stop)
        step = -(-len(inner) // ways)
        return [start, *inner[step - 1 :: step][: ways - 1], stop]

    def listed(self, ranges: Ranges) -> Held:
        return {nik: one for nik, one in self.held.items() if contains(ranges, nik)}


def answer(theirs: Held, what: str, args: bytes) -> bytes:
    """The center, of plain records."""
    assert len(args) <= ASK_BYTES_MAX
    if what == compare.LIST_RECORDS:
        ranges = compare.unpack_list_records(args)
        return compare.pack_listed(theirs[nik] for nik in sorted(theirs) if contains(ranges, nik))
    asked = compare.unpack_compare_records(args)
    return compare.pack_tops(Tops(5, 6, (0,) * 8)) + compare.pack_records_digests(
        digests(theirs, asked.bounds)
    )


def exhaust(search: Search, theirs: Held) -> int:
    """Answer everything; returns how many questions there were."""
    n = 0
    while questions := search.questions():
        assert len(questions) <= ASKS_MAX
        n += len(questions)
        assert n < 3_000
        for one in questions:
            search.take(one, [answer(theirs, *one)])
    return n


def searched(ours: Held, theirs: Held) -> tuple[Search, int]:
    search = Search(RecordsSide(Ours(ours)), RecordsSide.first)
    return search, exhaust(search, theirs)


def records(count: int, step: int = 7) -> Held:
    return {n * step: record(n * step, 1, 1) for n in range(1, count + 1)}


def record(nik: int, version: int, contents: int) -> ListedRecord:
    """Its leaf is a hash over all of it, as a real one is."""
    said = hashlib.sha256(repr((nik, version, contents)).encode()).digest()
    return ListedRecord(nik, version, int.from_bytes(said[:8], "big") >> 2)


def test_equal_sides_need_one_question() -> None:
    search, asked = searched(records(2_000), records(2_000))
    assert (search.differing, search.compared, asked) == ({}, 2_000, 1)


niks = st.integers(0, NIK_STOP - 1) | st.integers(1806_000_000_000_000, 1806_000_000_000_400)
one_side = st.dictionaries(niks, st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=40)


@given(one_side, one_side, st.integers(0, 300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_search_finds_exactly_what_differs(a: Any, b: Any, same: int, more_there: bool) -> None:
    common = records(same, step=1_000_003)
    ours, theirs = (common | {nik: record(nik, *said) for nik, said in side.items()} for side in (a, b))
    if more_there:
        theirs |= records(300, step=3)
    search, _ = searched(ours, theirs)
    expected = {nik for nik in ours.keys() | theirs.keys() if ours.get(nik) != theirs.get(nik)}
    assert set(search.differing) == expected
    assert not search.cut


def test_one_of_thousands_is_found_in_a_few_questions() -> None:
    ours, theirs = records(20_000), records(20_000)
    theirs[7 * 777] = theirs[7 * 777]._replace(leaf=5)
    search, asked = searched(ours, theirs)
    assert list(search.differing) == [7 * 777]
    assert asked <= 4


def test_an_empty_registry_is_told_all_of_it_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    search, _ = searched({}, records(3_000))
    assert len(search.differing) == 3_000
    assert not search.cut
    monkeypatch.setattr(reconcile, "LISTED_MAX", 1_000)
    search, _ = searched({}, records(3_000))
    assert search.cut
    assert 500 <= len(search.differing) <= 1_000
    search.again()
    exhaust(search, records(3_000))
    assert len(search.differing) >= 500


def test_only_what_differs_twice_in_the_same_way_counts() -> None:
    ours, theirs = records(500), records(500)
    for nik in (7, 14, 21):
        theirs[nik] = theirs[nik]._replace(leaf=3)
    search, _ = searched(ours, theirs)
    assert set(search.differing) == {7, 14, 21}
    theirs[14] = theirs[14]._replace(version=2)  # it changes while we look
    ours[21] = theirs[21]  # it came meanwhile
    search.again()
    exhaust(search, theirs)
    assert set(search.differing) == {7}


def test_evenly_divides_whatever_the_width() -> None:
    assert evenly(0, 3) == [0, 1, 2, 3]
    assert evenly(10, 11) == [10, 11]
    bounds = evenly(5, 10**16)
    assert (bounds[0], bounds[-1], len(bounds)) == (5, 10**16, 65)


# --- what to do -----------------------------------------------------------------------------------

D, E = b"d" * 32, b"e" * 32
RECEIVED, READY, REFUSED = Status.RECEIVED_AT_CENTRAL, Status.PRINT_READY_RECORD, Status.REFUSED


@pytest.mark.parametrize(
    ("theirs", "ours", "mend"),
    [
        (None, OurPacket(1, READY, 9, D), Mend.SEND),
        (None, OurPacket(1, READY, 9, D, pruned=True), Mend.PRUNED),
        (None, OurPacket(1, READY, 9, D, past=True), Mend.OLD),
        (None, OurPacket(1, REFUSED, 9, D), Mend.SEND),
        (HeldPacket(1, READY, 50, D), OurPacket(1, None, None, D), Mend.SETTLE),
        (HeldPacket(1, READY, 101, D), OurPacket(1, None, None, D), Mend.ON_ITS_WAY),
        (HeldPacket(1, READY, 50, D), OurPacket(1, RECEIVED, 60, D), Mend.SETTLE),
        (HeldPacket(1, READY, 50, E), OurPacket(1, READY, 50, D), Mend.SUSPECT),
        (HeldPacket(1, READY, 50, E), OurPacket(1, None, None, D), Mend.SUSPECT),
        (HeldPacket(1, REFUSED, 50, b""), OurPacket(1, None, None, D), Mend.SETTLE),
        (HeldPacket(1, READY, 50, D), None, Mend.ABSENT),
    ],
)
def test_what_is_done_about_a_packet(theirs: HeldPacket | None, ours: OurPacket | None, mend: Mend) -> None:
    assert mend_packet(Difference(1, theirs, ours), settled_to=100) is mend


def test_a_record_is_fetched_unless_only_we_have_it() -> None:
    one = ListedRecord(1, 1, 1)
    assert mend_record(Difference(1, one, None)) is Mend.FETCH
    assert mend_record(Difference(1, one, one._replace(leaf=2))) is Mend.FETCH
    assert mend_record(Difference(1, None, one)) is Mend.ONLY_HERE


def test_days_before_rise_and_reach_over_tomorrow() -> None:
    now_ms = 1_790_000_000_000
    days = days_before(now_ms)
    assert list(days) == sorted(set(days))
    assert days[-1] == now_ms // DAY_MS + 1
    assert len(days) <= 64
    assert list(days_before(0)) == [1]


# --- nights ---------------------------------------------------------------------------------------

NOON_MS = 1_790_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2


def test_regions_reconcile_at_different_minutes_between_two_and_four() -> None:
    minutes = set()
    for code in range(1100, 1300):
        at_ms = latest_night_ms(NOON_MS, str(code), time.gmtime)
        minutes.add((at_ms % DAY_MS) // 60_000)
        assert at_ms // DAY_MS == NOON_MS // DAY_MS
    assert min(minutes) >= 120
    assert max(minutes) < 240
    assert len(minutes) > 60


def test_a_night_is_due_once_and_a_missed_one_is_made_up() -> None:
    night = latest_night_ms(NOON_MS, "1806", time.gmtime)
    assert reconcile_due(NOON_MS, None, "1806", time.gmtime)
    assert reconcile_due(NOON_MS, night - 1, "1806", time.gmtime)
    assert not reconcile_due(NOON_MS, night + 1, "1806", time.gmtime)
    assert not reconcile_due(night + DAY_MS - 1, night + 1, "1806", time.gmtime)
    assert reconcile_due(night + DAY_MS, night + 1, "1806", time.gmtime)
    assert reconcile_due(night + 9 * DAY_MS, night + 1, "1806", time.gmtime)


class Night:
    """A folder with a registry, and a reconciliation that does nothing but be counted."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.clock, self.stop, self.ran, self.fails = ManualClock(), threading.Event(), 0, None
        create_registry(path, self.clock.now_ms(), fresh=fresh)
        create_outbox(path, "1806", self.clock.now_ms())
        self.folder: Any = SimpleNamespace(path=path, settings=SimpleNamespace(region="1806"))
        if not fresh:
            registry = SqliteRegistry(path)
            registry.adopt(Since(incarnation="i"))
            registry.close()
        self.nightly = Nightly(self.folder, self.clock, self.stop, self.reconcile)

    fails: Exception | None

    def reconcile(self, folder: Any, pause: Any) -> Reconciled:
        self.ran += 1
        if self.fails is not None:
            raise self.fails
        pause()
        done = Reconciled(self.clock.now_ms(), dry_run=False)
        write_result(folder.path, done)
        return done


def test_a_region_reconciles_once_a_night_by_itself(tmp_path: Path) -> None:
    night = Night(tmp_path)
    assert not night.nightly()
    assert night.ran == 0, "the first night is still to come"
    for days in range(1, 4):
        night.clock.advance(24 * 3600)
        night.nightly()
        night.clock.advance(3600)
        night.nightly()
        assert night.ran == days


def test_after_a_new_epoch_it_does_not_wait_for_the_night(tmp_path: Path) -> None:
    """What was said to an old backup or a copy of the folder is to be looked at again."""
    night = Night(tmp_path)
    night.clock.advance(24 * 3600)
    night.nightly()
    night.clock.advance(3600)
    assert not night.nightly.due()
    outbox = SqliteOutbox(tmp_path)
    outbox.doubts.note(((1, 5),), "a test", night.clock.now_ms())
    outbox.doubts.end((), night.clock.now_ms())
    outbox.close()
    assert night.nightly.due()
    night.clock.advance(1)
    night.nightly()
    assert night.ran == 2
    assert not night.nightly.due()


def test_one_that_fails_or_meets_another_is_tried_again_after_a_while(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.clock.advance(24 * 3600)
    night.fails = Unreachable("away")
    with pytest.raises(Unreachable):
        night.nightly()
    night.fails = AlreadyRunning("busy")
    assert not night.nightly()
    assert night.ran == 1
    night.clock.advance(16 * 60)
    assert not night.nightly()
    night.fails = None
    night.clock.advance(16 * 60)
    night.nightly()
    assert night.ran == 3
    assert not night.nightly.due()


def test_a_stop_ends_it_and_the_night_is_made_up(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.clock.advance(24 * 3600)
    night.stop.set()
    assert not night.nightly()
    assert last_result(tmp_path) is None
    assert night.nightly.due()


def test_a_region_that_is_being_rebuilt_waits(tmp_path: Path) -> None:
    night = Night(tmp_path, fresh=True)
    night.clock.advance(24 * 3600)
    assert not night.nightly.due()


def test_a_result_is_kept_without_names_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    done = Reconciled(7, dry_run=False, found={Mend.FETCH: 2}, repaired={Mend.FETCH: 2}, niks=["1806"])
    write_result(tmp_path, done)
    kept = last_result(tmp_path)
    assert kept is not None
    assert (kept["equal"], kept["left"], kept["repaired"]) == (False, 0, {"fetch": 2})
    assert "1806" not in (tmp_path / "reconcile.json").read_text()
    write_result(tmp_path, Reconciled(8, dry_run=True))
    assert last_result(tmp_path) == kept
    (tmp_path / "reconcile.json").write_text('{"at_ms": "x"}')
    assert last_result(tmp_path) is None
