"""A small urgent packet goes past whatever stands before it, and still arrives once, whatever breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.frame import Kind, split
from schemas.identity import PacketId
from schemas.lanes import Lane

FRAME_BYTES = 16 * 1024
SETTINGS = PushSettings(frame_bytes=FRAME_BYTES, link_window_bytes=2 * FRAME_BYTES)
LARGE = list(sample_lines(3, seed=4, biometrics=3))
SMALL = list(sample_lines(400, seed=3))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A session is granted and nothing is on its way."""
    one = World(tmp_path, push_settings=SETTINGS)
    for _ in range(3):
        one.round()
    yield one
    one.close()


def urgent(world: World, n: int = 0) -> PacketId:
    return world.enqueue({**SMALL[n], "lane": "urgent"})


def large_urgent(world: World) -> PacketId:
    return world.enqueue({**LARGE[0], "lane": "urgent"})


def fill(world: World) -> None:
    for line in LARGE:
        world.enqueue(line)


def push_until(world: World, waits: str) -> None:
    """Push until that holds it."""
    assert any(world.step_push().waits == waits for _ in range(40)), f"it never came to '{waits}'"


def is_there(world: World, packet: PacketId) -> bool:
    return world.ledger.reader.packet(packet) is not None


def arrives_next(world: World, packet: PacketId) -> bool:
    """One step of push and one of intake bring it."""
    world.step_push()
    world.step_intake()
    return is_there(world, packet)


def duplicates(world: World) -> int:
    return world.ledger.reader.counts(world.region).counters.get("duplicates", 0)


# --- what it goes past ------------------------------------------------------------------------------


def full_link(world: World) -> None:
    world.link.up_stalls = True
    fill(world)
    push_until(world, "link window")


def full_receipt_window(world: World) -> None:
    world.ledger.set_window(world.region, 4 * FRAME_BYTES)
    world.clock.advance(31.0)
    for _ in range(3):
        world.round()
    fill(world)
    push_until(world, "receipt window")


def held_center(world: World) -> None:
    world.ledger.set_window(world.region, None, hold_s=600.0)
    world.clock.advance(31.0)
    for _ in range(3):
        world.round()
    fill(world)
    push_until(world, "held by the center")


def paused_after_a_loss(world: World) -> None:
    """Somebody takes what lies in `up` and does not know it."""
    fill(world)
    for _ in range(60):
        if world.step_push().waits == "paused after a loss":
            return
        world.link.arrive()
        up = world.link.region(world.region).up
        up.delete(list(up.entries))
        world.step_intake()
        world.step_deliver()
        world.step_pull()
        world.clock.advance(0.5)
    raise AssertionError("nothing was held for being lost")


@pytest.mark.parametrize(
    "stands_before_it", [full_link, full_receipt_window, held_center, paused_after_a_loss]
)
def test_an_urgent_packet_goes_past(world: World, stands_before_it: Callable[[World], None]) -> None:
    stands_before_it(world)
    sent = world.push.in_flight_bytes
    packet = urgent(world)
    assert arrives_next(world, packet)
    assert world.push.in_flight_bytes > sent or stands_before_it is paused_after_a_loss
    world.link.up_stalls = False
    world.ledger.set_window(world.region, None)
    assert world.arrive(900) < 900
    world.check()
    assert duplicates(world) == 0


def test_without_a_session_an_urgent_packet_waits_for_one(tmp_path: Path) -> None:
    world = World(tmp_path, push_settings=SETTINGS)
    packet = urgent(world)
    assert not arrives_next(world, packet)
    assert world.step_push().waits == "no session"
    assert world.arrive() < 300
    world.check()
    world.close()


def test_a_large_urgent_packet_passes_the_windows_by_one_chunk_and_goes_before_the_others(
    world: World,
) -> None:
    full_link(world)
    before = len(world.push.link.wire)  # type: ignore[attr-defined]
    large_urgent(world)
    for _ in range(4):
        assert world.step_push().waits == "link window"
    assert len(world.push.link.wire) == before + 1  # type: ignore[attr-defined]
    world.link.up_stalls = False
    world.step_push()
    assert {one.lane for one in world.outbox.in_flight()[before:]} == {Lane.URGENT}
    assert world.arrive(900) < 900
    world.check()


def test_many_urgent_packets_go_about_one_frame_at_a_time(world: World) -> None:
    for n in range(400):
        urgent(world, n)
    world.step_push()
    on_the_wire = world.push._flights.ctl_on_the_wire_bytes
    assert 0 < on_the_wire < 2 * FRAME_BYTES
    assert world.outbox.in_flight()[-1].seqs[-1][1] < 400, "all of them went at once"
    assert world.arrive() < 300
    world.check()


