"""Step 4: intake of all regions: every `ctl` first, then the `up` whose turn it is (`fair_share.py`).

A region whose streams cannot be read, or whose frames the ledger fails on, rests for a while, and the others
go on. Whether that is the region's fault is found by asking broker and ledger for something small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.center.fair_share import FairShare
from pipeline.center.intake import IntakeResult
from pipeline.errors import TitianError
from pipeline.ports import CenterLink, Clock

#: How long turns go on before every region's `ctl` is looked at again, seconds.
LOOK_S = 0.05
#: How long a region rests that cannot be served, doubling from the first to the last time, seconds.
REST_S_FIRST = 1.0
REST_S_LAST = 10.0


class OneRegion(Protocol):
    """Intake, as it is called for one region (`pipeline.center.intake.Intake`)."""

    def step(self, region: str, up_bytes: int = ...) -> IntakeResult:
        """Take in what lies first in its streams."""

    def probe(self) -> None:
        """Raise what every region would meet now."""


@dataclass
class Turns:
    """Calls `intake` for regions, in a fair order; `took` is told what came of each call, `failed` of each
    that failed because of its region."""

    link: CenterLink
    intake: OneRegion
    clock: Clock
    took: Callable[[str, IntakeResult], None]
    failed: Callable[[str, TitianError], None] = lambda _region, _why: None
    share: FairShare = field(default_factory=FairShare)
    _rests: dict[str, tuple[float, float]] = field(default_factory=dict)

    def waiting(self, regions: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Entries in (`ctl`, `up`) of the regions that have any and do not rest."""
        return self.link.lengths(self.awake(regions))

    def awake(self, regions: Sequence[str]) -> list[str]:
        """The regions that do not rest."""
        now_s = self.clock.now_s()
        return [one for one in regions if one not in self._rests or self._rests[one][0] <= now_s]

    def once(self, waiting: dict[str, tuple[int, int]]) -> None:
        """The `ctl` of all that have something there, then turns for a moment (at least one).

        Raises `StoreError` or `Unreachable` where no region could be served now.
        """
        until_s = self.clock.now_s() + LOOK_S
        first = [one for one, (ctl, _) in waiting.items() if ctl and self.share.may_be_first(one)]
        left = {one for one, (_, up) in waiting.items() if up or one not in first}
        for region in first:
            if self._step(region, 0) is None:
                left.discard(region)
        while (turn := self.share.next(left)) is not None:
            done = self._step(turn.region, turn.bytes)
            if done is None or not done.more:
                left.discard(turn.region)
            if self.clock.now_s() >= until_s:
                break

    def _step(self, region: str, up_bytes: int) -> IntakeResult | None:
        try:
            done = self.intake.step(region, up_bytes)
        except TitianError as why:
            self.intake.probe()
            self.share.passed(region)
            before_s = self._rests.get(region, (0.0, REST_S_FIRST / 2))[1]
            rest_s = min(2 * before_s, REST_S_LAST)
            self._rests[region] = self.clock.now_s() + rest_s, rest_s
            self.failed(region, why)
            return None
        self._rests.pop(region, None)
        self.share.spent(region, done.bytes)
        self.took(region, done)
        return done
