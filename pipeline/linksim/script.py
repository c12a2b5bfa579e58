"""Beside the way, the link simulator: a timetable of what goes wrong, as data (pure, no clock).

As text, `at 20 cut 5; at 40 rate up 128k; at 60 stall down 3; at 80 reset; repeat 120`; the same as TOML:

    repeat = 120
    step = [{ at = 20, do = "cut", value = 5 }, { at = 40, do = "rate", way = "up", value = "128k" }]

| do | value | way | |
| --- | --- | --- | --- |
| `cut` | seconds | up, down | a black hole |
| `stall` | seconds | up, down | nothing moves, connections stay |
| `reset` | seconds, or nothing: 0 | | resets what is open, and who connects meanwhile |
| `half-open` | `client` or `server` | | that side is gone, the other is never told |
| `rate` | a rate | up, down | |
| `delay`, `jitter` | ms | | one way |
| `foreground` | flows, 0 to 16 | up, down | that many greedy flows of others |

Any time, and any value that is a figure, may be a range such as `2..8`: it is drawn evenly, anew each round,
from a seed. Without a way, both. Times are seconds since the start of the round.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.errors import UsageError
from pipeline.linksim.profile import Direction, Side, parse_rate

Action = Literal["cut", "stall", "reset", "half-open", "rate", "delay", "jitter", "foreground"]

STEPS_MAX = 1_000
SECONDS_MAX = 30 * 24 * 3600.0
FOREGROUND_MAX = 16
DELAY_MS_MAX = 60_000.0

_WITH_WAY: frozenset[Action] = frozenset({"cut", "stall", "rate", "foreground"})
_VALUE_MAX: dict[Action, float] = {
    "cut": SECONDS_MAX,
    "stall": SECONDS_MAX,
    "reset": SECONDS_MAX,
    "rate": 1e12,
    "delay": DELAY_MS_MAX,
    "jitter": DELAY_MS_MAX,
    "foreground": FOREGROUND_MAX,
}
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?")


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; a plain figure is a range of one."""

    low: float
    high: float

    def drawn(self, rng: random.Random) -> float:
        """One figure of it."""
        return self.low if self.low == self.high else rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class Step:
    """One entry as written. `value` is in seconds, bit/s, ms or flows, as `do` needs it."""

    at_s: Range
    do: Action
    way: Direction = "both"
    value: Range = Range(0.0, 0.0)
    side: Side = "server"


@dataclass(frozen=True)
class Event:
    """One entry as played: at `at_s` seconds since the script began."""

    at_s: float
    do: Action
    way: Direction
    value: float
    side: Side


@dataclass(frozen=True)
class Script:
    """The entries; with `repeat_s`, they begin anew after so many seconds, without end."""

    steps: tuple[Step, ...]
    repeat_s: float | None = None

    def events(self, seed: int = 0) -> Iterator[Event]:
        """In order of time, endless when it repeats; the same seed gives the same events."""
        rng = random.Random(seed)
        began_s = 0.0
        while self.steps:
            yield from sorted(
                (_drawn(step, began_s, rng) for step in self.steps), key=lambda event: event.at_s
            )
            if self.repeat_s is None:
                return
            began_s += self.repeat_s


def parse_script(source: str | Sequence[Mapping[str, object]], repeat_s: float | None = None) -> Script:
    """A script from its compact text, or from the entries of a TOML list. UsageError names the entry."""
    entries = [part.strip() for part in re.split(r"[;\n]", source)] if isinstance(source, str) else source
    entries = [entry for entry in entries if entry]
    if len(entries) > STEPS_MAX:
        raise UsageError(f"a script has at most {STEPS_MAX:,} entries: this one has {len(entries):,}")
    steps: list[Step] = []
    for number, entry in enumerate(entries, start=1):
        text = entry if isinstance(entry, str) else None
        try:
            words = text.split() if text is not None else _words_of(entry)  # type: ignore[arg-type]
            if text is not None and words[0] == "repeat":
                if number != len(entries):
                    raise UsageError("repeat comes last")
                repeat_s = _repeat(words[1:])
            else:
                steps.append(_step(words))
        except UsageError as error:
            raise UsageError(f"script entry {number}, '{str(text or entry)[:80]}': {error}") from None
    return _checked(Script(tuple(steps), repeat_s))