class OnlyUrgentStands:
    """A gate that somebody has paused `urgent` at."""

    def open_lanes(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        return tuple(lane for lane in lanes if lane is not Lane.URGENT)

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        assert lane is not Lane.URGENT


def test_a_paused_urgent_lane_stands_still_and_lets_the_others_go(world: World) -> None:
    world.push.lanes.gate = OnlyUrgentStands()
    packet, other = urgent(world), world.enqueue(SMALL[1])
    assert not arrives_next(world, packet)
    assert is_there(world, other)
    assert world.step_push().waits == "paused or capped"
    world.push.lanes.gate = None
    assert arrives_next(world, packet)


# --- what breaks ------------------------------------------------------------------------------------


def wiped(world: World) -> None:
    world.link.arrive()
    world.link.wipe()


def cut_before_it_arrives(world: World) -> None:
    world.link.cut(keep_sent=False)
    world.step_push()
    world.link.restore()


def killed_and_wiped(world: World) -> None:
    world.kill_region()
    world.link.wipe()


def center_killed_and_wiped(world: World) -> None:
    world.kill_center()
    wiped(world)


@pytest.mark.parametrize("breaks", [wiped, cut_before_it_arrives, killed_and_wiped, center_killed_and_wiped])
def test_an_urgent_packet_that_was_lost_on_the_way_is_sent_again_and_applied_once(
    world: World, breaks: Callable[[World], None]
) -> None:
    packet = urgent(world)
    world.step_push()
    breaks(world)
    assert not arrives_next(world, packet)
    assert world.arrive(60) < 60
    world.check()
    assert duplicates(world) == 0


def the_answer_is_lost(world: World) -> None:
    world.link.cut(keep_sent=True)
    world.step_push()
    world.link.restore()


@pytest.mark.parametrize("breaks", [World.kill_region, World.kill_center, the_answer_is_lost])
def test_an_urgent_packet_that_arrived_is_not_sent_again(
    world: World, breaks: Callable[[World], None]
) -> None:
    packet = urgent(world)
    world.step_push()
    breaks(world)
    assert world.arrive(60) < 60
    world.check()
    assert is_there(world, packet)
    assert duplicates(world) == 0


def test_an_urgent_packet_that_left_behind_a_want_is_not_lost_for_the_answer_to_that_want(
    world: World,
) -> None:
    world.clock.advance(31.0)
    assert world.step_push().frames == 0
    assert world.step_intake().wants
    world.step_deliver()
    urgent(world)
    assert world.step_push().frames == 1
    world.step_pull()
    for _ in range(3):
        done = world.step_push()
        assert (done.frames, done.requeued) == (0, 0)
    assert world.arrive(60) < 60
    world.check()


def test_wants_go_once_in_a_while_as_long_as_an_urgent_packet_has_no_answer(world: World) -> None:
    urgent(world)
    for _ in range(200):  # 10 s, and the center sleeps
        world.step_push()
        world.clock.advance(0.05)
    frames = world.link.region(world.region).ctl.entries.values()
    kinds = [split(frame).header.kind for frame in frames]
    assert kinds.count(Kind.BATCH) == 1
    assert 2 <= kinds.count(Kind.WANT) <= 4


def test_a_broker_without_memory_holds_an_urgent_packet_and_the_link_stays_up(world: World) -> None:
    world.link.bytes_max = 0
    packet = urgent(world)
    for _ in range(50):
        assert world.push.backoff.since_s is None
        assert world.step_push().waits in ("nothing waits", "the center's broker is full")
        world.clock.advance(1.0)
    assert world.outbox.in_flight() == []
    world.link.bytes_max = None
    world.clock.advance(1.0)
    assert arrives_next(world, packet)
    assert world.arrive() < 300
    world.check()


def test_a_want_that_the_broker_had_no_memory_for_is_said_again_a_second_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.link.bytes_max = 0
    for _ in range(6):
        world.step_push()
        world.clock.advance(1.0)
    assert world.push.backoff.since_s is None
    assert not world.step_intake().wants
    world.link.bytes_max = None
    for _ in range(3):
        world.step_push()
        world.clock.advance(0.5)
    assert world.step_intake().wants
    world.close()


def test_an_urgent_packet_that_is_taken_and_never_known_is_sent_ever_more_seldom(world: World) -> None:
    """Whoever takes it (another center on the same broker), wants are still answered."""
    urgent(world)
    frames = 0
    for _ in range(600):
        frames += world.step_push().frames
        ctl = world.link.region(world.region).ctl
        world.link.arrive()
        ctl.delete([entry for entry, frame in ctl.entries.items() if is_batch(frame)])
        world.step_intake()
        world.step_deliver()
        world.step_pull()
        world.clock.advance(0.5)
    assert 3 <= frames <= 20
    assert world.arrive() < 300
    world.check()


def is_batch(frame: bytes) -> bool:
    return split(frame).header.kind is Kind.BATCH
