"""Timetables of what goes wrong: how they are written, what they draw, and that the relay plays them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.linksim import (
    PROFILES,
    Address,
    Event,
    LinkProfile,
    Relay,
    Script,
    parse_script,
    parse_script_toml,
)
from pipeline.linksim.script import FOREGROUND_MAX, STEPS_MAX

NOBODY = Address("127.0.0.1", 1)
ANYWHERE = Address("127.0.0.1", 0)
FAST = LinkProfile(100_000_000, 100_000_000, delay_ms=0, buffer_bytes=256 * 1024)

TEXT = "at 20 cut 5; at 40 rate up 128k; at 60 stall down 3; at 80 reset; at 85 half-open client; repeat 120"
TOML = """
repeat = 120
step = [
    { at = 20, do = "cut", value = 5 },
    { at = 40, do = "rate", way = "up", value = "128k" },
    { at = 60, do = "stall", way = "down", value = 3 },
    { at = 80, do = "reset" },
    { at = 85, do = "half-open", value = "client" },
]
"""


def until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.005)


def test_text_and_toml_say_the_same() -> None:
    assert parse_script(TEXT) == parse_script_toml(TOML)
    assert parse_script(TEXT.replace(";", "\n")) == parse_script(TEXT)
    assert list(itertools.islice(parse_script(TEXT).events(), 6)) == [
        Event(20.0, "cut", "both", 5.0, "server"),
        Event(40.0, "rate", "up", 128_000, "server"),
        Event(60.0, "stall", "down", 3.0, "server"),
        Event(80.0, "reset", "both", 0.0, "server"),
        Event(85.0, "half-open", "both", 0.0, "client"),
        Event(140.0, "cut", "both", 5.0, "server"),
    ]


def test_an_empty_script_has_no_events() -> None:
    assert list(parse_script("").events()) == []
    assert list(parse_script("repeat 5").events()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "at 1 cut 5; at 60 stal up 3",
            r"entry 2, 'at 60 stal up 3': 'stal' is no action: one of cut, stall",
        ),
        ("20 cut 5", "entry 1.*at SECONDS"),
        ("at x cut 5", "entry 1.*'x' is no figure"),
        ("at -1 cut 5", "'-1' is no figure"),
        ("at 1e3 cut 5", "'1e3' is no figure"),
        ("at 1 cut", "cut takes one value"),
        ("at 1 delay up 5", "delay takes one value"),
        ("at 1 stall up", r"stall \[up\|down\] VALUE"),
        ("at 1 rate quick", "'quick' is not a rate"),
        ("at 1 rate 0", "not a rate"),
        ("at 1 stall 8..2", "larger figure"),
        ("at 1 half-open", "client or server"),
        (f"at 1 foreground {FOREGROUND_MAX + 1}", "too much"),
        ("at 99999999 reset", "too much"),
        ("repeat 5; at 1 reset", "entry 1.*last"),
        ("at 9 reset; repeat 5", "an entry is at 9 s"),
        ("at 0 reset; repeat 0", r"at least 0\.1 s"),
        ("at 0 reset;" * (STEPS_MAX + 1), "at most 1,000"),
    ],
)
def test_a_bad_entry_is_named_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_script(text)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"at": 1}, "entry 1.*'do' is missing"),
        ({"at": 1, "do": "cut", "value": 1, "colour": 2}, "'colour' is unknown"),
        ({"at": 1, "do": "cut", "value": True}, "'True' is no figure"),
        ({"at": [1], "do": "cut", "value": 1}, "no figure"),
    ],
)
def test_a_bad_table_is_named_too(entry: Mapping[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_script([entry])


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("step = ", "no TOML"),
        ("", "list of tables"),
        ("step = [1]", "list of tables"),
        ("step = []\nrepeat = 'x'", "'x' is no figure"),
        ("step = []\nrepaet = 5", "no 'repaet'"),
    ],
)
def test_bad_toml_is_refused(toml: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_script_toml(toml)


@given(st.integers(0, 10**6))
def test_what_is_drawn_stays_in_its_range_in_order_and_follows_the_seed(seed: int) -> None:
    script = parse_script("at 5..9 cut 2..8; at 3..7 rate 128k..2M; at 1..2 foreground 0..3; repeat 9")
    events = list(itertools.islice(script.events(seed), 9))
    assert events == list(itertools.islice(script.events(seed), 9))
    for number in range(3):
        own_round = events[3 * number : 3 * number + 3]
        assert [event.at_s for event in own_round] == sorted(event.at_s for event in own_round)
        by_action = {event.do: event for event in own_round}
        assert 5 <= by_action["cut"].at_s - 9 * number <= 9 + 1e-9
        assert 2 <= by_action["cut"].value <= 8
        assert 128_000 <= by_action["rate"].value <= 2_000_000
        assert by_action["foreground"].value in (0, 1, 2, 3)
    assert len({event.value for event in events if event.do == "cut"}) == 3


@given(st.text(alphabet="at 0129.;krepeuscl-\n", max_size=60))
def test_any_text_is_a_script_or_a_usage_error(text: str) -> None:
    try:
        script = parse_script(text)
    except UsageError:
        return
    assert isinstance(script, Script)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_named_profile_has_a_script_that_reads(name: str) -> None:
    script = parse_script(PROFILES[name].script)
    assert bool(script.steps) == (name in ("evening-shared", "flaky-4g"))


def test_the_relay_plays_each_entry_when_its_time_has_come() -> None:
    script = parse_script(
        "at 0 rate up 64k; at 0 delay 7; at 0 jitter 3; at 0.05 foreground down 2;"
        "at 0.3 stall up 60; at 0.3 cut 60"
    )
    start = time.monotonic()
    with Relay(ANYWHERE, NOBODY, FAST, script=script) as relay:
        until(lambda: relay.stats().steps_played == 6, "all is played")
        assert 0.29 <= time.monotonic() - start < 5
        stats, profile = relay.stats(), relay.profile
    assert (profile.rate_up_bit_s, profile.rate_down_bit_s) == (64_000, 100_000_000)
    assert (profile.delay_ms, profile.jitter_ms) == (7, 3)
    assert (stats.cut, stats.up.stalled, stats.foreground_flows) == ("blackhole", True, 2)


def test_another_profile_ends_the_script_and_its_traffic() -> None:
    with Relay(ANYWHERE, NOBODY, PROFILES["evening-shared"]) as relay:
        until(lambda: relay.stats().foreground_flows == 3, "the neighbours are there")
        relay.set_profile(FAST)
        assert relay.stats().foreground_flows == 0
        played = relay.stats().steps_played
        relay.play(parse_script("at 0 reset; at 0 half-open server; repeat 0.1"))
        until(lambda: relay.stats().steps_played > played + 4, "it repeats")
        assert relay.stats().cut is None
        relay.play(Script(()))
        played = relay.stats().steps_played
        deadline = time.monotonic() + 0.3
        until(lambda: time.monotonic() > deadline, "three rounds would have passed")
        assert relay.stats().steps_played == played
