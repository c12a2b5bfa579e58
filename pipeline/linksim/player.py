"""Beside the way, the link simulator: plays a script on real time, in the relay's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from pipeline.linksim.script import Event, Script


class Player:
    """One script at a time; `play` is called with each entry when its time has come."""

    def __init__(self, play: Callable[[Event], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._play = play
        self._events: Iterator[Event] = iter(())
        self._began_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.steps_played = 0

    def start(self, script: Script, seed: int) -> None:
        """Begins it now; one that was played before ends."""
        self.stop()
        self._events, self._began_at = script.events(seed), self._loop.time()
        self._wait_for_next()

    def stop(self) -> None:
        """Nothing more is played; what was, stays in force."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for_next(self) -> None:
        if (event := next(self._events, None)) is not None:
            self._timer = self._loop.call_at(self._began_at + event.at_s, self._on_time, event)

    def _on_time(self, event: Event) -> None:
        self._timer = None
        self.steps_played += 1
        self._play(event)
        self._wait_for_next()