def parse_script_toml(text: str) -> Script:
    """A script from TOML with a list `step` and, if it shall repeat, `repeat` in seconds."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the script is no TOML: {error}") from None
    steps = table.pop("step", None)
    repeat_s = _repeat([str(table.pop("repeat"))]) if "repeat" in table else None
    if table:
        raise UsageError(f"a script has 'step' and 'repeat', and no '{min(table)}'")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise UsageError("a script in TOML is a list of tables: [[step]] with at, do, and value or way")
    return parse_script(steps, repeat_s)


def _drawn(step: Step, began_s: float, rng: random.Random) -> Event:
    value = step.value.drawn(rng)
    whole = round(value) if step.do in ("rate", "foreground") else value
    return Event(began_s + step.at_s.drawn(rng), step.do, step.way, whole, step.side)


def _checked(script: Script) -> Script:
    last_s = max((step.at_s.high for step in script.steps), default=0.0)
    if script.repeat_s is not None and script.repeat_s < last_s:
        raise UsageError(f"a script cannot repeat after {script.repeat_s:g} s: an entry is at {last_s:g} s")
    return script


def _words_of(entry: Mapping[str, object]) -> list[str]:
    if unknown := sorted(entry.keys() - {"at", "do", "way", "value"}):
        raise UsageError(f"'{unknown[0]}' is unknown: an entry has at, do, way, value")
    if missing := sorted({"at", "do"} - entry.keys()):
        raise UsageError(f"'{missing[0]}' is missing")
    # one grammar for both: what a value may be is said once
    return ["at", *(str(entry[key]) for key in ("at", "do", "way", "value") if key in entry)]


def _step(words: list[str]) -> Step:
    if len(words) < 3 or words[0] != "at":
        raise UsageError("write it as 'at SECONDS ACTION [VALUE]'")
    at_s, do, rest = _range(words[1], SECONDS_MAX), _action(words[2]), words[3:]
    way: Direction = "both"
    if rest and rest[0] in get_args(Direction) and do in _WITH_WAY:
        way = rest.pop(0)  # type: ignore[assignment]
    if do == "half-open":
        if rest not in (["client"], ["server"]):
            raise UsageError("say which side is gone: client or server")
        return Step(at_s, do, side=rest[0])  # type: ignore[arg-type]
    if do == "reset" and not rest:
        return Step(at_s, do)
    if len(rest) != 1:
        ways = " [up|down]" if do in _WITH_WAY else ""
        raise UsageError(f"{do} takes one value: '{do}{ways} VALUE'")
    value = _rates(rest[0]) if do == "rate" else _range(rest[0], _VALUE_MAX[do])
    return Step(at_s, do, way, value)


def _action(word: str) -> Action:
    if word not in get_args(Action):
        raise UsageError(f"'{word}' is no action: one of {', '.join(get_args(Action))}")
    return word  # type: ignore[return-value]


def _repeat(words: list[str]) -> float:
    if len(words) != 1:
        raise UsageError("write it as 'repeat SECONDS'")
    seconds = _range(words[0], SECONDS_MAX)
    if seconds.low != seconds.high or seconds.low < 0.1:
        raise UsageError("a script repeats after one figure of at least 0.1 s")
    return seconds.low


def _range(text: str, highest: float) -> Range:
    low, dots, high = text.partition("..")
    if not _NUMBER.fullmatch(low) or (dots and not _NUMBER.fullmatch(high)):
        raise UsageError(f"'{text}' is no figure: write 5, 0.5 or a range such as 2..8")
    return _ordered(Range(float(low), float(high if dots else low)), text, highest)


def _rates(text: str) -> Range:
    low, dots, high = text.partition("..")
    rate = Range(parse_rate(low), parse_rate(high if dots else low))
    return _ordered(rate, text, _VALUE_MAX["rate"])


def _ordered(drawn: Range, text: str, highest: float) -> Range:
    if not drawn.low <= drawn.high:
        raise UsageError(f"'{text}' begins with the larger figure")
    if drawn.high > highest:
        raise UsageError(f"'{text}' is too much: at most {highest:g}")
    return drawn
