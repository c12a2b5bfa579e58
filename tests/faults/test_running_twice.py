"""Who starts late, and who starts twice: an absent center, a second `titian up`, a join file used again."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.adapters.folder import open_folder
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from tests.faults.faults_rig import alarms, depth, report, titian, warned
from tests.sides_rig import child_pid, enqueue, everything_is_back, two_sides, until
from workers.both_sides import Up
from workers.making import make_region

ABSENT_S = [12.0, pytest.param(60.0, marks=pytest.mark.nightly)]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("absent_s", ABSENT_S)
def test_a_center_that_is_absent_at_first_is_found_when_it_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], absent_s: float
) -> None:
    with two_sides(tmp_path, started=False) as sides:
        sides.region_up.start()
        began_s = time.monotonic()
        packets = enqueue(sides, 40, biometrics=1)
        until(lambda: depth(sides.region)["link"]["state"] == "down", what="a link that is down")
        until(lambda: time.monotonic() - began_s >= absent_s, absent_s + 5, "the time of absence")
        packets += enqueue(sides, 10, seed=2)
        assert depth(sides.region)["waiting"] == len(packets) == 50

        sides.center_up.start()
        started_s = time.monotonic()
        until(lambda: child_pid(sides.center, "deliver"), what="the center's start")
        ran_s = time.monotonic() - started_s
        until(lambda: sides.counts()["received"] > 0, what="the first packet")
        first_s = time.monotonic() - started_s
        report(
            capsys,
            f"absent for {absent_s:.0f} s: the first packet {first_s:.1f} s after `titian up` at the center "
            f"(its processes stood after {ran_s:.1f} s)",
        )
        everything_is_back(sides, packets)


@pytest.mark.timeout(100)
def test_a_second_up_on_the_same_folder_says_so_and_disturbs_nothing(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 30)
        for side, role in ((sides.center, "intake"), (sides.region, "region")):
            until(partial(child_pid, side, role), what="a worker")
            first = titian("status", "--data", side.path, "--json").json
            second = titian("up", "--data", side.path)
            assert (second.code, second.out) == (4, ""), second
            assert second.err.count("\n") == 1
            assert "already running" in second.err
            assert f"pid {first['pid']}" in second.err
            assert "titian stop" in second.err
            assert titian("status", "--data", side.path, "--json").json == first
        everything_is_back(sides, packets)


@pytest.mark.timeout(110)
def test_a_join_file_used_by_a_second_machine_serves_the_first_only(tmp_path: Path) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)
        second = open_folder(make_region(tmp_path / "second", sides.join).path)
        with open_outbox(second.path) as outbox:
            for line in sample_lines(7, seed=9):
                outbox.enqueue(line)
        up = Up(second)
        up.start()
        try:
            said = warned(second, "refused")
            assert "another machine joined with this join file" in said
            assert "titian admit CODE --again" in said
            found = depth(second)
            assert (found["waiting"], found["lanes"]["record"]["not_sent"]) == (7, 7)
            assert found["link"]["waits"] == "refused"
            packets += enqueue(sides, 20, seed=2)
            everything_is_back(sides, packets)
            assert depth(second)["waiting"] == 7
            assert alarms(sides.region) == {}
        finally:
            assert up.stop() == 0
