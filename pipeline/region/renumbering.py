"""Steps 2 and 3: tells the center what its packets were called before (`Want.renumbered`): a `Voice`.

A region that went on in a new epoch numbered anew what the center had not spoken of. The older names stand
in the outbox in one order that does not change within an epoch; the center says how many of them it knows,
and is told the next. A center that knows none of this says always the same number: it is told once in each of
its lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.messages import RUNS_MAX, Ack, Run, Want


class OlderNames(Protocol):
    """The older names of packets of an epoch, in their order."""

    def count(self, epoch: str) -> int:
        """How many there are."""

    def runs(self, epoch: str, after: int, limit: int) -> Sequence[Run]:
        """The next `limit` runs behind the first `after` names."""


@dataclass
class Renumbering:
    """See `pipeline.region.voices.Voice`. `names` counts once an epoch; nothing more is asked of it while the
    center knows them all."""

    names: OlderNames
    _epoch: str = ""
    _count: int = 0
    _known: int | None = None
    _said_n: int = 0
    _said_from: int = 0
    _deaf: str = field(default="", repr=False)
    _incarnation: str = field(default="", repr=False)

    def news(self) -> bool:
        """See the port: the center has answered, and does not know them all."""
        return not self._said_n and self._left()

    def ask(self, want: Want) -> Want:
        """See the port: the runs behind those that the center knows, once it has said how many that are."""
        if want.epoch != self._epoch:
            self._epoch, self._count = want.epoch, self.names.count(want.epoch)
            self._known, self._said_n = None, 0
        if self._known is None or not self._left():
            return want
        runs = list(self.names.runs(want.epoch, self._known, RUNS_MAX))
        self._said_n, self._said_from = want.n, self._known
        return want.model_copy(update={"renumbered": runs})

    def hear(self, ack: Ack, now_ms: int) -> None:
        """See the port. An ack that answers what was told, and knows no more than before, is of a center that
        does not take it: nothing more is told to that life of it."""
        del now_ms
        if ack.epoch != self._epoch:
            return
        self._incarnation = ack.since.incarnation
        if self._said_n and ack.n >= self._said_n:
            if ack.renumbered <= self._said_from:
                self._deaf = self._incarnation
            self._said_n = 0
        self._known = ack.renumbered

    def holds(self) -> str:
        """See the port: nothing waits for this."""
        return ""

    def _left(self) -> bool:
        known = self._known
        return known is not None and known < self._count and self._deaf != self._incarnation
