"""Any interleaving again, now with lanes that people close and open: what was announced comes, and is then no
longer announced; and what stands long enough is known at the center."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from schemas.lanes import Lane
from tests.effort import EFFORT
from tests.scenarios.test_announced import Gate
from tests.scenarios.test_any_interleaving import WholeWay


class Announced(WholeWay):
    """Somebody closes lanes, and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    @rule(lane=st.sampled_from([Lane.BIOMETRIC, Lane.RECORD]))
    def close_lane(self, lane: Lane) -> None:
        self.gate.closed.add(lane)
        self.here.push.lanes.gate = self.gate

    @rule()
    def open_lanes(self) -> None:
        self.gate.closed.clear()

    @rule()
    def long_rounds(self) -> None:
        for _ in range(8):
            self.here.push.lanes.gate = self.gate
            self.here.round(5.0)

    def _everything_that_stands_is_known(self) -> None:
        """Over a link that works, the center knows all that waits in a closed lane within minutes."""
        world = self.here
        world.link.restore()
        for _ in range(60):
            world.push.lanes.gate = self.gate
            world.round(5.0)
        known = {row.id for row in world.ledger.reader.announced()}
        for packet in world.enqueued:
            assert packet in known or world.ledger.reader.packet(packet) is not None, f"{packet} is not known"

    def teardown(self) -> None:
        if self.world is not None:
            self._everything_that_stands_is_known()
        self.gate.closed.clear()
        super().teardown()


TestAnyAnnounced = Announced.TestCase
TestAnyAnnounced.settings = settings(max_examples=12 * EFFORT, stateful_step_count=25, deadline=None)
