"""A Valkey that loses everything in mid-transfer, on either side: what was enqueued arrives once."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from schemas.identity import PacketId
from tests.faults.faults_rig import entries, held, pushed
from tests.sides_rig import (
    child_pid,
    enqueue,
    everything_is_back,
    kill_child,
    two_sides,
    until,
    wipe_link,
    wipe_nudges,
)
from workers.both_sides import BothSides
from workers.making import LINK_VALKEY

ROUND = 60


def begin(sides: BothSides) -> list[PacketId]:
    """Some packets there and back: from here on there is a session."""
    packets = enqueue(sides, 10)
    everything_is_back(sides, packets)
    return packets


def lie_in_up(sides: BothSides, seed: int) -> list[PacketId]:
    """Enqueue, and wait until frames lie in the broker; `intake` must be held."""
    packets = enqueue(sides, ROUND, biometrics=2, seed=seed)
    until(lambda: entries(sides, "up") >= 2, what="a frame in `up`")
    return packets


@pytest.mark.timeout(110)
def test_a_link_broker_that_is_wiped_in_mid_transfer_loses_no_packet(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = begin(sides)
        with held(sides.center, "intake"):  # accepted by the broker, and not yet read
            packets += lie_in_up(sides, 2)
            wipe_link(sides)
        everything_is_back(sides, packets)
        until(lambda: pushed(sides.region)["requeued"] > 0, what="word of what was sent again")

        with ExitStack() as region_held:  # the answers this time
            with held(sides.center, "deliver"):
                packets += enqueue(sides, ROUND, biometrics=2, seed=3)
                until(lambda: sides.counts()["validated"] == len(packets), what="validation")
                region_held.enter_context(held(sides.region, "region"))
            until(lambda: entries(sides, "down") > 0, what="a frame in `down`")
            wipe_link(sides)
        everything_is_back(sides, packets)


@pytest.mark.timeout(110)
def test_a_link_broker_that_is_killed_and_has_lost_its_disk_loses_no_packet(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = begin(sides)
        with held(sides.center, "intake"):
            packets += lie_in_up(sides, 2)
            killed = kill_child(sides.center, LINK_VALKEY)
            shutil.rmtree(sides.center.run / LINK_VALKEY / "appendonlydir")
            until(lambda: child_pid(sides.center, LINK_VALKEY) not in (None, killed), what="a new broker")
        everything_is_back(sides, packets)
        until(lambda: pushed(sides.region)["requeued"] > 0, what="word of what was sent again")
        assert (sides.center.run / LINK_VALKEY / "appendonlydir").is_dir()


@pytest.mark.timeout(110)
def test_nudge_brokers_that_are_wiped_or_killed_on_either_side_lose_no_packet(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = begin(sides)
        with held(sides.center, "validate"), held(sides.center, "deliver"), held(sides.region, "region"):
            packets += enqueue(sides, ROUND, biometrics=2, seed=2)
            for side in (sides.center, sides.region):
                wipe_nudges(side)
        packets += enqueue(sides, ROUND, seed=3)
        everything_is_back(sides, packets)

        packets += enqueue(sides, ROUND, biometrics=2, seed=4)
        for side in (sides.center, sides.region):
            kill_child(side, "valkey")
        packets += enqueue(sides, ROUND, seed=5)
        everything_is_back(sides, packets)
