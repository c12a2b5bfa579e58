"""Packets under their older names: what wants tell of them, in any order, and from whoever tells nonsense."""

from __future__ import annotations

import time

import pytest

from pipeline.adapters import ledger_announced, ledger_was
from pipeline.center.reading import WantIs
from schemas.limits import INTEGER_MAX
from schemas.messages import Run, Want
from schemas.ranges import from_wire, numbers
from tests.unit.ledger_rig import REGION, Rig, packet
from tests.unit.losses_rig import FIRST, SECOND, THIRD, books_are_right, known, lost, names, speak, tell
from tests.unit.test_ledger_announced import announce

PACKETS = {seq: packet(seq) for seq in (3, 4, 5)}
#: Packets 3 to 5 of the first epoch are 1 to 3 of the second.
MOVED = Run(epoch=FIRST, old=3, new=1, count=3)


def announced(rig: Rig) -> list[tuple[str, int]]:
    return sorted((row.id.epoch, row.id.seq) for row in rig.ledger.reader.announced())


def begin(rig: Rig) -> None:
    """Packets 3 to 5 are announced in the first epoch, 1 and 2 received, and the second begins."""
    speak(rig, FIRST, 5)
    rig.step(rig.batch({1: packet(1), 2: packet(2)}, epoch=FIRST), announce(rig, PACKETS, epoch=FIRST))
    speak(rig, SECOND, 3)


def test_what_was_announced_under_an_old_name_is_announced_under_the_new_one(rig: Rig) -> None:
    begin(rig)
    assert tell(rig, SECOND, MOVED) == 3
    assert announced(rig) == [(SECOND, 1), (SECOND, 2), (SECOND, 3)]
    restated = rig.ledger.announced(REGION, SECOND, 0)
    assert list(numbers(from_wire(restated.ranges))) == [1, 2, 3]
    assert books_are_right(rig)
    assert lost(rig) == []


def test_a_packet_under_its_new_name_closes_the_announcement_of_the_old_one(rig: Rig) -> None:
    begin(rig)
    tell(rig, SECOND, MOVED)
    rig.step(rig.batch({1: PACKETS[3], 2: PACKETS[4]}, epoch=SECOND))
    assert announced(rig) == [(SECOND, 3)]
    rig.step(rig.batch({3: PACKETS[5]}, epoch=SECOND))
    assert announced(rig) == []
    assert books_are_right(rig)


def test_the_packet_may_come_before_it_is_told_what_it_was_called(rig: Rig) -> None:
    begin(rig)
    rig.step(rig.batch({1: PACKETS[3]}, epoch=SECOND), announce(rig, {2: PACKETS[4]}, epoch=SECOND))
    assert announced(rig) == [(FIRST, 3), (FIRST, 4), (FIRST, 5), (SECOND, 2)]
    assert tell(rig, SECOND, MOVED) == 3
    assert announced(rig) == [(SECOND, 2), (SECOND, 3)]
    assert books_are_right(rig)


def test_an_announcement_that_comes_late_under_the_old_name_is_passed_over(rig: Rig) -> None:
    speak(rig, FIRST, 5)
    speak(rig, SECOND, 3)
    tell(rig, SECOND, MOVED)
    rig.step(announce(rig, PACKETS, epoch=FIRST))
    assert announced(rig) == []
    assert names(lost(rig)) == [(FIRST, 1, 2, "never announced")]


def test_the_same_word_again_changes_nothing(rig: Rig) -> None:
    begin(rig)
    assert tell(rig, SECOND, MOVED) == 3
    before = announced(rig), known(rig, SECOND)
    assert tell(rig, SECOND, MOVED, MOVED) == 0
    assert (announced(rig), known(rig, SECOND)) == before
    assert books_are_right(rig)


def test_a_refused_packet_keeps_the_announcement_of_its_old_name_open(rig: Rig) -> None:
    begin(rig)
    rig.step(rig.batch({1: b"\0\0\0\1\xc1"}, epoch=SECOND))
    assert rig.word(1, SECOND)[0].name == "REFUSED"
    tell(rig, SECOND, MOVED)
    assert announced(rig) == [(SECOND, 1), (SECOND, 2), (SECOND, 3)]


def test_a_name_leads_on_to_where_the_packet_is_now(rig: Rig) -> None:
    begin(rig)
    tell(rig, SECOND, MOVED)
    speak(rig, THIRD, 2)
    assert tell(rig, THIRD, Run(epoch=SECOND, old=2, new=1, count=2)) == 2
    assert tell(rig, THIRD, Run(epoch=FIRST, old=4, new=1, count=2)) == 2
    assert (known(rig, SECOND), known(rig, THIRD)) == (1, 4)
    assert announced(rig) == [(SECOND, 1), (THIRD, 1), (THIRD, 2)]
    assert names(lost(rig)) == [(SECOND, 1, 1, "announced")]
    assert tell(rig, SECOND, MOVED) == 0  # an old word does not lead back
    assert known(rig, THIRD) == 4


