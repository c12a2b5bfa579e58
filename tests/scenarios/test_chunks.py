"""A packet of 2 MB over a link that breaks: chunks that came stay, and only what was lost goes twice."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.ports import EntryId
from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.codec import pack_flat
from schemas.frame import Header, Kind, seal_frame
from schemas.lanes import Lane
from schemas.ranges import total

DAY_S = 24 * 60 * 60
DAYS = 30
FRAME_BYTES = 32 * 1024
SETTINGS = PushSettings(frame_bytes=FRAME_BYTES, link_window_bytes=4 * FRAME_BYTES)


def large_line(size_bytes: int = 2_000_000, seed: int = 1) -> dict[str, Any]:
    """A packet with an attachment of that size that does not compress."""
    data = b"\xff\xd8\xff\xe0" + random.Random(seed).randbytes(size_bytes - 4)
    (line,) = sample_lines(1, seed=seed)
    face = {"name": "face", "media_type": "image/jpeg", "base64": base64.b64encode(data).decode()}
    return {**line, "attachments": [face]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A session is granted and nothing is on its way."""
    one = World(tmp_path, push_settings=SETTINGS)
    for _ in range(3):
        one.round()
    yield one
    one.close()


def size_bytes(world: World) -> int:
    """The stored bytes of all packets in the outbox."""
    return int(world.outbox.connection.execute("SELECT sum(size) FROM packet").get)


def sent_twice_bytes(world: World) -> int:
    """Contents that were put into frames beyond what there is to send, when everything has arrived."""
    reader = OutboxReader(world.folder / "region")
    try:
        return sum(one.bytes for one in reader.rates(0) if one.what == "out") - size_bytes(world)
    finally:
        reader.close()


def counter(world: World, what: str) -> int:
    return world.ledger.reader.counts(world.region).counters.get(what, 0)


def held_bytes(world: World) -> int:
    """What the ledger holds of packets that are not complete."""
    parts = world.ledger.partly(world.region, world.outbox.epoch)
    return sum(map(total, parts.values()))


def rounds_until_held(world: World, bytes_min: int) -> None:
    for _ in range(100):
        if held_bytes(world) >= bytes_min:
            return
        world.round(0.3)
    raise AssertionError(f"only {held_bytes(world)} bytes came")


def everything_arrives(world: World) -> None:
    assert world.arrive() < 300, "it did not come to rest"
    world.check()
    assert counter(world, "received") == len(world.enqueued)
    assert world.ledger.reader.counts().incomplete == 0


def nothing_waits(world: World) -> bool:
    """Whether all of what is in the outbox is in frames."""
    waits = world.outbox.connection.execute("SELECT sum(packets) FROM counter WHERE what = -1").get
    return not waits


def leftovers(world: World) -> dict[str, int]:
    """Rows at the region about what is on its way."""
    tables = ("again", "large", "sent")
    count = world.outbox.connection.execute
    return {one: int(count(f"SELECT count(*) FROM {one}").get) for one in tables}


# --- what goes wrong on the way: each returns how many bytes of frames it lost ------------------------


def on_the_wire_bytes(world: World) -> int:
    return sum(len(frame) for end in world.link.ends for _, frame in end.wire)


def _cut(world: World, keep_sent: bool | int) -> int:
    before = on_the_wire_bytes(world)
    world.link.cut(keep_sent=keep_sent)
    world.step_push()  # it notices
    world.link.restore()
    world.clock.advance(3.0)
    return 0 if keep_sent is True else before


def cut_that_loses_all(world: World) -> int:
    return _cut(world, keep_sent=False)


def cut_that_loses_only_answers(world: World) -> int:
    return _cut(world, keep_sent=True)


def cut_that_loses_all_but_one(world: World) -> int:
    return _cut(world, keep_sent=1)


def restart_of_the_region(world: World) -> int:
    world.kill_region()
    return 0


def restart_of_the_center(world: World) -> int:
    world.kill_center()
    return 0


def restart_of_both(world: World) -> int:
    world.kill_center()
    world.kill_region()
    return 0


def wiped_broker(world: World) -> int:
    world.link.arrive()
    lost = world.link.held_bytes
    world.link.wipe()
    return lost


TROUBLE = [
    cut_that_loses_all,
    cut_that_loses_only_answers,
    cut_that_loses_all_but_one,
    restart_of_the_region,
    restart_of_the_center,
    restart_of_both,
    wiped_broker,
]


@pytest.mark.parametrize("every", [6, 11, 16])
@pytest.mark.parametrize("trouble", TROUBLE)
def test_whatever_breaks_at_every_kth_step_only_what_it_lost_goes_twice(
    world: World, trouble: Callable[[World], int], every: int
) -> None:
    """Every 6, 11 or 16 of five steps a round: so all five are broken after in turn."""
    world.enqueue(large_line())
    lost_bytes = steps = times = 0
    while not world.is_done() and steps < 2_000:
        step = (world.step_push, world.step_intake, world.step_validate, world.step_deliver, world.step_pull)
        step[steps % 5]()
        steps += 1
        world.clock.advance(0.1)
        if steps % every == 0 and not world.is_done():
            times += 1
            lost_bytes += trouble(world)
    assert times >= 3
    everything_arrives(world)
    loses = trouble in (cut_that_loses_all, cut_that_loses_all_but_one, wiped_broker)
    assert (lost_bytes > 0) == loses
    assert 0 <= sent_twice_bytes(world) <= lost_bytes
    assert counter(world, "bytes_twice") == 0
    assert leftovers(world) == {"again": 0, "large": 0, "sent": 0}


