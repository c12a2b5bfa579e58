"""What is recorded while nothing may leave is known by its number soon: so it can be missed."""

from __future__ import annotations

from pathlib import Path

from pipeline.region.speaker import NEWS_S
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.messages import Ack, Want


class Held:
    """Somebody has closed every lane."""

    def news(self) -> bool:
        return False

    def ask(self, want: Want) -> Want:
        return want

    def hear(self, ack: Ack, now_ms: int) -> None:
        pass

    def holds(self) -> str:
        return "a test"


def test_the_center_hears_of_what_was_recorded_though_nothing_is_sent(tmp_path: Path) -> None:
    world = World(tmp_path, voices=(Held(),))
    for _ in range(4):
        world.round()
    for line in sample_lines(7, seed=1):
        world.enqueue(line)
    world.round(2 * NEWS_S)
    world.round()
    (region,) = world.ledger.reader.regions()
    assert region.highest_seq == 7
    assert world.ledger.reader.counts().received == 0
    world.close()
