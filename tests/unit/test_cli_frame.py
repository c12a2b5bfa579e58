"""What holds for every command: exit codes, one line of error, `--json` alone on stdout, the folder, help."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import AlreadyRunning, TitianError, Unreachable
from tests.unit.cli_rig import Sides, Titian, make_sides
from workers.cli import app

READING = [
    ("depth",),
    ("records",),
    ("records", "--count"),
    ("dead", "list"),
    ("doctor",),
]


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Titian:
    monkeypatch.delenv("TITIAN_DATA", raising=False)
    monkeypatch.delenv("TITIAN_DEBUG", raising=False)
    monkeypatch.setattr("pipeline.adapters.folder.DEFAULT_FOLDER", tmp_path / "no default")
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(titian: Titian, tmp_path: Path) -> Sides:
    return make_sides(titian, tmp_path)


def all_commands() -> list[tuple[str, ...]]:
    own: list[tuple[str, ...]] = [
        (str(one.name or getattr(one.callback, "__name__", "")),) for one in app.registered_commands
    ]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        name = str(group.typer_instance.info.name)
        own += [(name, str(one.name)) for one in group.typer_instance.registered_commands]
    return own


def raise_in_depth(monkeypatch: pytest.MonkeyPatch, why: BaseException) -> None:
    def fail(*_: object) -> None:
        raise why

    monkeypatch.setattr("workers.looking.look", fail)


@pytest.mark.parametrize("command", READING, ids=" ".join)
@pytest.mark.parametrize("side", ["center", "region"])
def test_json_is_one_document_and_nothing_else(
    titian: Titian, sides: Sides, command: tuple[str, ...], side: str
) -> None:
    said = titian(*command, "--data", getattr(sides, side), "--json")
    assert said.code == 0
    assert said.json["version"] == 1
    assert said.json["side"] == side
    assert said.err == ""


def test_without_a_folder_it_says_where_it_looked(
    titian: Titian, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    said = titian("depth", "--json")
    assert said.code == 2
    assert said.out == ""
    assert "--data" in said.err
    assert str(tmp_path) in said.err


def test_a_folder_that_is_no_sides_is_named(titian: Titian, tmp_path: Path) -> None:
    said = titian("depth", "--data", tmp_path / "nothing")
    assert said.code == 2
    assert "nothing is no side's folder" in said.err


def test_the_folder_that_was_found_is_said_and_a_named_one_is_not(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sides.region / "deep").mkdir()
    monkeypatch.chdir(sides.region / "deep")
    found = titian.ok("depth", "--json")
    assert f"using {sides.region}" in found.err
    assert found.json["side"] == "region"
    monkeypatch.setenv("TITIAN_DATA", str(sides.center))
    assert titian.ok("depth", "--json").err == ""
    assert titian.ok("depth", "--json").json["side"] == "center"
    assert titian.ok("depth", "--json", "--data", sides.region).json["side"] == "region"


@pytest.mark.parametrize(
    ("why", "code"),
    [
        (Unreachable("it does not answer"), 3),
        (AlreadyRunning("already running"), 4),
        (TitianError("nobody planned this"), 70),
        (ZeroDivisionError("division by zero"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch, why: BaseException, code: int
) -> None:
    raise_in_depth(monkeypatch, why)
    said = titian("depth", "--json", "--data", sides.region)
    assert said.code == code
    assert said.out == ""
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 1


@pytest.mark.parametrize("how", ["--debug", "TITIAN_DEBUG"])
def test_the_traceback_comes_only_when_asked_for(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    raise_in_depth(monkeypatch, ZeroDivisionError("division by zero"))
    monkeypatch.setenv("TITIAN_DEBUG", "1" if how == "TITIAN_DEBUG" else "")
    arguments = ["--debug"] if how == "--debug" else []
    said = titian(*arguments, "depth", "--data", sides.region)
    assert said.code == 70
    assert "Traceback" in said.err
    assert "ZeroDivisionError" in said.err


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("depth", "--nonsense"), ("trace",), ("init", "moon"), ()],
    ids=str,
)
def test_a_call_that_is_wrong_ends_with_2_and_shows_how_it_is_right(
    titian: Titian, arguments: tuple[str, ...]
) -> None:
    said = titian(*arguments)
    assert said.code == 2
    assert "Usage: titian" in said.err + said.out


def test_an_unknown_setting_is_named_with_the_nearest_known_one(titian: Titian, sides: Sides) -> None:
    path = sides.region / "titian.toml"
    path.write_text(path.read_text().replace('# level = "info"', 'levle = "info"'))
    said = titian("depth", "--data", sides.region)
    assert said.code == 2
    assert "'level'" in said.err


def test_the_settings_that_init_writes_as_comments_are_the_defaults(titian: Titian, sides: Sides) -> None:
    from pipeline.settings import read_settings

    for folder in (sides.center, sides.region):
        path = folder / "titian.toml"
        before = read_settings(path)
        lines = path.read_text().splitlines()
        shown = [line.removeprefix("# ") if " = " in line and line[0] == "#" else line for line in lines]
        path.write_text("\n".join(line.partition("      #")[0] for line in shown))
        assert read_settings(path) == before
        assert titian.ok("depth", "--data", folder).code == 0


@pytest.mark.parametrize("command", [(), *all_commands()], ids=lambda command: " ".join(command) or "titian")
def test_every_help_has_an_example(titian: Titian, command: tuple[str, ...]) -> None:
    said = titian.ok(*command, "--help")
    assert f"  titian {' '.join(command)}".rstrip() in said.out.partition("Options:")[0].split("\n\n", 1)[1]


def test_it_says_its_version(titian: Titian) -> None:
    assert titian.ok("--version").out.startswith("titian 0.")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("titian de", ["demo", "depth", "dead"]),
        ("titian dead list --lane b", ["biometric"]),
        ("titian dead list --lane ", ["urgent", "control", "record", "biometric"]),
        ("titian revoke ", ["1806"]),
        ("titian records --region 19", []),
    ],
)
def test_commands_lanes_and_regions_complete(
    titian: Titian, sides: Sides, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
) -> None:
    monkeypatch.setenv("TITIAN_DATA", str(sides.center))
    monkeypatch.setenv("_TITIAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    said = titian()
    assert said.out.split() == expected


def test_help_is_quick() -> None:
    """0.4 s of CPU is what a shell's user does not notice; it takes about 0.06."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "workers.cli", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.4


@pytest.mark.parametrize("lines", ["1", "2000"])
def test_a_reader_that_has_had_enough_is_no_defect(lines: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "sample", "-n", lines, "--out", "-"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""
