"""What is announced, and what is not: the table of decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from pipeline.adapters.outbox_announced import LaneBacklog
from pipeline.region.announcer import IDLE_LOOK_S, Announcer
from pipeline.region.announcing import (
    FRAME_PACKETS,
    LARGE_S,
    REST_S_MAX,
    SHARE_MAX,
    SMALL_S,
    SMALL_STANDS_S,
    Flow,
    LaneStand,
    rest_s,
    skip_of,
    to_tell,
)
from schemas.announcement import Announcement
from schemas.frame import Kind
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.messages import Ack, Announced, Since, Want
from schemas.ranges import Ranges, contains, from_numbers, to_wire

LARGE, SMALL = 500_000, 600
#: packets, bytes of one, stored bytes a second that leave, seconds without any -> packets that are left out.
TABLE = {
    "nothing waits": (0, LARGE, 0.0, 99.0, None),
    "it leaves in seconds": (20, LARGE, 1_000_000.0, 0.0, None),
    "all of it leaves just in time": (20, LARGE, 20 * LARGE / LARGE_S, 0.0, None),
    "the end of it does not leave in seconds": (100, LARGE, 1_000_000.0, 0.0, 20),
    "its lane has only begun to wait": (100, LARGE, 0.0, LARGE_S - 1, None),
    "its lane stands": (100, LARGE, 0.0, LARGE_S, 0),
    "its lane stands, although it went well before": (3, LARGE, 1_000_000.0, LARGE_S, 0),
    "a thin link": (4, LARGE, 6_000.0, 0.0, 1),
    "small ones that take minutes": (50_000, SMALL, 60_000.0, 0.0, None),
    "small ones that take longer than ten minutes": (100_000, SMALL, 60_000.0, 0.0, 60_000),
    "small ones whose lane stands for moments": (50, SMALL, 0.0, SMALL_STANDS_S - 1, None),
    "small ones whose lane stands": (50, SMALL, 0.0, SMALL_STANDS_S, 0),
}


@pytest.mark.parametrize(("packets", "size", "rate", "still_s", "skip"), TABLE.values(), ids=TABLE)
def test_what_is_left_out(packets: int, size: int, rate: float, still_s: float, skip: int | None) -> None:
    assert skip_of(LaneStand(packets, packets * size, rate, still_s)) == skip


def test_the_largest_packets_are_told_first() -> None:
    stands = {lane: LaneStand(10, 10 * SMALL, 0.0, SMALL_S) for lane in Lane}
    stands[Lane.BIOMETRIC] = LaneStand(10, 10 * LARGE, 0.0, SMALL_S)
    stands[Lane.CONTROL] = LaneStand(0, 0, 0.0, 0.0)
    assert [lane for lane, _ in to_tell(stands)] == [Lane.BIOMETRIC, Lane.URGENT, Lane.RECORD]


def test_announcements_take_their_share_of_what_flows_and_no_more() -> None:
    assert rest_s(4_096, 0.0) == 0.0
    assert rest_s(4_096, 250_000.0) == pytest.approx(4_096 / (SHARE_MAX * 250_000.0))
    assert rest_s(4_096, 1.0) == REST_S_MAX


def test_a_rate_is_that_of_the_last_seconds() -> None:
    flow = Flow()
    flow.add(1_000, 100.0)
    assert flow.rate(100.1) == 1_000
    assert flow.rate(105.0) == 200
    flow.add(1_000, 112.0)
    assert flow.rate(115.0) == pytest.approx(2_000 / 15)
    assert flow.rate(125.0) == pytest.approx(1_000 / 15)
    assert flow.rate(1_000.0) == 0.0


# --- when, with a store by hand ---------------------------------------------------------------------


@dataclass
class Store:
    """Large packets of a lane, seq for seq."""

    waiting: list[int] = field(default_factory=list)
    told: set[int] = field(default_factory=set)

    def backlog(self) -> Mapping[Lane, LaneBacklog]:
        n = len(self.waiting)
        return {Lane.BIOMETRIC: LaneBacklog(n, n * LARGE, len(self.told))}

    def untold(self, lane: Lane, skip: int, limit: int) -> Sequence[tuple[int, Announcement]]:
        assert lane is Lane.BIOMETRIC
        left = [seq for seq in self.waiting[skip:] if seq not in self.told]
        return [(seq, Announcement(b"8 bytes.", LARGE, bytes(32), 1)) for seq in left[:limit]]

    def tell(self, lane: Lane, seqs: Sequence[int], now_ms: int) -> None:
        assert (lane, now_ms) == (Lane.BIOMETRIC, 7)
        self.told |= set(seqs)

    def restate(self, start: int, stop: int, known: Ranges, keep: Ranges) -> tuple[int, int]:
        lost = {
            seq
            for seq in self.told
            if start <= seq < stop and not contains(known, seq) and not contains(keep, seq)
        }
        self.told -= lost
        return len(lost), 0


NOTHING_ASKED = Announced()


def ack(n: int, said: Announced | None = NOTHING_ASKED, incarnation: str = "a") -> Ack:
    return Ack(
        n=n,
        instance="i",
        grant=1,
        session=1,
        since=Since(incarnation=incarnation),
        facts_top=0,
        records_top=0,
        window_bytes=0,
        epoch="k3v9qa",
        announced=said,
        clock_ms=0,
    )


def everything(*known: int) -> Announced:
    return Announced(start=0, stop=INTEGER_MAX, ranges=to_wire(from_numbers(known)))


@dataclass
class Talk:
    """An announcer whose lane stands, and the frames that it makes."""

    announcer: Announcer
    frames: list[Ranges] = field(default_factory=list)
    now_s: float = 100.0

    def seal(self, kind: Kind, body: bytes, lane: Lane, seqs: Ranges) -> bytes:
        assert (kind, lane, bool(body)) == (Kind.ANNOUNCE, Lane.BIOMETRIC, True)
        self.frames.append(seqs)
        return bytes(4_096)

    def go(self, seconds: float, next_n: int) -> list[Ranges]:
        """Time passes, and the announcer is asked as often as it likes; returns the new frames."""
        before = len(self.frames)
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.announcer.frame(self.now_s, 7, next_n, self.seal)
            self.now_s += 0.5
        return self.frames[before:]

    def asks_from(self) -> int | None:
        want = Want(
            n=1,
            instance="i",
            grant=1,
            session=1,
            epoch="k3v9qa",
            highest_seq=0,
            clock_ms=0,
            facts=0,
            records=0,
            level=0,
        )
        return self.announcer.ask(want).announced_from


@pytest.fixture
def store() -> Store:
    return Store(list(range(1, 201)))


@pytest.fixture
def talk(store: Store) -> Talk:
    return Talk(Announcer(store))


def test_nothing_is_told_before_the_center_says_that_it_listens(talk: Talk) -> None:
    assert talk.go(60, 1) == []
    talk.announcer.hear(ack(1, None))
    assert talk.go(60, 2) == []
    assert not talk.announcer.waits


def test_one_frame_at_a_time_is_without_an_answer(talk: Talk) -> None:
    talk.announcer.hear(ack(1, everything()))
    assert talk.go(60, 5) == [((1, FRAME_PACKETS + 1),)]
    assert talk.announcer.waits
    assert talk.asks_from() == 1
    talk.announcer.hear(ack(4, everything()))  # of before the frame
    assert talk.go(60, 5) == []
    talk.announcer.hear(ack(5, everything(*range(1, FRAME_PACKETS + 1))))
    assert talk.go(10, 6) == [((FRAME_PACKETS + 1, 2 * FRAME_PACKETS + 1),)]


def test_what_an_answer_does_not_cover_is_told_again_and_nothing_else_is(talk: Talk, store: Store) -> None:
    store.waiting = [1, 2, 3, 4]
    talk.announcer.hear(ack(1, everything()))
    assert talk.go(20, 2) == [((1, 5),)]
    talk.announcer.hear(ack(2, everything(1, 4)))
    assert talk.go(20, 3) == [((2, 4),)]
    talk.announcer.hear(ack(3, everything(1, 2, 3, 4)))
    assert talk.go(600, 4) == []


def test_an_answer_to_a_part_of_a_frame_leaves_the_rest_open(talk: Talk) -> None:
    talk.announcer.hear(ack(1, everything()))
    talk.go(20, 2)
    talk.announcer.hear(ack(2, Announced(start=1, stop=31, ranges=[1, 30])))
    assert talk.asks_from() == 31
    assert talk.go(60, 3) == []


def test_what_was_told_before_a_start_is_gone_through_once(talk: Talk, store: Store) -> None:
    store.told = {1, 2, 150}
    store.waiting = [1, 2, 150]
    assert talk.asks_from() == 0
    talk.announcer.hear(ack(1, Announced(start=0, stop=100, ranges=[1, 2])))
    assert talk.announcer.waits
    assert talk.asks_from() == 100
    assert talk.go(60, 2) == []
    talk.announcer.hear(ack(2, Announced(start=100, stop=INTEGER_MAX, ranges=[])))
    assert talk.asks_from() is None
    assert not talk.announcer.waits
    assert talk.go(20, 3) == [((150, 151),)]


def test_a_new_life_of_the_ledger_is_asked_what_it_knows(talk: Talk) -> None:
    talk.announcer.hear(ack(1, everything()))
    assert talk.asks_from() is None
    talk.announcer.hear(ack(2, incarnation="b"))
    assert talk.asks_from() == 0
    assert talk.announcer.waits


def test_a_ledger_that_is_full_is_told_nothing_until_it_is_not(talk: Talk) -> None:
    talk.announcer.hear(ack(1, everything().model_copy(update={"full": True})))
    assert talk.go(60, 2) == []
    talk.announcer.hear(ack(2))
    assert len(talk.go(20, 3)) == 1


def test_a_link_that_was_down_makes_no_lane_stand(talk: Talk, store: Store) -> None:
    talk.announcer.hear(ack(1, everything()))
    store.waiting = [1, 2, 3]
    talk.go(LARGE_S - 3, 2)
    talk.now_s += 600  # nobody asks while it is down
    assert talk.go(LARGE_S - 3, 2) == []
    assert talk.go(2 * IDLE_LOOK_S, 2) == [((1, 4),)]


def test_a_lane_of_which_nothing_waited_does_not_stand(talk: Talk, store: Store) -> None:
    talk.announcer.hear(ack(1, everything()))
    store.waiting = []
    talk.go(600, 2)
    store.waiting = [1, 2, 3]
    assert talk.go(LARGE_S - IDLE_LOOK_S - 1, 2) == []
    assert talk.go(2 * IDLE_LOOK_S, 2) == [((1, 4),)]


def test_a_lane_that_moves_does_not_stand(talk: Talk, store: Store) -> None:
    talk.announcer.hear(ack(1, everything()))
    store.waiting = [1, 2, 3]
    for _ in range(20):
        talk.announcer.left(Lane.BIOMETRIC, 2 * LARGE, 2 * LARGE, talk.now_s)
        talk.go(LARGE_S / 2, 2)
    assert talk.frames == []


def test_beside_what_flows_announcements_wait_for_their_share(talk: Talk, store: Store) -> None:
    talk.announcer.hear(ack(1, everything()))
    times: list[float] = []
    for n in range(2, 400):
        talk.announcer.left(Lane.BIOMETRIC, 1_000, 1_000, talk.now_s)
        if talk.go(1.0, n):
            times.append(talk.now_s)
            talk.announcer.hear(ack(n, everything(*sorted(store.told))))
    assert len(times) >= 2  # 500 kB ahead at 1 kB/s
    frame_s = min(REST_S_MAX, 4_096 / (SHARE_MAX * 1_000))
    assert all(later - before >= frame_s for before, later in pairwise(times))
