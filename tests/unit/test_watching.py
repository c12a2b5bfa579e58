"""The watching thread: each part sees each document; one that fails holds up neither others nor looks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreDamaged
from pipeline.testing.clock import ManualClock
from workers.watching import SAID_S, Watching


@dataclass
class Store:
    """Documents that count up; `broken`: looking fails."""

    n: int = 0
    broken: Exception | None = None

    def depth(self) -> dict[str, Any]:
        self.n += 1
        if self.broken is not None:
            raise self.broken
        return {"side": "region", "at_ms": self.n}


@dataclass
class Seen:
    """A part; `why`: what it fails with."""

    why: Exception | None = None
    seen: list[int] = field(default_factory=list)

    def saw(self, document: Mapping[str, Any]) -> None:
        self.seen.append(document["at_ms"])
        if self.why is not None:
            raise self.why


def watching(
    store: Store, *parts: Seen, clock: ManualClock | None = None, tick: Path | None = None
) -> Watching:
    return Watching(store, parts, clock or ManualClock(), threading.Event(), 0.01, tick)


def test_each_part_sees_each_document_in_order() -> None:
    one, other = Seen(), Seen()
    looks = watching(Store(), one, other)
    for _ in range(3):
        looks.look()
    assert one.seen == other.seen == [1, 2, 3]
    assert looks.latest() == {"side": "region", "at_ms": 3}


@pytest.mark.parametrize("why", [StoreDamaged("gone"), OSError("full"), RuntimeError("a defect")], ids=repr)
def test_a_part_that_fails_holds_nobody_up(why: Exception) -> None:
    bad, good = Seen(why), Seen()
    looks = watching(Store(), bad, good)
    looks.look()
    looks.look()
    assert bad.seen == good.seen == [1, 2]


@pytest.mark.parametrize("why", [StoreDamaged("the outbox is damaged"), KeyError("lanes")], ids=repr)
def test_a_look_that_fails_keeps_the_document_before(why: Exception) -> None:
    store, part = Store(), Seen()
    looks = watching(store, part)
    looks.look()
    store.broken = why
    looks.look()
    assert looks.latest() == {"side": "region", "at_ms": 1}
    assert part.seen == [1]


def test_a_failure_is_said_once_a_minute(capfd: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    looks = watching(Store(broken=StoreDamaged("the outbox is damaged")), clock=clock)

    def said() -> int:
        out, err = capfd.readouterr()
        return (out + err).count("the outbox is damaged")

    looks.look()
    looks.look()
    assert said() == 1
    clock.advance(SAID_S)
    looks.look()
    assert said() == 1


def test_who_waits_for_a_newer_document_is_woken_and_who_has_it_is_not_kept() -> None:
    looks = watching(Store())
    assert looks.wait_newer(0, 0.0) == 0
    looks.look()
    assert looks.wait_newer(0, 5.0) == 1


def test_the_thread_looks_until_it_is_stopped_and_touches_its_tick(tmp_path: Path) -> None:
    stop, tick = threading.Event(), tmp_path / "watch.tick"
    thread = Watching(Store(), [], ManualClock(), stop, 0.01, tick)
    thread.start()
    assert thread.wait_newer(2, 10.0) > 2
    stop.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert tick.is_file()
