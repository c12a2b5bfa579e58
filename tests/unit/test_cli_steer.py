"""`titian cap off` where there is no such cap: it names those that there are, and what ends each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli_rig import Sides, Titian, make_sides


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


def test_a_cap_of_all_that_is_not_there_names_the_caps_of_lanes_and_what_ends_them(
    titian: Titian, sides: Sides
) -> None:
    titian.ok("cap", "64k", "biometric", "--hours", "07:00-16:00", "--data", sides.region)
    titian.ok("cap", "closed", "record", "--data", sides.region)
    said = titian("cap", "off", "--data", sides.region)
    assert (said.code, said.out) == (1, "")
    assert "there is no cap of each lane together; there is: " in said.err
    assert "lane biometric 64,000 bit/s 07:00-16:00 (`titian cap off biometric` ends it)" in said.err
    assert "lane record closed (`titian cap off record` ends it)" in said.err
    for lane in ("biometric", "record"):
        titian.ok("cap", "off", lane, "--data", sides.region)
    assert "nor any other" in titian("cap", "off", "--data", sides.region).err


def test_a_cap_of_a_lane_that_is_not_there_names_the_cap_of_each_lane(titian: Titian, sides: Sides) -> None:
    titian.ok("cap", "1M", "--data", sides.region)
    said = titian("cap", "off", "record", "--data", sides.region)
    assert said.code == 1
    assert "there is no cap of lane record alone" in said.err
    assert "each lane 1,000,000 bit/s (`titian cap off` ends it)" in said.err
    titian.ok("cap", "off", "--data", sides.region)
