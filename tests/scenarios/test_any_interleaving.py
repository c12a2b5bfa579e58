"""Any interleaving of enqueue, push, cut, kill, wipe and restore ends with every packet applied once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pipeline.region.pushed import PushSettings
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from tests.effort import EFFORT

#: Lines with and without attachments, made once: making them costs more than carrying them.
PLAIN = list(sample_lines(60, seed=3))
LARGE = list(sample_lines(4, seed=4, biometrics=4))
SMALL_FRAMES = PushSettings(frame_bytes=16 * 1024, link_window_bytes=48 * 1024)


class WholeWay(RuleBasedStateMachine):
    """A center, a region and a link between them, and somebody who wishes them ill."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="titian-world-")
        self.world: World | None = None
        self.backup: Path | None = None
        self.lines = iter(PLAIN)
        self.large = iter(LARGE)

    @property
    def here(self) -> World:
        assert self.world is not None
        return self.world

    @initialize(
        small=st.booleans(),
        seed=st.integers(0, 3),
        rounds=st.sampled_from([4, 4, 0]),
        backed_up=st.booleans(),
        flying=st.integers(0, 4),
        urgent=st.booleans(),
    )
    def begin(self, small: bool, seed: int, rounds: int, backed_up: bool, flying: int, urgent: bool) -> None:
        """Most runs begin with a session that is granted and with frames on their way, half of them with a
        backup that is behind: what can go wrong with those would seldom be met otherwise."""
        self.world = World(
            Path(self.folder.name), push_settings=SMALL_FRAMES if small else PushSettings(), seed=seed
        )
        self.rounds(rounds)
        if backed_up:
            self.back_up()
            self.enqueue(2, urgent)
            self.rounds(rounds)
        for _ in range(flying):
            self.enqueue(1, urgent)
            self.push()

    def _take(self, line: dict[str, Any] | None, urgent: bool) -> None:
        if line is not None:
            self.here.enqueue({**line, "lane": "urgent"} if urgent else line)

    @rule(n=st.integers(1, 4), urgent=st.booleans())
    def enqueue(self, n: int, urgent: bool) -> None:
        for _ in range(n):
            self._take(next(self.lines, None), urgent)

    @rule(urgent=st.sampled_from([False, False, True]))
    def enqueue_large(self, urgent: bool) -> None:
        self._take(next(self.large, None), urgent)

    @rule()
    def push(self) -> None:
        self.here.step_push()

    @rule()
    def intake(self) -> None:
        self.here.step_intake()

    @rule()
    def validate(self) -> None:
        self.here.step_validate()

    @rule()
    def deliver(self) -> None:
        self.here.step_deliver()

    @rule()
    def pull(self) -> None:
        self.here.step_pull()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.here.clock.advance(seconds)

    @rule(n=st.integers(1, 4))
    def rounds(self, n: int) -> None:
        for _ in range(n):
            self.here.round()

    @rule(keep_sent=st.sampled_from([True, False, 1]))
    def cut(self, keep_sent: bool | int) -> None:
        self.here.link.cut(keep_sent=keep_sent)

    @rule(arrives=st.booleans())
    def break_in_the_middle(self, arrives: bool) -> None:
        self.here.link.cut_in_next_use(arrives=arrives)

    @rule()
    def restore(self) -> None:
        self.here.link.restore()

    @rule()
    def wipe(self) -> None:
        self.here.link.wipe()

    @rule(n=st.integers(1, 3))
    def lose_what_lies_in_down(self, n: int) -> None:
        self.here.link.drop_down(n)

    @rule()
    def kill_region(self) -> None:
        self.here.kill_region()

    @rule()
    def kill_center(self) -> None:
        self.here.kill_center()

    @rule()
    def back_up(self) -> None:
        self.backup = self.here.back_up_ledger()

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore_backup(self) -> None:
        assert self.backup is not None
        self.here.restore_ledger(self.backup)

    @rule(hours=st.sampled_from([-5, 7]))
    def wrong_clock(self, hours: int) -> None:
        self.here.clock.wall_ms += hours * 3_600_000

    def teardown(self) -> None:
        if self.world is None:
            return
        self.world.link.restore()
        rounds = self.world.arrive()
        assert rounds < 300, "it did not come to rest"
        self.world.check()
        self.world.close()
        self.folder.cleanup()


TestWholeWay = WholeWay.TestCase
TestWholeWay.settings = settings(max_examples=30 * EFFORT, stateful_step_count=40, deadline=None)
