"""The mirror under kills and flipped bits: what was acknowledged is there, and nothing else is ever read."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.adapters.bundle_file import BundleSource
from tests.unit.mirror_rig import SMALL_SEGMENTS, Office
from tests.unit.outbox_rig import draft

FLIPS = 1_000
KILLS = 6


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    one = Office(tmp_path)
    yield one
    one.mirror.close()
    one.outbox.close()


def test_a_flipped_bit_in_the_mirror_is_noticed_and_no_wrong_packet_is_ever_read(office: Office) -> None:
    rng = random.Random(7)
    office.take(*(draft(n, rng.randint(300, 1_500)) for n in range(1, 21)))
    for n in range(21, 31):
        office.take(draft(n, rng.randint(300, 20_000)))
    office.take(draft(31, 70_000))
    (segment,) = office.disk.glob("*.titian")
    whole, written = segment.read_bytes(), office.packets()
    for _ in range(FLIPS):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        segment.write_bytes(data)
        source = BundleSource(segment, salvage=True)
        entries = list(source)
        assert source.damages or len(entries) == 0, "it was not noticed"
        found = office.packets()
        wrong = [seq for seq in found if seq != 31 and found[seq] != written.get(seq)]
        assert not wrong


def _enqueue_for_ever(office: Office, first: int, told: Connection) -> None:
    """In a process of its own, until it is killed."""
    office.outbox.mirror = office.open_mirror()
    for n in range(first, first + 100_000):
        (taken,) = office.take(draft(n, 700), mirrored=False)
        told.send(taken.id.seq)


def test_what_was_acknowledged_before_a_kill_lies_on_the_mirror(tmp_path: Path) -> None:
    office = Office(tmp_path, SMALL_SEGMENTS)
    office.outbox.close()
    context = multiprocessing.get_context("fork")
    rng, acknowledged = random.Random(3), set[int]()
    for kill in range(KILLS):
        pairs = [context.Pipe(duplex=False) for _ in range(2)]
        workers = [
            context.Process(target=_enqueue_for_ever, args=(office, 1_000_000 * (2 * kill + n), theirs))
            for n, (_, theirs) in enumerate(pairs)
        ]
        for one in workers:
            one.start()
        for _ in range(rng.randint(5, 25)):
            acknowledged.add(pairs[0][0].recv())
        for one in workers:
            assert one.pid is not None
            os.kill(one.pid, signal.SIGKILL)
            one.join()
        for ours, theirs in pairs:
            theirs.close()
            while ours.poll():
                try:
                    acknowledged.add(ours.recv())
                except EOFError:
                    break
    office.mirror = office.open_mirror()
    there = office.packets()
    assert acknowledged
    assert acknowledged <= set(there)
    assert all(stored == office.outbox.read(seq) for seq, stored in there.items())
    office.upkeep = office.open_upkeep()
    office.keep_up(rounds=60)
    office.check(*range(1, office.outbox.highest_seq() + 1))


def test_a_packet_whose_bytes_are_damaged_is_not_caught_up_on_the_mirror(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.take(*(draft(n) for n in range(1, 4)), mirrored=False)
    office.outbox.connection.execute("UPDATE body SET stored = zeroblob(length(stored)) WHERE seq = 2")
    office.keep_up()
    assert sorted(office.packets()) == [1, 3]
