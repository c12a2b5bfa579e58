"""A clock that is hours off, or is set while packets travel: they arrive once, and `depth` says so."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.inspection.alarm import sentence
from pipeline.sample import write_sample
from tests.faults import wrong_clock
from tests.faults.faults_rig import held, recorded, titian
from tests.faults.wrong_clock import set_clock
from tests.sides_rig import enqueue, everything_is_back, two_sides, until, wipe_nudges
from tests.stand_in import make_python
from workers.both_sides import BothSides
from workers.wiring import nudge_server

HOUR_S = 3_600.0


def enqueue_there(sides: BothSides, place: Path, python: Path, seed: int) -> None:
    """Fifty packets, enqueued by the command line under the region's clock."""
    lines = place / f"{seed}.ndjson"
    with lines.open("w", encoding="utf-8") as out:
        write_sample(50, out, seed=seed, biometrics=2)
    said = titian("enqueue", "--data", sides.region.path, lines, python=python)
    assert said.code == 0, said


def depth_says(sides: BothSides, python: Path) -> str:
    """What `titian depth` at the region, under its own clock, says of that clock (empty: nothing)."""
    said = titian("depth", "--data", sides.region.path, "--json", python=python)
    assert said.code == 0, said
    return next((sentence(one) for one in said.json["alarms"] if one["code"] == "clock_off"), "")


@pytest.mark.timeout(110)
def test_a_clock_hours_off_or_set_in_mid_transfer_changes_nothing_but_what_depth_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = tmp_path / "offset"
    set_clock(offset, -5 * HOUR_S)
    python = make_python(tmp_path, wrong_clock.__file__, offset)
    with two_sides(tmp_path, started=False) as sides:
        sides.center_up.start()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(python))
            sides.region_up.start()

        enqueue_there(sides, tmp_path, python, 1)
        everything_is_back(sides, recorded(sides))
        until(lambda: "300 min behind" in depth_says(sides, python), what="word of the clock")

        enqueue_there(sides, tmp_path, python, 2)  # it is on its way while the clock is set
        set_clock(offset, 7 * HOUR_S)
        enqueue_there(sides, tmp_path, python, 3)
        everything_is_back(sides, recorded(sides))
        until(lambda: "420 min ahead" in depth_says(sides, python), what="word of the clock")

        enqueue_there(sides, tmp_path, python, 4)
        set_clock(offset, 0.0)  # backwards, to what is right
        enqueue_there(sides, tmp_path, python, 5)
        everything_is_back(sides, recorded(sides))
        until(lambda: depth_says(sides, python) == "", what="the end of the alarm")
        assert len(recorded(sides)) == 250


def nudges_for_validate(sides: BothSides) -> int:
    """How many lie in its queue."""
    with closing(nudge_server(sides.center).client()) as client:
        return int(client.llen("titian.validate"))


@pytest.mark.timeout(110)
def test_a_center_whose_clock_is_set_back_still_looks_for_work_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = tmp_path / "offset"
    set_clock(offset, 7 * HOUR_S)
    with two_sides(tmp_path, started=False) as sides:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(make_python(tmp_path, wrong_clock.__file__, offset)))
            sides.center_up.start()
        sides.region_up.start()
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)

        with held(sides.center, "validate"):  # who would take its nudges away
            set_clock(offset, 0.0)
            wipe_nudges(sides.center)
            until(lambda: nudges_for_validate(sides) > 0, deadline_s=20.0, what="a nudge from beat")
        packets += enqueue(sides, 20, seed=2)
        everything_is_back(sides, packets)
