"""A join file that is not the right one: what is wrong is said in words, and no packet is lost over it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.adapters.folder import Folder, open_folder
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from tests.faults.faults_rig import check, depth, titian, warned
from tests.sides_rig import enqueue, everything_is_back, two_sides, until
from workers.both_sides import BothSides, Up
from workers.making import admit_region, make_center, make_region


def dialled(sides: BothSides) -> str:
    """What regions dial: the slow end of the link."""
    assert sides.relay is not None
    return str(sides.relay.address)


def started(stack: ExitStack, folder: Folder) -> Up:
    """This side runs until the stack ends, with five packets in its outbox."""
    with open_outbox(folder.path) as outbox:
        for line in sample_lines(5, seed=7):
            outbox.enqueue(line)
    up = Up(folder)
    up.start()
    stack.callback(up.stop)
    return up


def others_file(sides: BothSides, place: Path) -> Path:
    """A join file of another center that had the same address."""
    other = make_center(place / "other", str(sides.center.settings.link.listen), "")
    admit_region(other, "1806", place / "other.join", again=False, address=dialled(sides))
    return place / "other.join"


@pytest.mark.parametrize("damage", ["cut", "empty", "no JSON", "another file"])
def test_a_damaged_join_file_makes_nothing_and_says_what_to_do(tmp_path: Path, damage: str) -> None:
    center = make_center(tmp_path / "center", "127.0.0.1:1", "")
    join = tmp_path / "1806.join"
    admit_region(center, "1806", join, again=False, address="")
    whole = join.read_bytes()
    texts = {"cut": whole[:-40], "empty": b"", "no JSON": b"\xff\xd8\xff", "another file": b'{"version": 1}'}
    join.write_bytes(texts[damage])
    said = titian("init", "region", "--join", join, "--data", tmp_path / "region")
    assert (said.code, said.out) == (2, ""), said
    assert said.err.count("\n") == 1
    assert f"{join} is not a join file" in said.err
    assert not (tmp_path / "region").exists()
    join.write_bytes(whole)  # the right one, in the same place
    assert titian("init", "region", "--join", join, "--data", tmp_path / "region").code == 0


@pytest.mark.timeout(110)
def test_a_join_file_of_another_center_or_region_is_refused_in_words(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides, ExitStack() as stack:
        packets = enqueue(sides, 20)
        foreign = open_folder(make_region(tmp_path / "foreign", others_file(sides, tmp_path)).path)
        started(stack, foreign)
        mixed = open_folder(make_region(tmp_path / "mixed", sides.join).path)
        admit_region(sides.center, "1801", tmp_path / "1801.join", again=False, address=dialled(sides))
        shutil.copy(tmp_path / "1801.join", mixed.path / "center.json")

        said = titian("up", "--data", mixed.path)
        assert (said.code, said.out) == (2, ""), said
        assert said.err.count("\n") == 1
        assert "the join file of region 1801, and this folder is that of region 1806" in said.err
        assert "region 1801" in check(mixed, "link")["said"]

        assert "refuses us" in warned(foreign, "denied")
        found = depth(foreign)
        assert (found["waiting"], found["lanes"]["record"]["not_sent"]) == (5, 5)
        assert found["link"]["state"] == "down"
        link = check(foreign, "link")
        assert link["level"] == "fail"
        assert "titian admit" in link["do"]
        everything_is_back(sides, packets)  # and nobody else's packets came


@pytest.mark.timeout(110)
def test_a_join_file_that_was_replaced_by_admit_again_is_denied_until_the_new_one_is_there(
    tmp_path: Path,
) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)
        again = tmp_path / "again.join"
        arguments = ("--again", "--data", sides.center.path, "--out", again, "--address", dialled(sides))
        said = titian("admit", "1806", *arguments)
        assert said.code == 0, said
        assert "the old machine can no longer sign in" in said.err
        packets += enqueue(sides, 20, biometrics=1, seed=2)
        said_now = warned(sides.region, "denied")
        assert "refuses us" in said_now
        assert "titian admit CODE --again" in said_now
        assert "DATA/center.json" in said_now
        assert "titian admit" in check(sides.region, "link")["do"]
        assert depth(sides.region)["waiting"] == 20

        assert sides.region_up.stop() == 0
        shutil.copy(again, sides.region.path / "center.json")
        sides.region_up.start()
        everything_is_back(sides, packets)
        until(lambda: not depth(sides.region)["alarms"], what="the end of the alarm")
