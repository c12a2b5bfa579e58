"""The disk of an office is gone: its registry comes back while it works, under kills and wiped queues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder import Folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.registry_reader import RegistryReader
from tests.faults.faults_rig import depth, titian
from tests.sides_rig import enqueue, everything_is_back, kill_child, two_sides, until, wipe_link
from workers.both_sides import BothSides
from workers.looking import ledger_place


def lose_the_disk(sides: BothSides, place: Path, *more: str) -> BothSides:
    """`kill -9` and the folder gone; the office begins anew on an empty machine, as the manual says."""
    sides.region_up.kill()
    shutil.rmtree(sides.region.path)
    join = place / "again.join"
    address = str(sides.relay.address) if sides.relay else sides.center.settings.link.listen
    again = titian(
        "admit", "1806", "--again", "--data", sides.center.path, "--out", join, "--address", address
    )
    assert again.code == 0, again.err
    made = titian("init", "region", "--join", join, "--data", sides.region.path, "--rebuild", *more)
    assert made.code == 0, made.err
    sides.region_up.start()
    return sides


def rebuild(folder: Folder) -> dict[str, Any]:
    """What `titian depth` says of the rebuild."""
    found: dict[str, Any] = depth(folder)["rebuild"]
    return found


def is_rebuilt(folder: Folder) -> bool:
    return bool(rebuild(folder)["state"] == "done")


def records_of(sides: BothSides) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    """The records of the region, and those that the center has of it."""
    registry, ledger = RegistryReader(sides.region.path), LedgerReader.open(ledger_place(sides.center))
    here = {(one.nik, one.version, one.status, one.epoch, one.seq) for one in registry.records(100_000)}
    there = {
        (one.nik, one.version, one.status, one.source.epoch, one.source.seq)
        for one in ledger.records(region="1806", limit=100_000)
    }
    registry.close()
    ledger.close()
    return here, there


@pytest.mark.timeout(200)
def test_the_registry_comes_back_while_the_office_works_and_things_die(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        before = enqueue(sides, 600, biometrics=3)
        everything_is_back(sides, before)
        lose_the_disk(sides, tmp_path)
        packets = enqueue(sides, 40, seed=2)
        for side, role in ((sides.center, "deliver"), (sides.region, "region")):
            kill_child(side, role)
        wipe_link(sides)
        kill_child(sides.center, "link-valkey")
        until(lambda: is_rebuilt(sides.region), 90.0, "the registry to be rebuilt")
        until(lambda: sides.counts()["returned"] >= len(packets), 60.0, "the new packets' return")
        assert sides.verdict([*packets]) == {"lost": 0, "duplicated": len(before)}  # those are no copies
        here, there = records_of(sides)
        assert here == there
        assert len(here) > 500
        said = titian("reconcile", "--data", sides.region.path, "--json")
        assert said.code == 0, said.err
        assert json.loads(said.out)["equal"] is True


@pytest.mark.timeout(200)
def test_the_loss_list_names_exactly_what_the_disk_took_with_it(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        everything_is_back(sides, enqueue(sides, 30))
        paused = titian("pause", "biometric", "--data", sides.region.path, "--reason", "a test")
        assert paused.code == 0, paused.err
        lost = enqueue(sides, 8, biometrics=8, seed=2)
        until(lambda: depth(sides.center)["announced"] >= len(lost), 60.0, "the packets to be announced")
        lose_the_disk(sides, tmp_path)
        until(lambda: is_rebuilt(sides.region), 90.0, "the registry to be rebuilt")
        for side in (sides.region.path, sides.center.path):
            said = titian("losses", "--data", side, "--json")
            assert said.code == 0, said.err
            assert {one["id"] for one in json.loads(said.out)["losses"]} == {str(one) for one in lost}