@pytest.mark.parametrize("trouble", [restart_of_the_region, restart_of_the_center, restart_of_both])
def test_chunks_that_came_survive_a_restart_and_only_the_rest_goes(
    world: World, trouble: Callable[[World], int]
) -> None:
    world.enqueue(large_line())
    rounds_until_held(world, 1_000_000)
    before = held_bytes(world)
    trouble(world)
    assert held_bytes(world) == before
    everything_arrives(world)
    assert sent_twice_bytes(world) == 0


def test_losses_between_which_chunks_come_do_not_make_it_wait_ever_longer(tmp_path: Path) -> None:
    """Of a packet that is not complete no fact comes: that its chunks come shows that all is well."""
    world = World(tmp_path, push_settings=PushSettings(frame_bytes=FRAME_BYTES, link_window_bytes=1))
    world.enqueue(large_line())
    began_s, waits = world.clock.now_s(), set()
    for n in range(1, 9):
        while held_bytes(world) < n * 200_000:
            waits.add(world.step_push().waits)
            world.round(0.5)
            assert world.clock.now_s() < began_s + 600
        world.step_push()
        assert cut_that_loses_all(world) > 0
    assert "paused after a loss" not in waits
    everything_arrives(world)
    world.close()


def test_a_packet_that_is_refused_half_way_leaves_nothing_under_way_and_a_retry_needs_little(
    world: World,
) -> None:
    packet = world.enqueue(large_line())
    rounds_until_held(world, 1_000_000)
    world.step_push()  # more is on its way when the refusal comes
    header = Header(
        Kind.CHUNK,
        world.region,
        packet.epoch,
        world.region_key.id,
        world.center_key.id,
        Lane.BIOMETRIC,
        ((packet.seq, packet.seq + 1),),
        dictionary=0,
    )
    chunk_of_nothing = pack_flat((2_000_000, b"d" * 32, 0, b""))
    ctl = world.link.region(world.region).ctl
    ours, theirs = world.region_key, world.center_key.public
    ctl.add(
        EntryId(ctl.last.session + 1, 0),
        seal_frame(header, chunk_of_nothing, ours=ours, theirs=theirs, level=1),
    )
    for _ in range(6):
        world.round()
    assert leftovers(world) == {"again": 0, "large": 0, "sent": 0}
    assert nothing_waits(world)
    before = held_bytes(world)
    assert 1_000_000 <= before < size_bytes(world)
    world.outbox.retry(((packet.seq, packet.seq + 1),), world.clock.now_ms())
    everything_arrives(world)
    assert sent_twice_bytes(world) < before // 2  # what went before the next ack said what is held
    assert leftovers(world) == {"again": 0, "large": 0, "sent": 0}


# --- what is abandoned --------------------------------------------------------------------------------


def away_for_days(world: World, days: float) -> int:
    """The region is cut off, and the center tidies up; of how many packets the parts went."""
    world.link.cut()
    world.step_push()
    world.clock.advance(days * DAY_S)
    gone = world.ledger.forget_parts(DAYS, world.clock.now_ms())
    world.link.restore()
    return gone


def test_parts_that_were_discarded_are_sent_again_and_the_packet_arrives_whole(world: World) -> None:
    world.enqueue(large_line())
    rounds_until_held(world, 1_000_000)
    before = held_bytes(world)
    assert away_for_days(world, DAYS + 1) == 1
    assert held_bytes(world) == 0
    everything_arrives(world)
    assert before <= sent_twice_bytes(world) <= before + SETTINGS.link_window_bytes + FRAME_BYTES
    assert counter(world, "bytes_twice") == 0
    assert counter(world, "parts_discarded") == 1


def test_parts_are_discarded_while_only_the_last_chunk_is_missing(world: World) -> None:
    """Nothing waits at the region any more: what it learns is that everything does."""
    world.enqueue(large_line(200_000))
    world.step_push()
    while not nothing_waits(world):
        for step in (world.step_intake, world.step_deliver, world.step_pull, world.step_push):
            world.clock.advance(0.3)
            step()
    frames = sum(len(end.wire) for end in world.link.ends)
    world.link.cut(keep_sent=frames - 1)
    world.step_intake()
    world.step_deliver()
    before = held_bytes(world)
    assert size_bytes(world) - FRAME_BYTES <= before < size_bytes(world)
    assert away_for_days(world, DAYS + 1) == 1
    everything_arrives(world)
    assert sent_twice_bytes(world) == size_bytes(world)
    assert counter(world, "bytes_twice") == 0


def test_parts_stay_while_the_region_is_away_for_less(world: World) -> None:
    world.enqueue(large_line())
    rounds_until_held(world, 1_000_000)
    before = held_bytes(world)
    assert away_for_days(world, DAYS - 1) == 0
    assert held_bytes(world) == before
    everything_arrives(world)
    assert sent_twice_bytes(world) <= SETTINGS.link_window_bytes + FRAME_BYTES
