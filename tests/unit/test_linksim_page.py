"""The link simulator's page: its examples are read as they stand, and it names what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

from pipeline.linksim import PROFILES, Script, parse_profile, parse_script, parse_script_toml
from pipeline.linksim.script import Action
from pipeline.linksim.stats import Happening

PAGE = (Path(__file__).resolve().parents[2] / "docs/linksim.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def named_in_first_column(text: str) -> set[str]:
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}


def test_the_script_reads_the_same_as_text_and_as_toml() -> None:
    text, toml = re.findall(r"```(?:toml)?\n(.*?)```", section("Scripts"), re.DOTALL)[:2]
    assert parse_script(text) == parse_script_toml(toml)
    assert parse_script(text).repeat_s == 120


def test_the_commands_examples_can_be_read() -> None:
    (block,) = re.findall(r"```\n(.*?)```", section("As a command"), re.DOTALL)
    lines = [shlex.split(line) for line in block.splitlines()]
    assert all(line[:2] == ["titian", "linksim"] for line in lines)
    profiles = [line[line.index("--profile") + 1] for line in lines if "--profile" in line]
    scripts = [line[line.index("--script") + 1] for line in lines if "--script" in line]
    assert [parse_profile(name) for name in profiles] == [PROFILES["flaky-4g"]]
    assert [parse_script(text) != Script(()) for text in scripts] == [True]


def test_every_profile_action_and_event_is_on_the_page() -> None:
    profiles = re.findall(r"^\| `([\w-]+)` \| [\d.]+ ", PAGE, re.MULTILINE)
    assert set(profiles) == set(PROFILES)
    assert named_in_first_column(section("Scripts")) == set(get_args(Action))
    events = named_in_first_column(section("As a command")) - {"what"}
    assert events == {*get_args(Happening), "start", "stop", "figures"}
