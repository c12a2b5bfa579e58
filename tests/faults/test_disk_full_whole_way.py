"""A disk without room at either side while packets are on their way: said in words, and with room it all
arrives."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DiskFull
from pipeline.testing.world import World

SMALL, ROOMY = b"size=1500k", b"size=200m"
FIRST, PACKETS = 10, 300
_REMOUNT, _DETACH = 32, 2

_libc = ctypes.CDLL(None, use_errno=True)


class SmallDisk:
    """A real disk of 1.5 MB (needs root), which can be given room."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, SMALL) != 0:
            pytest.skip("a small disk cannot be mounted here")

    def give_room(self) -> None:
        """Somebody has cleaned up."""
        assert _libc.mount(b"tmpfs", os.fsencode(self.folder), b"tmpfs", _REMOUNT, ROOMY) == 0


@pytest.fixture
def center_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The ledger lies on it, and the region's folder elsewhere."""
    disk = SmallDisk(tmp_path / "world")
    (tmp_path / "region").mkdir()
    (disk.folder / "region").symlink_to(tmp_path / "region")
    yield disk
    _libc.umount2(os.fsencode(disk.folder), _DETACH)


@pytest.fixture
def region_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The region's folder lies on it, and the ledger elsewhere."""
    disk = SmallDisk(tmp_path / "world" / "region")
    yield disk
    _libc.umount2(os.fsencode(disk.folder), _DETACH)


def packet(n: int) -> dict[str, Any]:
    """About 2 kB that do not shrink."""
    said = random.Random(n).randbytes(1_000).hex()
    return {
        "kind": "enrolment",
        "payload": {"nik": str(1806061505900001 + n), "nama": f"WARGA {n}", "alamat": said},
    }


def rounds(world: World, count: int) -> int:
    """Every step of both sides; returns how many said that a disk is full. Nothing else may go wrong."""
    full = 0
    for _ in range(count):
        for step in (
            world.step_push, world.step_intake, world.step_validate, world.step_deliver, world.step_pull,
        ):  # fmt: skip
            try:
                step()
            except DiskFull:
                full += 1
        world.clock.advance(2.0)
    return full


def test_a_center_without_room_loses_nothing_and_goes_on(tmp_path: Path, center_disk: SmallDisk) -> None:
    world = World(tmp_path / "world")
    for n in range(FIRST):
        world.enqueue(packet(n))
    world.arrive(50)
    for n in range(FIRST, PACKETS):
        world.enqueue(packet(n))
    assert rounds(world, 20) > 0, "its disk never was full"
    assert FIRST <= world.ledger.reader.counts(world.region).received < PACKETS
    center_disk.give_room()
    assert world.arrive(100) < 100
    world.check()
    world.close()


def test_a_region_without_room_keeps_what_it_has_and_goes_on(tmp_path: Path, region_disk: SmallDisk) -> None:
    world = World(tmp_path / "world")
    with suppress(DiskFull):
        for n in range(PACKETS):
            world.enqueue(packet(n))
    assert 0 < len(world.enqueued) < PACKETS
    assert rounds(world, 20) > 0, "its disk never was full"
    region_disk.give_room()
    world.enqueue(packet(PACKETS))
    assert world.arrive(100) < 100
    world.check()
    world.close()
