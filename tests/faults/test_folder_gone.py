"""The folder of a region is deleted, or replaced by another, while programs have it open."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.adapters.outbox_layout import FILE_NAME, HIGH_WATER_NAME
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.outbox_sqlite import OutboxSettings, create_outbox
from pipeline.errors import NotFound, StoreError
from pipeline.region import Producer, open_outbox
from pipeline.sample import sample_lines
from tests.sides_rig import enqueue as enqueue_lines
from tests.sides_rig import everything_is_back, two_sides, until

SMALL_DISK = OutboxSettings(low_water_bytes=0, ballast_bytes=0)
GONE = "deleted or replaced while it was in use"


@pytest.fixture
def producer(tmp_path: Path) -> Producer:
    create_outbox(tmp_path / "region", "1806")
    return open_outbox(tmp_path / "region", settings=SMALL_DISK)


def enqueue(producer: Producer, n: int = 1) -> None:
    for line in sample_lines(n):
        producer.enqueue(line)


def replaced(folder: Path) -> None:
    """Another copy of the folder comes in its place, as when a backup is restored under a running side."""
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def without_log(folder: Path) -> None:
    (folder / f"{FILE_NAME}-wal").unlink()


def without_database(folder: Path) -> None:
    (folder / FILE_NAME).unlink()


def without_high_water(folder: Path) -> None:
    (folder / HIGH_WATER_NAME).unlink()


FAULTS = (shutil.rmtree, replaced, without_log, without_database, without_high_water)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_an_enqueue_into_a_folder_that_is_gone_says_so(
    producer: Producer, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    enqueue(producer, 3)
    fault(tmp_path / "region")
    with pytest.raises(StoreError, match=GONE):
        enqueue(producer)
    producer.close()


def test_a_producer_that_runs_while_the_folder_is_deleted_hears_it_with_the_next_packet(
    producer: Producer, tmp_path: Path
) -> None:
    taken: list[bool] = []  # whether the folder was gone already when an enqueue that came to its end began
    gone, going = threading.Event(), threading.Event()
    said: list[StoreError] = []

    def produce() -> None:
        try:
            for line in sample_lines(5_000):
                before = gone.is_set()
                producer.enqueue(line)
                taken.append(before)
                if len(taken) == 20:
                    going.set()
        except StoreError as why:
            said.append(why)
        producer.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert going.wait(30)
    shutil.rmtree(tmp_path / "region")
    gone.set()
    thread.join(30)
    assert not thread.is_alive()
    assert not any(taken)
    assert "nothing that was enqueued since is safe" in str(said[0]) or GONE in str(said[0])
    with pytest.raises(NotFound, match="titian init region"):
        open_outbox(tmp_path / "region", settings=SMALL_DISK)


def test_whoever_only_looks_is_told_too(producer: Producer, tmp_path: Path) -> None:
    enqueue(producer)
    reader = OutboxReader(tmp_path / "region")
    reader.counts()
    shutil.rmtree(tmp_path / "region")
    with pytest.raises(StoreError, match=GONE):
        reader.counts()
    producer.close()


def test_after_a_folder_was_replaced_the_next_enqueue_goes_into_the_one_that_is_there(
    producer: Producer, tmp_path: Path
) -> None:
    enqueue(producer, 2)
    replaced(tmp_path / "region")
    with pytest.raises(StoreError, match=GONE):
        enqueue(producer)
    enqueue(producer)
    producer.close()
    with open_outbox(tmp_path / "region", settings=SMALL_DISK) as again:
        assert again.store.highest_seq() == 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize("side", ["region", "center"])
def test_a_side_whose_folder_is_deleted_under_it_stops_and_says_what_to_do(tmp_path: Path, side: str) -> None:
    with two_sides(tmp_path) as sides:
        everything_is_back(sides, enqueue_lines(sides, 5))
        up, folder = (sides.region_up, sides.region) if side == "region" else (sides.center_up, sides.center)
        log = (folder.logs / "up.log").open("rb")  # still to be read when its name is gone
        process = up.process
        assert process is not None
        shutil.rmtree(folder.path)
        until(lambda: process.poll() is not None, 30.0, "the end of a side without a folder")
        up.process = None
        said = log.read().decode()
        log.close()
        assert process.returncode == 70
        assert "was deleted or replaced while this side ran on it" in said
        assert "--rebuild" in said
        assert not folder.path.exists()
