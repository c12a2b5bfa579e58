"""The faults of the link in memory do what they say: others' tests rest on them."""

from __future__ import annotations

import copy

import pytest

from pipeline.errors import LinkDown, Unreachable
from pipeline.ports import DownHint, EntryId
from pipeline.region_link import NO_ENTRY, Accepted, Full
from pipeline.testing.clock import ManualClock
from pipeline.testing.memory_link import MemoryLink, MemoryRegionLink

REGION = "1806"
ONE, TWO, THREE = EntryId(1, 1), EntryId(1, 2), EntryId(1, 3)


def ids(link: MemoryLink) -> list[EntryId]:
    """What lies in the region's `up`."""
    return list(link.region(REGION).up.entries)


def length(region: MemoryRegionLink) -> int:
    region.ask_length()
    (told,) = region.lengths()
    return told


@pytest.mark.parametrize(
    ("keep_sent", "kept"), [(True, [ONE, TWO, THREE]), (False, []), (0, []), (1, [ONE]), (2, [ONE, TWO])]
)
def test_a_cut_decides_how_much_of_what_is_on_the_wire_arrives(
    keep_sent: bool | int, kept: list[EntryId]
) -> None:
    link = MemoryLink()
    region = link.region_end(REGION)
    for entry in (ONE, TWO, THREE):
        region.send(entry, b"x")
    link.cut(keep_sent=keep_sent)
    assert ids(link) == kept
    with pytest.raises(LinkDown):
        region.outcomes(1.0)
    link.restore()
    assert region.outcomes(1.0) == []


def test_what_the_center_has_seen_cannot_be_lost_by_a_cut() -> None:
    link = MemoryLink()
    link.region_end(REGION).send(ONE, b"x")
    assert link.center_end().lengths([REGION]) == {REGION: (0, 1)}
    link.cut(keep_sent=False)
    assert ids(link) == [ONE]


def test_a_break_is_noticed_once_by_each_open_connection() -> None:
    link = MemoryLink()
    region = link.region_end(REGION)
    region.ask_length()
    region.read_down(EntryId(0, 0), 0.0)
    link.cut()
    link.restore()
    for call in (region.ask_length, lambda: region.read_down(EntryId(0, 0), 0.0)):
        with pytest.raises(LinkDown):
            call()
        call()
    region.send(ONE, b"x")  # this connection was not open, so it did not break
    assert region.outcomes(0.0) == [Accepted(ONE)]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_call_may_be_cut_in_the_middle_with_or_without_its_effect(arrives: bool) -> None:
    link = MemoryLink()
    region, center = link.region_end(REGION), link.center_end()
    link.cut_in_next_use(arrives=arrives)
    with pytest.raises(LinkDown):
        region.send_control(b"want")
    assert center.lengths([REGION]) == ({REGION: (1, 0)} if arrives else {})
    link.cut_in_next_use(arrives=arrives)
    with pytest.raises(LinkDown):
        region.send(ONE, b"x")
    assert ids(link) == ([ONE] if arrives else [])
    region.send(TWO, b"x")
    assert region.outcomes(0.0) == [Accepted(TWO)]


def test_a_cut_of_one_region_leaves_the_others_alone() -> None:
    link = MemoryLink()
    here, there = link.region_end(REGION), link.region_end("1807")
    link.cut(REGION)
    assert length(there) == 0
    with pytest.raises(LinkDown):
        here.ask_length()
    with pytest.raises(LinkDown):
        link.region_end(REGION).ask_length()  # a machine that starts during the cut
    link.restore()
    assert length(here) == 0


def test_a_question_may_overtake_what_is_on_the_wire() -> None:
    link = MemoryLink(control_overtakes=True)
    region = link.region_end(REGION)
    region.send(ONE, b"x")
    assert length(region) == 0
    assert region.outcomes(0.0) == [Accepted(ONE)]
    assert length(region) == 1


def test_a_wiped_broker_forgets_entries_ids_attempts_and_the_hint() -> None:
    link = MemoryLink()
    region, center = link.region_end(REGION), link.center_end()
    region.send(EntryId(9, 9), b"x")
    center.read(REGION, "up", 1)
    center.put_down(REGION, EntryId(9, 1), b"d", DownHint(9, 1, 0, 0, 0))
    link.wipe()
    assert (center.last_session(REGION), center.hint(REGION), center.lengths([REGION])) == (0, None, {})
    region.outcomes(0.0)
    region.send(ONE, b"y")
    assert [(one.frame, one.attempts) for one in center.read(REGION, "up", 9)] == [(b"y", 0)]


