"""`depth --watch`: sparklines, a screen that fits any terminal, and Ctrl-C that leaves it as it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.adapters.folder import open_folder
from pipeline.adapters.watch_store import WatchStore
from tests.unit.cli_rig import Sides, Titian, line, make_sides, write_lines
from workers.cli_depth_live import watch_live
from workers.cli_depth_screen import screen, summed
from workers.looking import CenterLook, RegionLook, look
from workers.sparkline import fit, sparkline, timeline

ROW = st.lists(st.none() | st.floats(-1e12, 1e12), max_size=200)


@given(ROW, st.integers(0, 120))
def test_a_sparkline_is_as_wide_as_there_is_room(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) == len(timeline(values, width)) == len(fit(values, width)) == width


def test_a_sparkline_rises_with_its_figures_and_leaves_blank_what_is_not_known() -> None:
    assert sparkline([0, 1, 2, 4, 8], 5) == "▁▂▃▅█"
    assert sparkline([1.0, None, 1.0], 4) == " █ █"
    assert sparkline([0.0, 0.0], 2) == "▁▁"
    assert sparkline([0.0, 0.001, 100.0], 3) == "▁▂█"  # a little is not nothing
    assert sparkline([], 3) == "   "


def test_a_timeline_shows_when_the_link_was_down() -> None:
    assert timeline([1.0, 0.0, 0.5, None], 4) == "█x▒ "


def test_figures_are_summed_by_minute() -> None:
    assert summed([(1.0, None, 3.0), (1.0, None)]) == [2.0, None, 3.0]
    assert summed([]) == []


@pytest.fixture
def sides(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sides:
    titian = Titian(capsys, monkeypatch)
    made = make_sides(titian, tmp_path)
    titian.ok("enqueue", "--data", made.region, write_lines(tmp_path / "p.ndjson", line(1), line(2)))
    return made


def store_of(folder: Path) -> RegionLook | CenterLook:
    return look(open_folder(folder))


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 10), (20, 5), (1, 1), (0, 0)], ids=str)
def test_the_screen_fits_any_terminal(sides: Sides, size: tuple[int, int]) -> None:
    width, height = size
    for folder in (sides.region, sides.center):
        found = store_of(folder).depth()
        shown = screen(found, {}, width, height)
        assert 1 <= len(shown) <= max(1, height)
        assert all(len(one) <= max(1, width) for one in shown)
        assert not any("\n" in one or "\x1b" in one for one in shown)


def test_an_alarm_is_on_a_screen_of_usual_size_and_more_are_counted(sides: Sides) -> None:
    found = store_of(sides.region).depth()
    assert any("this side is not running" in one for one in screen(found, {}, 80, 24))
    many: list[dict[str, Any]] = [dict(found["alarms"][0], text=f"alarm {n}") for n in range(40)]
    shown = screen(found | {"alarms": many}, {}, 80, 24)
    assert "more alarms" in shown[-1]


def test_regions_at_the_center_stand_by_trouble(sides: Sides) -> None:
    found = store_of(sides.center).depth()
    one = found["regions"][0]
    regions = [one | {"region": code, "trouble": trouble} for code, trouble in (("1101", 0), ("1802", 9))]
    text = "\n".join(screen(found | {"regions": regions}, {}, 120, 40))
    assert text.index("1802") < text.index("1101")


def test_ctrl_c_ends_it_and_the_terminal_is_as_it_was(sides: Sides) -> None:
    kept = WatchStore(sides.region)
    kept.sample(store_of(sides.region).depth()["at_ms"], {"waiting.record": 50.0, "link": 1.0})
    kept.close()
    for folder in (sides.region, sides.center):
        out = io.StringIO()
        rounds: list[int] = []

        def pause(rounds: list[int] = rounds) -> None:
            rounds.append(1)
            if len(rounds) == 2:
                raise KeyboardInterrupt

        console = Console(file=out, force_terminal=True, width=80, height=24)
        with pytest.raises(KeyboardInterrupt):
            watch_live(store_of(folder), pause, console)
        text = out.getvalue()
        assert "\x1b[?1049h" in text
        assert text.rindex("\x1b[?1049l") > text.rindex("\x1b[?1049h")
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    assert len(rounds) == 2
