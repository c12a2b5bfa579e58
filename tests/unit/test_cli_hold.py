"""A person at the center holds a region: the commands, what they write down, and what `depth` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.folder import open_folder
from pipeline.errors import NotFound, UsageError, WrongSide
from tests.unit.cli_rig import REGION, Said, Sides, Titian, make_sides
from workers import acts_center
from workers.acts import CONSOLE, Actor, Done

ANA = Actor("ana", CONSOLE)


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


def hold(titian: Titian, sides: Sides, *args: object) -> Said:
    return titian("hold", REGION, *args, "--data", sides.center)


def acts(sides: Sides) -> list[tuple[str, str, str, str, str]]:
    """(who, via, what, target, reason) of each act at the center, newest first."""
    names = ("who", "via", "what", "target", "reason")
    rows = AuditFile(sides.center).read(10)
    return [tuple(row[name] for name in names) for row in rows]  # type: ignore[misc]


def held(titian: Titian, sides: Sides) -> dict[str, object] | None:
    """What the document of depth says of the region."""
    (one,) = titian.ok("depth", "--data", sides.center, "--json").json["regions"]
    found: dict[str, object] | None = one["held"]
    return found


def test_a_region_is_held_with_who_and_why_until_it_is_released(titian: Titian, sides: Sides) -> None:
    said = hold(titian, sides, "--reason", "the night's backup", "--who", "ana", "--json")
    assert said.code == 0, said
    now = said.json["held"]
    assert (now["window_bytes"], now["hold_s"], now["until_ms"]) == (None, None, None)
    assert (now["reason"], now["who"]) == ("the night's backup", "ana")
    assert acts(sides) == [("ana", "command line", "hold", REGION, "the night's backup")]
    assert held(titian, sides) == now
    text = titian.ok("depth", "--data", sides.center).out
    assert (
        f"region {REGION} held, but for what is urgent, until it is released: the night's backup (ana)"
        in text
    )
    assert (
        titian.ok("release", REGION, "--data", sides.center).out
        == f"region {REGION}: sends as all others may\n"
    )
    assert held(titian, sides) is None
    assert [row[2] for row in acts(sides)] == ["release", "hold"]


def test_a_window_is_lowered_for_a_time(titian: Titian, sides: Sides) -> None:
    said = hold(titian, sides, "--window", "512K", "--for", "2h", "--reason", "a shared line")
    assert "sends at most 524 kB at a time, until 20" in said.out
    now = held(titian, sides)
    assert now is not None
    assert now["window_bytes"] == 512 * 1024
    assert 7_100 < float(str(now["hold_s"])) <= 7_200
    row = AuditFile(sides.center).read(1)[0]
    assert row["detail"]["window_bytes"] == 512 * 1024
    assert row["detail"]["until_ms"] == now["until_ms"]


def test_a_new_hold_takes_the_place_of_the_one_before(titian: Titian, sides: Sides) -> None:
    hold(titian, sides, "--window", "512K", "--reason", "a shared line")
    hold(titian, sides, "--reason", "the night's backup")
    now = held(titian, sides)
    assert now is not None
    assert (now["window_bytes"], now["reason"]) == (None, "the night's backup")


def test_releasing_what_nobody_holds_is_a_no_and_no_act(titian: Titian, sides: Sides) -> None:
    said = titian("release", REGION, "--data", sides.center)
    assert (said.code, acts(sides)) == (1, [])
    assert "nobody holds region 1806" in said.err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("hold", "3201", "--reason", "x"), 1, "never admitted"),
        (("release", "3201"), 1, "never admitted"),
        (("hold", REGION, "--reason", " "), 2, "say why"),
        (("hold", REGION), 2, "--reason"),
        (("hold", REGION, "--reason", "x" * 301), 2, "at most 300 characters"),
        (("hold", REGION, "--reason", "x", "--who", "y" * 65), 2, "64 of name"),
        (("hold", REGION, "--reason", "x", "--window", "1"), 2, "65,536 to 8,388,608 bytes"),
        (("hold", REGION, "--reason", "x", "--window", "9M"), 2, "65,536 to 8,388,608 bytes"),
        (("hold", REGION, "--reason", "x", "--window", "big"), 2, "is no size"),
        (("hold", REGION, "--reason", "x", "--window", "-1"), 2, "is no size"),
        (("hold", REGION, "--reason", "x", "--for", "soon"), 2, "is no time"),
        (("hold", REGION, "--reason", "x", "--for", "0.1s"), 2, "a second to a year"),
        (("hold", REGION, "--reason", "x", "--for", "400d"), 2, "a second to a year"),
        (("hold", REGION, "--reason", "NIK 1806014107900001"), 2, "keeps no NIK"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_and_not_done(
    titian: Titian, sides: Sides, args: tuple[str, ...], code: int, words: str
) -> None:
    said = titian(*args, "--data", sides.center)
    assert said.code == code, said
    assert words in said.err
    assert (acts(sides), held(titian, sides)) == ([], None)


def test_a_region_that_is_shut_out_is_not_held(titian: Titian, sides: Sides) -> None:
    titian.ok("revoke", REGION, "--data", sides.center)
    assert "is shut out" in hold(titian, sides, "--reason", "x").err


def test_at_a_region_there_is_nobody_to_hold(titian: Titian, sides: Sides) -> None:
    said = titian("hold", REGION, "--reason", "x", "--data", sides.region)
    assert said.code == 2
    with pytest.raises(WrongSide):
        acts_center.release(open_folder(sides.region), REGION, ANA, "")


# --- as the console calls it ------------------------------------------------------------------------


def test_the_console_does_the_same(titian: Titian, sides: Sides) -> None:
    folder = open_folder(sides.center)
    assert acts_center.hold(folder, REGION, None, 60.0, ANA, "a test") == Done(1)
    assert acts(sides) == [("ana", CONSOLE, "hold", REGION, "a test")]
    assert held(titian, sides) is not None
    assert acts_center.release(folder, REGION, ANA, "") == Done(1)
    with pytest.raises(NotFound, match="nobody holds"):
        acts_center.release(folder, REGION, ANA, "")
    with pytest.raises(UsageError):
        acts_center.hold(folder, REGION, None, None, ANA, "")