@pytest.mark.parametrize(("keep_sent", "kept"), [(True, [b"a", b"b"]), (False, []), (1, [b"a"])])
def test_a_cut_decides_how_much_of_what_is_urgent_arrives(keep_sent: bool | int, kept: list[bytes]) -> None:
    link = MemoryLink()
    region = link.region_end(REGION)
    region.send_urgent(ONE, b"a")
    region.send_urgent(TWO, b"b")
    link.cut(keep_sent=keep_sent)
    assert list(link.region(REGION).ctl.entries.values()) == kept
    with pytest.raises(LinkDown):
        region.outcomes(1.0)
    link.restore()
    assert region.outcomes(1.0) == []


def test_a_control_message_arrives_behind_what_is_urgent_and_ahead_of_what_is_in_up() -> None:
    link = MemoryLink(control_overtakes=True)
    region = link.region_end(REGION)
    region.send(ONE, b"x")
    region.send_urgent(TWO, b"u")
    region.send_control(b"want")
    assert list(link.region(REGION).ctl.entries.values()) == [b"u", b"want"]
    assert ids(link) == []
    assert region.outcomes(0.0) == [Accepted(TWO), Accepted(ONE)]


def test_where_up_stalls_only_ctl_arrives_and_is_answered() -> None:
    link = MemoryLink(up_stalls=True)
    region, center = link.region_end(REGION), link.center_end()
    region.send(ONE, b"x")
    region.send_urgent(TWO, b"u")
    assert region.outcomes(0.0) == [Accepted(TWO)]
    assert center.lengths([REGION]) == {REGION: (1, 0)}
    link.up_stalls = False
    assert region.outcomes(0.0) == [Accepted(ONE)]


def test_a_full_broker_has_a_word_for_control_messages_too() -> None:
    link = MemoryLink(bytes_max=0)
    region = link.region_end(REGION)
    region.send_control(b"want")
    region.send_urgent(ONE, b"u")
    assert region.outcomes(0.0) == [Full(NO_ENTRY), Full(ONE)]


def test_a_stopped_broker_is_away_for_both_ends_and_keeps_what_it_has() -> None:
    link = MemoryLink()
    region, center = link.region_end(REGION), link.center_end()
    region.send_control(b"want")
    link.stop_broker()
    with pytest.raises(LinkDown):
        region.ask_length()
    with pytest.raises(Unreachable):
        center.read(REGION, "ctl", 1)
    link.start_broker()
    assert [one.frame for one in center.read(REGION, "ctl", 9)] == [b"want"]


def test_a_full_broker_refuses_one_frame_and_may_take_a_smaller_one_behind_it() -> None:
    link = MemoryLink(bytes_max=10)
    region = link.region_end(REGION)
    region.send(ONE, bytes(8))
    region.send(TWO, bytes(3))
    region.send(THREE, bytes(2))
    assert region.outcomes(0.0) == [Accepted(ONE), Full(TWO), Accepted(THREE)]
    link.bytes_max = None
    region.send(TWO, bytes(3))  # below the last id now: never stored, as Valkey would have it
    assert region.outcomes(0.0) == [Accepted(TWO)]
    assert ids(link) == [ONE, THREE]


def test_entries_dropped_from_down_are_a_gap_to_the_region() -> None:
    link = MemoryLink()
    region, center = link.region_end(REGION), link.center_end()
    for n in (1, 2, 3):
        center.put_down(REGION, EntryId(1, n), b"d", DownHint(1, n, 0, 0, 0))
    assert link.drop_down(2) == 2
    assert [entry.n for entry, _ in region.read_down(EntryId(0, 0), 0.0)] == [3]


def test_a_copy_lives_its_own_life() -> None:
    link = MemoryLink()
    link.region_end(REGION).send(ONE, b"x")
    other = copy.deepcopy(link)
    other.cut(keep_sent=False)
    link.arrive()
    assert (ids(link), ids(other)) == ([ONE], [])


def test_the_manual_clock_moves_both_clocks_and_only_forward() -> None:
    clock = ManualClock(wall_ms=1_000, monotonic_s=5.0)
    clock.advance(0.25)
    assert (clock.now_ms(), clock.now_s()) == (1_250, 5.25)
    with pytest.raises(ValueError, match="monotonic"):
        clock.advance(-1)
