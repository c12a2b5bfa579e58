"""Any interleaving, with disks that die: the registry comes back equal to what the center has."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from schemas.asks import RECORD, pack_record_args
from tests.effort import EFFORT
from tests.scenarios.rebuild_rig import lines, long_known, pictures_are_back, printed
from tests.scenarios.test_any_interleaving import WholeWay

CITIZENS = lines(16, seed=5, pictures=3)
NEW = lines(40, seed=6, pictures=5, picture_bytes=20_000)


class AnyRebuild(WholeWay):
    """As `WholeWay`, for a region that the center has long known and whose disk is gone, perhaps again.

    A backup of the ledger is restored only where nothing is lost for good by it: it was made after this
    machine joined, and nothing of the machines before it was still on its way.
    """

    held = 0

    @initialize(keep=st.booleans(), rounds=st.sampled_from([0, 1, 3]), new=st.integers(0, 3))
    def begin(self, keep: bool, rounds: int, new: int) -> None:
        self.world = long_known(Path(self.folder.name), 16, 3)
        self.lines, self.large = iter(NEW[:-5]), iter(NEW[-5:])
        self.cards = iter([printed(line) for line in CITIZENS[1::2]])
        self.rebuild(keep, new)
        self.rounds(rounds)

    @precondition(lambda self: self.here.machines < 4)
    @rule(keep=st.booleans(), new=st.integers(0, 2))
    def rebuild(self, keep: bool, new: int) -> None:
        """The disk dies, with `new` packets of which perhaps some are on their way."""
        self.enqueue(new, urgent=False)
        self.here.step_push()
        self.here.lose_disk()
        if not keep:
            self.here.link.wipe()
        self.late, self.backup, self.held = keep, None, 0
        self.here.rebuild_region()

    @rule()
    def print_card(self) -> None:
        self._take(next(self.cards, None), urgent=False)

    @rule(citizen=st.sampled_from(CITIZENS), whole=st.booleans())
    def ask(self, citizen: dict[str, dict[str, str]], whole: bool) -> None:
        args = pack_record_args(citizen["payload"]["nik"], ("*",) if whole else ())
        self.here.registry.ask(RECORD, args, self.here.clock.now_ms())

    @precondition(lambda self: not self.late and self.here.push.speaker.session)
    @rule()
    def back_up(self) -> None:
        super().back_up()

    @invariant()
    def no_record_goes_away(self) -> None:
        if self.world is not None:
            count = self.world.registry.record_count()
            assert count >= self.held
            self.held = count

    def teardown(self) -> None:
        if self.world is not None:
            self.world.link.restore()
            assert self.world.arrive() < 300, "it did not come to rest"
            pictures_are_back(self.world)
        super().teardown()


TestAnyRebuild = AnyRebuild.TestCase
TestAnyRebuild.settings = settings(max_examples=10 * EFFORT, stateful_step_count=30, deadline=None)
