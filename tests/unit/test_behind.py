"""What the center lets a region send: less while it is behind, step by step, and never swinging."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.center.behind import (
    HELD,
    LOOK_S,
    RAISE_S,
    WINDOW_BYTES_MIN,
    Backlog,
    Behind,
    Limits,
    Load,
    Restraint,
    Watch,
    wait_s,
)
from pipeline.inspection.depth_center import center_depth
from pipeline.testing.clock import ManualClock
from tests.unit.ledger_rig import REGION, Rig, packet
from workers.cli_depth_text import depth_text
from workers.restraint import FRESH_S, RestraintFile, read_restraint

MIB = 1024 * 1024
GIB = 1024 * MIB
LIMITS = Limits()


def waits(seconds: float, **rest: Any) -> Load:
    return Load(Backlog(1_000, seconds), **rest)


def step_of(load: Load) -> int:
    return Behind(LIMITS).decide(load, 0.0).step


# --- what is due ------------------------------------------------------------------------------------


def test_a_center_that_is_not_behind_gives_the_whole_window() -> None:
    assert Behind(LIMITS).decide(waits(5.0), 0.0) == Restraint(8 * MIB)


@pytest.mark.parametrize(
    ("seconds", "window_bytes"), [(29, 8 * MIB), (31, 4 * MIB), (46, 2 * MIB), (200, MIB // 4)]
)
def test_the_longer_packets_wait_the_smaller_the_window(seconds: float, window_bytes: int) -> None:
    assert Behind(LIMITS).decide(waits(seconds), 0.0).window_bytes == window_bytes


def test_far_behind_it_asks_to_hold_for_longer_than_a_region_waits_to_ask_again() -> None:
    now = Behind(LIMITS).decide(waits(600.0), 0.0)
    assert now.step == HELD
    assert now.hold_s > 30.0
    assert now.why == "1,000 packets wait for a verdict, the first for 600 s"


def test_a_backlog_that_will_take_long_counts_before_it_is_old() -> None:
    assert step_of(Load(Backlog(100_000, 20.0, verdicts_s=100.0))) > step_of(waits(20.0)) == 0


def test_a_burst_that_has_just_come_is_no_backlog_however_few_verdicts_there_were_before() -> None:
    assert wait_s(Backlog(50_000, 0.5, verdicts_s=0.1)) <= 2.0


@pytest.mark.parametrize(
    ("free", "step"),
    [(2 * GIB, 0), (GIB + 1, 0), (950 * MIB, 1), (300 * MIB, 7), (256 * MIB, HELD), (0, HELD)],
)
def test_a_disk_that_fills_up_lowers_the_window_and_holds_at_the_low_water(free: int, step: int) -> None:
    assert step_of(Load(free_bytes=free)) == step


def test_a_disk_that_nobody_knows_or_cares_about_changes_nothing() -> None:
    assert step_of(Load(free_bytes=None)) == 0
    assert Behind(Limits(low_water_bytes=0)).decide(Load(free_bytes=0), 0.0).step == 0


@pytest.mark.parametrize(("used", "step"), [(0.5, 0), (0.55, 1), (0.8, 6), (0.95, HELD)])
def test_a_broker_that_fills_up_means_that_intake_is_behind(used: float, step: int) -> None:
    now = Behind(LIMITS).decide(Load(broker_used_bytes=int(used * GIB), broker_bytes=GIB), 0.0)
    assert now.step == step
    assert ("intake is behind" in now.why) == (step > 0)


def test_the_heaviest_of_several_decides_and_is_named() -> None:
    now = Behind(LIMITS).decide(waits(46.0, free_bytes=10 * MIB), 0.0)
    assert (now.step, now.why) == (HELD, "its disk has 10 MiB left")


@given(st.integers(1, 2_000), st.integers(1, 64), st.integers(0, 10**12), st.floats(0, 10_000))
def test_all_windows_fit_into_the_broker_or_are_the_smallest(
    regions: int, broker_gib: int, asked: int, seconds: float
) -> None:
    limits = Limits(windows_bytes_max=asked)
    load = Load(Backlog(10, seconds, 0.0, regions), 0, broker_gib * GIB)
    now = Behind(limits).decide(load, 0.0)
    bound = asked or broker_gib * GIB
    assert now.window_bytes <= LIMITS.window_bytes
    assert now.window_bytes >= WINDOW_BYTES_MIN
    assert now.window_bytes * regions <= bound or now.window_bytes == WINDOW_BYTES_MIN


# --- the way up -------------------------------------------------------------------------------------


def test_it_comes_back_step_by_step_once_it_has_caught_up() -> None:
    behind = Behind(LIMITS)
    behind.decide(waits(600.0), 0.0)
    steps = [behind.decide(Load(), now_s).step for now_s in range(1, 100)]
    assert steps[0] == HELD
    assert steps[-1] == 0
    assert all(before - after in (0, 1) for before, after in itertools.pairwise(steps))
    assert steps.count(HELD - 1) == RAISE_S


def test_it_does_not_come_back_for_half_a_recovery() -> None:
    behind = Behind(LIMITS)
    step = behind.decide(waits(46.0), 0.0).step
    assert [behind.decide(waits(40.0), now_s).step for now_s in (20.0, 40.0, 60.0)] == [step] * 3
    assert behind.decide(waits(10.0), 80.0).step < step


def test_what_swings_around_the_edge_does_not_make_the_window_swing() -> None:
    behind = Behind(LIMITS)
    steps = [behind.decide(waits(29.0 if n % 2 else 31.0), 5.0 * n).step for n in range(200)]
    assert set(steps) == {1}


def test_a_disk_at_the_edge_does_not_make_it_swing_either() -> None:
    behind = Behind(LIMITS)
    steps = [
        behind.decide(Load(free_bytes=GIB + (-1 if n % 2 else 1) * MIB), 20.0 * n).step for n in range(50)
    ]
    assert set(steps[1:]) == {1}
    assert behind.decide(Load(free_bytes=2 * GIB), 2_000.0).step == 0


@given(st.lists(st.tuples(st.floats(0, 2_000), st.floats(0, 100)), max_size=60))
def test_it_is_never_above_what_is_due(course: list[tuple[float, float]]) -> None:
    behind, now_s = Behind(LIMITS), 0.0
    for waited_s, passes_s in course:
        now_s += passes_s
        now = behind.decide(waits(waited_s), now_s)
        assert now.step >= step_of(waits(waited_s))
        assert bool(now.why) == (now.step > 0)
        assert (now.hold_s > 0) == (now.step == HELD)


# --- the watch --------------------------------------------------------------------------------------


@dataclass
class Looked:
    """A ledger and a broker that count how often they are asked."""

    seconds: float = 0.0
    asked: int = 0
    said: list[Restraint] = field(default_factory=list)

    def backlog(self, now_ms: int) -> Backlog:
        assert now_ms
        self.asked += 1
        return Backlog(5, self.seconds)

    def memory(self) -> tuple[int, int]:
        return 0, 0


def test_acks_of_one_second_share_one_look() -> None:
    looked, clock = Looked(600.0), ManualClock()
    watch = Watch(LIMITS, looked, looked, clock, said=looked.said.append)
    assert {watch().step for _ in range(500)} == {HELD}
    assert (looked.asked, len(looked.said)) == (1, 1)
    looked.seconds = 0.0
    clock.advance(LOOK_S + 100.0)
    assert watch().step == 0
    assert looked.asked == 2


# --- what the ledger says ---------------------------------------------------------------------------


def test_the_ledger_counts_what_waits_and_since_when_and_how_fast_it_goes(rig: Rig) -> None:
    rig.step(rig.batch({n: packet(n) for n in range(1, 11)}))
    rig.clock.ms += 90_000
    now = rig.ledger.backlog(rig.clock.ms)
    assert (now.packets, now.oldest_s, now.verdicts_s) == (10, 90.0, 0.0)
    rig.validate(limit=4)
    now = rig.ledger.backlog(rig.clock.ms)
    assert (now.packets, now.oldest_s) == (6, 90.0)
    assert 4 / 120 <= now.verdicts_s <= 4 / 60
    rig.validate()
    assert rig.ledger.backlog(rig.clock.ms)[:3] == (0, 0.0, 0.0)


def test_regions_that_never_spoke_or_are_shut_out_do_not_count(rig: Rig) -> None:
    assert rig.ledger.backlog(rig.clock.ms).regions == 0
    rig.step(rig.want())
    assert rig.ledger.backlog(rig.clock.ms).regions == 1
    rig.ledger.admit("1999", b"a token of sixteen bytes", rig.clock.ms)
    assert rig.ledger.backlog(rig.clock.ms).regions == 1
    rig.ledger.revoke(REGION, rig.clock.ms)
    assert rig.ledger.backlog(rig.clock.ms).regions == 0


# --- seen -------------------------------------------------------------------------------------------


def test_depth_of_the_center_says_what_it_lets_regions_send_and_why(rig: Rig, tmp_path: Path) -> None:
    clock = ManualClock()
    said = RestraintFile(tmp_path, clock)
    said.say(Behind(LIMITS).decide(waits(600.0), 0.0))
    found = _depth(rig.ledger, tmp_path, clock.now_ms())
    assert found["restraint"]["hold_s"] == 60.0
    assert "! the center asks its regions to hold (urgent packets go): 1,000 packets wait" in depth_text(
        found
    )
    said.say(Behind(LIMITS).decide(waits(46.0), 0.0))
    found = _depth(rig.ledger, tmp_path, clock.now_ms())
    assert "! the center lets each region send 2,048 KiB at a time: 1,000 packets" in depth_text(found)
    said.say(Restraint(8 * MIB))
    found = _depth(rig.ledger, tmp_path, clock.now_ms())
    assert "behind" not in [one["code"] for one in found["alarms"]]


def _depth(ledger: SqlLedger, run: Path, now_ms: int) -> dict[str, Any]:
    return center_depth(ledger.reader, running=True, now_ms=now_ms, restraint=read_restraint(run, now_ms))


def long_ago(path: Path, clock: ManualClock) -> None:
    assert path.exists()
    clock.advance(FRESH_S + 1)


def no_json(path: Path, _: ManualClock) -> None:
    path.write_text("half")


def something_else(path: Path, _: ManualClock) -> None:
    path.write_text(json.dumps(["no", "object"]))


def gone(path: Path, _: ManualClock) -> None:
    path.unlink()


@pytest.mark.parametrize("spoilt", [long_ago, no_json, something_else, gone])
def test_what_was_not_said_lately_does_not_hold(
    tmp_path: Path, spoilt: Callable[[Path, ManualClock], None]
) -> None:
    clock = ManualClock()
    RestraintFile(tmp_path, clock).say(Restraint(MIB, step=3, why="so"))
    assert read_restraint(tmp_path, clock.now_ms()) is not None
    spoilt(tmp_path / "restraint.json", clock)
    assert read_restraint(tmp_path, clock.now_ms()) is None


def test_a_run_folder_that_cannot_be_written_stops_no_ack(tmp_path: Path) -> None:
    RestraintFile(tmp_path / "not there", ManualClock()).say(Restraint(MIB))
    assert read_restraint(tmp_path / "not there", 0) is None
