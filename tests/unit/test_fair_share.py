"""Intake serves regions by turns: each gets its share, whatever it sends, and `ctl` goes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.center.fair_share import ALONE_BYTES, CTL_OWED_BYTES, OWED_BYTES_MAX, FairShare
from pipeline.center.intake import UP_FRAMES, IntakeResult
from pipeline.center.outcomes import TookIn
from pipeline.center.turns import REST_S_LAST, Turns
from pipeline.errors import StoreError, TitianError, Unreachable
from pipeline.ports import EntryId
from pipeline.testing.clock import ManualClock
from pipeline.testing.memory_link import MemoryLink

KIB, MIB = 1024, 1024 * 1024
FIFTY = [f"{1800 + n}" for n in range(50)]
#: What frames there are: chunks, batches, small batches, and one full of announcements.
SIZES = (256 * KIB, 320 * KIB, 32 * KIB, 4 * KIB, 700)


def serve(share: FairShare, frame_bytes: dict[str, int], until_bytes: int) -> dict[str, int]:
    """What each region got until so much was taken in, from backlogs without end: a reading ends with the
    frame that passes what it was to bring, or after some frames."""
    got = dict.fromkeys(frame_bytes, 0)
    while sum(got.values()) < until_bytes:
        turn = share.next(frame_bytes.keys())
        assert turn is not None
        size = frame_bytes[turn.region]
        taken = min(-(-turn.bytes // size), UP_FRAMES) * size
        share.spent(turn.region, taken)
        got[turn.region] += taken
    return got


def test_fifty_regions_get_the_same_whatever_the_size_of_their_frames() -> None:
    sizes = {region: SIZES[n % len(SIZES)] for n, region in enumerate(FIFTY)}
    got = serve(FairShare(), sizes, 50 * 2 * MIB)
    mean = sum(got.values()) / len(got)
    assert all(mean / 2 < one < 2 * mean for one in got.values()), got


@pytest.mark.parametrize("regions", [2, 3, 7, 514])
def test_so_do_few_and_all(regions: int) -> None:
    sizes = {f"{1100 + n}": SIZES[n % len(SIZES)] for n in range(regions)}
    got = serve(FairShare(), sizes, regions * 12 * MIB)
    mean = sum(got.values()) / len(got)
    assert all(mean / 2 < one < 2 * mean for one in got.values())


def test_over_many_rounds_what_one_took_too_much_is_made_up_for() -> None:
    sizes = {region: SIZES[n % len(SIZES)] for n, region in enumerate(FIFTY)}
    got = serve(FairShare(), sizes, 50 * 20 * MIB)
    assert max(got.values()) < 1.1 * min(got.values())


def test_who_sends_little_has_saved_nothing_up_for_a_flood() -> None:
    share = FairShare()
    for _ in range(2_000):
        turn = share.next(FIFTY[:3])
        assert turn is not None
        share.spent(turn.region, turn.bytes)
        if turn.region == FIFTY[0]:  # a few bytes, and then nothing for the rest of the round
            share.spent(turn.region, -turn.bytes + 100)
            share.next(FIFTY[1:3])
    got = serve(share, dict.fromkeys(FIFTY[:3], 32 * KIB), 40 * MIB)
    assert got[FIFTY[0]] < 1.5 * got[FIFTY[1]]


def test_a_region_alone_gets_everything_in_large_bites_and_owes_nothing_for_it() -> None:
    share = FairShare()
    for _ in range(20):
        assert share.next(["1806"]) == ("1806", ALONE_BYTES)
        share.spent("1806", ALONE_BYTES)
    got = serve(share, dict.fromkeys(["1806", "1807"], 32 * KIB), 40 * MIB)
    assert got["1806"] > 0.9 * got["1807"]


def test_who_was_idle_has_saved_nothing_up() -> None:
    share = FairShare()
    serve(share, dict.fromkeys(FIFTY[:3], 32 * KIB), 300 * MIB)
    got = serve(share, dict.fromkeys(FIFTY[:4], 32 * KIB), 40 * MIB)
    assert got[FIFTY[3]] < 1.5 * got[FIFTY[0]]


def test_a_region_that_comes_is_served_in_the_round_that_goes_on() -> None:
    share = FairShare()
    serve(share, dict.fromkeys(FIFTY[:40], 32 * KIB), 10 * MIB)
    before = 0
    while (turn := share.next([*FIFTY[:40], "1999"])) is not None and turn.region != "1999":
        share.spent(turn.region, turn.bytes)
        before += turn.bytes
    assert before <= 16 * MIB


def test_who_floods_its_ctl_pays_with_its_up_and_then_waits_its_turn_with_both() -> None:
    share = FairShare()
    assert share.may_be_first("1806")
    share.spent("1806", CTL_OWED_BYTES)
    assert not share.may_be_first("1806")
    for _ in range(3):
        turn = share.next(["1806", "1807"])
        assert turn is not None
        share.spent(turn.region, turn.bytes)
    assert share.may_be_first("1806")


def test_debts_end() -> None:
    share = FairShare()
    share.spent("1806", 10**12)
    rounds = 0
    while (turn := share.next(["1806", "1807"])) is not None and turn.region != "1806":
        share.spent(turn.region, turn.bytes)
        rounds += 1
    assert rounds <= OWED_BYTES_MAX // MIB


def test_the_first_round_begins_where_it_is_told_to() -> None:
    turn = FairShare(first="1830").next(FIFTY)
    assert turn is not None
    assert turn.region == "1830"


@given(st.lists(st.tuples(st.sets(st.sampled_from(FIFTY[:6])), st.integers(0, 3 * MIB)), max_size=60))
def test_whoever_comes_and_goes_there_is_always_a_turn_for_somebody(
    steps: list[tuple[set[str], int]],
) -> None:
    share = FairShare()
    for waiting, taken in steps:
        turn = share.next(waiting)
        assert (turn is None) == (not waiting)
        if turn is not None:
            assert turn.region in waiting
            assert 0 < turn.bytes <= ALONE_BYTES
            share.spent(turn.region, taken)


# --- turns ------------------------------------------------------------------------------------------


@dataclass
class StandIn:
    """Intake that deletes what it reads; of the regions in `breaks` it fails."""

    link: MemoryLink
    breaks: dict[str, TitianError] = field(default_factory=dict)
    away: TitianError | None = None
    order: list[tuple[str, str]] = field(default_factory=list)

    def step(self, region: str, up_bytes: int = MIB) -> IntakeResult:
        if region in self.breaks:
            raise self.breaks[region]
        held = self.link.region(region)
        taken = 0
        for name, stream in (("ctl", held.ctl), ("up", held.up)):
            found = list(stream.entries.items())[: UP_FRAMES if name == "ctl" or up_bytes else 0]
            stream.delete([entry for entry, _ in found])
            taken += sum(len(frame) for _, frame in found)
            self.order += [(region, name)] if found else []
        return IntakeResult(1, (TookIn(bytes=taken),), more=bool(held.up.entries))

    def probe(self) -> None:
        if self.away is not None:
            raise self.away


@dataclass
class Center:
    """Five regions, each with something in `ctl` and in `up`."""

    link: MemoryLink = field(default_factory=MemoryLink)
    clock: ManualClock = field(default_factory=ManualClock)
    failed: list[str] = field(default_factory=list)
    regions: list[str] = field(default_factory=lambda: FIFTY[:5])

    def __post_init__(self) -> None:
        self.intake = StandIn(self.link)
        self.turns = Turns(
            self.link.center_end(),
            self.intake,
            self.clock,
            lambda _region, _done: None,
            lambda region, _why: self.failed.append(region),
        )
        self.fill()

    def fill(self) -> None:
        for region in self.regions:
            held = self.link.region(region)
            held.ctl.add(EntryId(held.ctl.last.session + 1, 0), b"want")
            held.up.add(EntryId(1, held.up.last.n + 1), b"frame")

    def once(self) -> None:
        self.turns.once(self.turns.waiting(self.regions))


def test_every_ctl_is_read_before_any_up() -> None:
    center = Center()
    center.once()
    streams = [stream for _, stream in center.intake.order]
    assert streams == ["ctl"] * 5 + ["up"] * 5


def test_a_region_that_cannot_be_read_rests_and_the_others_go_on() -> None:
    center = Center()
    center.intake.breaks[FIFTY[0]] = Unreachable("its stream is no stream")
    center.once()
    assert {region for region, _ in center.intake.order} == set(FIFTY[1:5])
    assert center.failed == [FIFTY[0]]
    center.fill()
    center.once()
    assert center.failed == [FIFTY[0]], "it did not rest"
    for _ in range(8):
        center.clock.advance(REST_S_LAST)
        center.fill()
        center.once()
    assert len(center.failed) == 9
    center.intake.breaks.clear()
    center.clock.advance(REST_S_LAST)
    center.once()
    assert (FIFTY[0], "up") in center.intake.order


def ledger_away(center: Center) -> None:
    center.intake.away = StoreError("the disk is full")


def broker_away(center: Center) -> None:
    center.intake.away = Unreachable("the broker is away")


@pytest.mark.parametrize("breaks", [ledger_away, broker_away])
def test_where_no_region_can_be_served_it_is_no_region_s_fault(breaks: Callable[[Center], None]) -> None:
    center = Center()
    center.intake.breaks = dict.fromkeys(center.regions, StoreError("it failed"))
    breaks(center)
    with pytest.raises(TitianError) as raised:
        center.once()
    assert raised.value is center.intake.away
    assert center.failed == []
    assert center.turns.awake(center.regions) == center.regions, "a region rests for what it did not do"
