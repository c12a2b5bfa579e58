"""What people do: written down first, done after it, and said where it failed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.adapters import steering_file
from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.folder import Folder, open_folder
from pipeline.adapters.steering_file import read_steering
from pipeline.errors import NotFound, UsageError, WrongSide
from schemas.lanes import Lane
from tests.unit.cli_rig import Sides, Titian, make_sides
from workers import acts
from workers.acts import COMMAND_LINE, CONSOLE, Actor, pause, recorded, resume, set_cap

MADE = Actor("made", COMMAND_LINE)
WAYAN = Actor("wayan", CONSOLE)


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


@pytest.fixture
def region(sides: Sides) -> Folder:
    return open_folder(sides.region)


def entries(folder: Folder) -> list[tuple[str, str, str, str]]:
    found = reversed(AuditFile(folder.path).read(100))
    return [(one["who"], one["what"], one["target"], one["reason"]) for one in found]


def test_each_act_of_steering_leaves_its_line(region: Folder) -> None:
    pause(region, Lane.BIOMETRIC, MADE, "office hours")
    set_cap(region, None, 8_000, 420, 960, WAYAN, "")
    resume(region, None, WAYAN, "done")
    set_cap(region, None, None, 0, 0, MADE, "")
    assert entries(region) == [
        ("made", "pause", "biometric", "office hours"),
        ("wayan", "cap", "every lane", ""),
        ("wayan", "resume", "every lane", "done"),
        ("made", "cap", "every lane", ""),
    ]
    ends, _, capped, _ = AuditFile(region.path).read(9)
    assert capped["detail"] == {"bytes_s": 8_000, "hours": "07:00-16:00"}
    assert ends["detail"] == {"off": True}
    assert read_steering(region.path) == steering_file.Steering()


def test_what_cannot_be_done_leaves_no_line(region: Folder) -> None:
    with pytest.raises(NotFound, match="nothing was paused"):
        resume(region, None, MADE, "")
    with pytest.raises(NotFound, match="no cap"):
        set_cap(region, None, None, 0, 0, MADE, "")
    assert entries(region) == []


def test_what_cannot_be_written_down_is_not_done(region: Folder) -> None:
    with pytest.raises(UsageError, match="no NIK"):
        pause(region, None, MADE, "for 1806015201900001")
    assert read_steering(region.path).pauses == ()


def test_an_act_that_fails_after_its_line_is_followed_by_one_that_says_so(
    region: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path, steering: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(steering_file, "write_steering", broken)
    with pytest.raises(OSError, match="Input/output"):
        pause(region, None, MADE, "")
    failed, intended = AuditFile(region.path).read(9)
    assert failed["detail"]["of"] == intended["n"] == 1
    assert "Input/output" in failed["detail"]["failed"]
    with pytest.raises(ValueError), recorded(region, MADE, "hold", "1806", "", window_bytes=1):
        raise ValueError("no such region")
    failed, intended = AuditFile(region.path).read(2)
    assert (intended["detail"], failed["detail"]) == (
        {"window_bytes": 1},
        {"of": 3, "failed": "ValueError: no such region"},
    )


def test_an_act_that_went_well_is_one_line_unless_there_is_more_to_say(region: Folder) -> None:
    with recorded(region, MADE, "hold", "1806"):
        pass
    with recorded(region, Actor("Bu Ketut", COMMAND_LINE, "made"), "retry", "all") as act:
        act.told["done"] = 7
    details = [one["detail"] for one in reversed(AuditFile(region.path).read(9))]
    assert details == [{}, {"login": "made"}, {"login": "made", "of": 2, "done": 7}]


def test_of_two_who_steer_at_once_neither_undoes_the_other(region: Folder) -> None:
    lanes = list(Lane)
    at_once = threading.Barrier(len(lanes))

    def one(lane: Lane) -> None:
        at_once.wait()
        pause(region, lane, MADE, "")

    threads = [threading.Thread(target=one, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {one.lane for one in read_steering(region.path).pauses} == set(lanes)


def test_lanes_are_steered_at_the_region(sides: Sides) -> None:
    with pytest.raises(WrongSide):
        pause(open_folder(sides.center), None, MADE, "")


def test_who_gives_another_name_is_known_by_the_login_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts.getpass, "getuser", lambda: "made")
    assert Actor.at_the_machine() == Actor("made", COMMAND_LINE)
    assert Actor.at_the_machine("made") == Actor("made", COMMAND_LINE)
    assert Actor.at_the_machine("Bu Ketut") == Actor("Bu Ketut", COMMAND_LINE, "made")


def test_the_command_line_steers_through_the_same_acts(titian: Titian, sides: Sides) -> None:
    titian.ok("pause", "biometric", "--reason", "office hours", "--who", "Pak Made", "--data", sides.region)
    titian.ok("resume", "--reason", "they went home", "--data", sides.region)
    (_, _, _, why), (who, *rest) = reversed(entries(open_folder(sides.region)))
    assert (who, rest, why) == ("Pak Made", ["pause", "biometric", "office hours"], "they went home")