def test_a_run_of_an_epoch_that_is_not_older_is_passed_over(rig: Rig) -> None:
    begin(rig)
    assert tell(rig, SECOND, MOVED.model_copy(update={"epoch": SECOND})) == 0
    assert tell(rig, FIRST, MOVED.model_copy(update={"epoch": SECOND})) == 0
    assert (known(rig, FIRST), known(rig, SECOND)) == (0, 0)


def test_a_run_of_an_epoch_that_never_had_a_link_is_taken_and_is_older_than_any(rig: Rig) -> None:
    begin(rig)
    assert tell(rig, SECOND, MOVED.model_copy(update={"epoch": THIRD}), MOVED) == 6
    rig.step(announce(rig, {9: packet(9)}, epoch=THIRD))
    assert (THIRD, 9, 1, "announced") in names(lost(rig))


def test_epochs_that_are_only_named_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_was, "EPOCHS_MAX", 4)
    begin(rig)
    told = [Run(epoch=f"dddd0{n}", old=1, new=n + 1) for n in range(9)]
    assert tell(rig, SECOND, *told) == 2
    assert tell(rig, SECOND, *told) == 0


def test_one_want_writes_a_bounded_number_and_the_next_goes_on(rig: Rig) -> None:
    begin(rig)
    began_s = time.monotonic()
    assert tell(rig, SECOND, Run(epoch=FIRST, old=1, new=1, count=INTEGER_MAX)) == ledger_was.ROWS_A_WANT
    at = known(rig, SECOND)
    assert at == ledger_was.ROWS_A_WANT
    assert tell(rig, SECOND, Run(epoch=FIRST, old=at + 1, new=at + 1, count=10)) == 10
    assert time.monotonic() - began_s < 10
    assert known(rig, SECOND) == at + 10


def test_runs_past_the_end_of_numbers_do_no_harm(rig: Rig) -> None:
    begin(rig)
    for old, new in ((INTEGER_MAX, 1), (1, INTEGER_MAX), (INTEGER_MAX - 1, INTEGER_MAX - 1)):
        tell(rig, SECOND, Run(epoch=FIRST, old=old, new=new, count=INTEGER_MAX))
    assert known(rig, SECOND) <= 1
    assert tell(rig, SECOND, MOVED) == 3


def test_the_names_of_an_epoch_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_was, "EPOCH_ROWS_MAX", 5)
    begin(rig)
    assert tell(rig, SECOND, Run(epoch=FIRST, old=1, new=1, count=4)) == 4
    assert tell(rig, SECOND, Run(epoch=FIRST, old=10, new=10, count=4)) == 1
    assert tell(rig, SECOND, Run(epoch=FIRST, old=20, new=20, count=4)) == 0


def test_runs_travel_in_a_want(rig: Rig) -> None:
    sent = Want(
        n=1,
        instance="i",
        grant=1,
        session=0,
        epoch=SECOND,
        highest_seq=3,
        clock_ms=0,
        facts=0,
        records=0,
        level=1,
        renumbered=[MOVED],
    )
    result = rig.step(rig.want(**sent.model_dump(exclude={"n"}) | {"renumbered": [MOVED]}))
    wants = [one for took in result.took for _, one in took.wants]
    assert all(isinstance(one, WantIs) for one in wants)
    assert wants[0].want.renumbered == [MOVED]


# --- announcements of epochs that are over -----------------------------------------------------------


def test_what_a_dead_disk_owed_takes_no_room_of_what_is_announced_now(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_announced, "REGION_PACKETS_MAX", 3)
    begin(rig)
    assert not rig.ledger.announced(REGION, SECOND, 0).full
    assert rig.ledger.announced(REGION, FIRST, 0).full
    rig.step(announce(rig, {seq: packet(10 + seq) for seq in (1, 2)}, epoch=SECOND))
    rig.step(announce(rig, {seq: packet(10 + seq) for seq in (3, 4, 5)}, epoch=SECOND))
    assert announced(rig) == [(FIRST, 3), (FIRST, 4), (FIRST, 5), (SECOND, 1), (SECOND, 2), (SECOND, 3)]
    assert rig.ledger.announced(REGION, SECOND, 0).full
    assert rig.ledger.reader.counts().counters["announced_not_taken"] == 2
    assert books_are_right(rig)


def test_all_epochs_together_are_bounded_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_announced, "REGION_PACKETS_MAX", 3)
    monkeypatch.setattr(ledger_announced, "ALL_PACKETS_MAX", 4)
    begin(rig)
    rig.step(announce(rig, {seq: packet(10 + seq) for seq in (1, 2)}, epoch=SECOND))
    assert len(announced(rig)) == 4
    assert rig.ledger.announced(REGION, SECOND, 0).full


def test_what_is_lost_is_no_longer_shown_as_on_its_way(rig: Rig) -> None:
    begin(rig)
    assert rig.ledger.reader.announced_amounts() == {}
    rig.clock.ms += 1_000
    rig.step(announce(rig, {1: packet(11)}, epoch=SECOND))
    amount = rig.ledger.reader.announced_amounts()[REGION]
    assert (amount.packets, amount.bytes, amount.since_ms) == (1, len(packet(11)), rig.clock.ms)
