"""Which alarms are told when: any sequence of documents, sinks that fail, kills, clocks; on virtual time."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspection.alarms_list import alarms_json
from pipeline.inspection.alarms_since import with_since
from pipeline.inspection.alarms_told import PERIODS_MAX, RETRY_MS_MAX, Told
from pipeline.settings import AlarmsPart
from workers.telling import payload

SETTLE_MS = 30_000
NEVER_AGAIN = AlarmsPart(settle_s=SETTLE_MS / 1000, repeat_s=0)
SINKS = ("log", "webhook")


def alarm(code: str) -> dict[str, Any]:
    return {"code": code, "text": f"{code} is", "do": f"end {code}", "level": "warn", "since_ms": None}


@dataclass
class World:
    """A watching process that looks, tells, notes and keeps; it may be killed between telling and noting."""

    limits: AlarmsPart = NEVER_AGAIN
    now_ms: int = 1_000_000
    said: list[tuple[str, str, str, int]] = field(default_factory=list)
    kept: str = "null"
    told: Told = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """It starts (again) from what was kept."""
        self.told = Told(json.loads(self.kept), self.limits, SINKS)

    def look(self, *codes: str, after_ms: int = 1_000, down: bool = False, kill: bool = False) -> None:
        """One look; `down`: the webhook is not reached; `kill`: after telling, before noting anything."""
        self.now_ms += after_ms
        if self.told.saw([alarm(code) for code in codes], self.now_ms):
            self.kept = json.dumps(self.told.to_json())
        for tell in self.told.due(self.now_ms):
            reached = not (down and tell.sink == "webhook")
            if reached:
                self.said.append((tell.sink, tell.event, tell.code, tell.since_ms))
            if not kill:
                self.told.noted(tell, reached, self.now_ms)
        if kill:
            self.start()
        self.kept = json.dumps(self.told.to_json())

    def events(self, sink: str = "webhook") -> list[tuple[str, str]]:
        return [(event, code) for where, event, code, _ in self.said if where == sink]


def test_an_alarm_that_lasts_is_told_once_and_that_it_is_over_once() -> None:
    world = World()
    for _ in range(100):
        world.look("link_down")
    assert world.events() == [("raised", "link_down")]
    for _ in range(100):
        world.look()
    assert world.events() == world.events("log") == [("raised", "link_down"), ("over", "link_down")]
    assert not world.told.periods


def test_who_is_told_hears_since_when_it_stands_and_not_since_when_it_was_an_alarm() -> None:
    told = Told(None, NEVER_AGAIN, ("webhook",))
    for now_ms in (1_000_000, 1_000_000 + SETTLE_MS):
        told.saw([{**alarm("link_down"), "since_ms": 940_000}], now_ms)
    told = Told(json.loads(json.dumps(told.to_json())), NEVER_AGAIN, ("webhook",))
    (tell,) = told.due(1_000_000 + SETTLE_MS)
    assert payload(tell, "region", "1806", 1_030_000)["since_ms"] == 940_000


def test_one_that_lasts_less_is_not_told() -> None:
    world = World()
    for _ in range(29):
        world.look("link_down")
    for _ in range(100):
        world.look()
    assert not world.said
    assert not world.told.periods


def test_what_flaps_is_told_once() -> None:
    world = World()
    for turn in range(1_000):
        world.look(*(["link_down"] if turn // 10 % 2 else []))
    assert world.events() == [("raised", "link_down")]


def test_it_is_told_again_after_a_while_and_not_once_it_is_over() -> None:
    world = World(AlarmsPart(settle_s=30, repeat_s=600))
    for _ in range(1_500):
        world.look("disk_full")
    assert world.events() == [("raised", "disk_full"), ("again", "disk_full"), ("again", "disk_full")]
    for _ in range(1_500):
        world.look()
    assert world.events()[3:] == [("over", "disk_full")]


def test_it_is_not_told_again_while_it_is_not_seen() -> None:
    world = World(AlarmsPart(settle_s=30, repeat_s=600))
    for _ in range(620):
        world.look("disk_full")
    for _ in range(20):
        world.look()
    assert world.events() == [("raised", "disk_full")]


def test_who_was_not_reached_while_it_lasted_hears_both_words_later() -> None:
    world = World()
    for _ in range(200):
        world.look("link_down", down=True)
    for _ in range(60):
        world.look(down=True)
    assert world.events("log") == [("raised", "link_down"), ("over", "link_down")]
    assert not world.events()
    for _ in range(RETRY_MS_MAX // 1_000 + 2):
        world.look()
    assert world.events() == [("raised", "link_down"), ("over", "link_down")]


def test_a_sink_that_fails_is_asked_at_growing_distance() -> None:
    world = World()
    asked = []
    for _ in range(4_000):
        world.now_ms += 1_000
        world.told.saw([alarm("mirror")], world.now_ms)
        for tell in world.told.due(world.now_ms):
            world.told.noted(tell, tell.sink == "log", world.now_ms)
            asked += [world.now_ms] * (tell.sink == "webhook")
    apart = [(b - a) // 1_000 for a, b in itertools.pairwise(asked)]
    assert apart[:6] == [10, 20, 40, 80, 160, 320]
    assert max(apart) == RETRY_MS_MAX // 1_000


def test_a_restart_forgets_nothing_and_an_hour_without_looks_ends_a_period() -> None:
    world = World()
    for _ in range(40):
        world.look("old")
    world.start()
    for _ in range(40):
        world.look("old")
    assert world.events() == [("raised", "old")]
    world.look()
    world.look("old", after_ms=3_600_000)
    for _ in range(40):
        world.look("old")
    assert world.events() == [("raised", "old"), ("over", "old"), ("raised", "old")]


def test_a_clock_that_was_set_back_makes_nobody_wait_for_an_hour() -> None:
    world = World()
    world.look("old")
    world.look("old", after_ms=-3_600_000)
    for _ in range(31):
        world.look("old")
    assert world.events() == [("raised", "old")]


def test_what_nobody_can_be_told_does_not_pile_up() -> None:
    world = World(AlarmsPart(settle_s=0, repeat_s=0))
    for turn in range(2_000):
        world.look(*(["old"] if turn % 2 else []), down=True)
    assert len(world.told.periods) <= PERIODS_MAX


def test_a_kept_state_that_is_something_else_counts_as_none() -> None:
    for state in (
        None,
        [],
        7,
        {"periods": 1},
        {"periods": [{"code": 1}]},
        {"periods": [1]},
        {"periods": [{}]},
    ):
        assert not Told(state, NEVER_AGAIN, SINKS).periods
        assert with_since([alarm("old")], state) == [alarm("old")]


Step = tuple[bool, int, bool, bool]
STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([1_000, 7_000, 29_000, 31_000]), st.booleans(), st.booleans()),
    max_size=60,
)


def periods(steps: list[Step], began_ms: int) -> list[tuple[int, int | None, bool]]:
    """The model: (begin, end, whether it is to be told) of each period. The end: off for SETTLE_MS."""
    found: list[tuple[int, int | None, bool]] = []
    now_ms, since, off, lasted = began_ms, None, None, False
    for on, after_ms, _, _ in steps:
        now_ms += after_ms
        if since is not None:
            off = now_ms if off is None and not on else off
            if off is not None and now_ms - off >= SETTLE_MS:
                found.append((since, off, lasted))
                since, off, lasted = None, None, False
        if on and since is None:
            since, lasted = now_ms, False
        elif on and since is not None:
            off, lasted = None, lasted or now_ms - since >= SETTLE_MS
    if since is not None:
        found.append((since, None, lasted))
    return found


@given(STEPS)
def test_any_sequence_tells_each_that_lasts_exactly_once_and_no_other(steps: list[Step]) -> None:
    world = World()
    began_ms = world.now_ms
    for on, after_ms, _, _ in steps:
        world.look(*(["old"] if on else []), after_ms=after_ms)
    expected = Counter[tuple[str, str, int]]()
    for since, end, lasted in periods(steps, began_ms):
        for sink in SINKS:
            if lasted:
                expected[sink, "raised", since] += 1
            if lasted and end is not None:
                expected[sink, "over", since] += 1
    assert Counter((sink, event, since) for sink, event, _, since in world.said) == expected


@given(STEPS)
def test_with_a_dead_webhook_and_kills_everything_is_told_in_order_and_twice_at_most_by_a_kill(
    steps: list[Step],
) -> None:
    world = World()
    began_ms, kills = world.now_ms, 0
    for on, after_ms, down, kill in steps:
        before = len(world.said)
        world.look(*(["old"] if on else []), after_ms=after_ms, down=down, kill=kill)
        kills += kill and len(world.said) > before
    told = [(since, end) for since, end, lasted in periods(steps, began_ms) if lasted]
    again = RETRY_MS_MAX + 1_000
    still = ["old"] if steps and steps[-1][0] else []
    for _ in range(2 * len(told) + 2):
        world.look(*still, after_ms=again)
    for sink in SINKS:
        heard = [(event, since) for where, event, _, since in world.said if where == sink]
        counted = Counter(heard)
        wanted = [("raised", since) for since, _ in told]
        wanted += [("over", since) for since, end in told if end is not None]
        assert set(wanted) <= set(heard)
        assert all(counted[one] >= 1 for one in wanted)
        assert sum(counted.values()) - len(counted) <= kills
        for since, _ in told:
            order = [event for event, begun in heard if begun == since]
            assert "over" not in order or "raised" not in order[order.index("over") :]


def test_the_list_says_since_when_and_who_was_told() -> None:
    world = World()
    began_ms = world.now_ms + 1_000
    for _ in range(40):
        world.look("mirror", down=True)
    depth = {"side": "region", "region": "1806", "at_ms": world.now_ms, "alarms": [alarm("mirror")]}
    found = alarms_json(depth, json.loads(world.kept), SINKS, watching=True)
    (one,) = found["alarms"]
    assert one["since_ms"] == began_ms
    assert one["told"] == {"log": began_ms + SETTLE_MS, "webhook": None}
    assert one["failed"]["webhook"] >= 1
    (unknown,) = alarms_json(depth, None, SINKS, watching=False)["alarms"]
    assert unknown["since_ms"] is None
    assert unknown["told"] == {"log": None, "webhook": None}
