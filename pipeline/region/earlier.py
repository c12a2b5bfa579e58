"""Step 3: tells the center which epochs came before the current one (`Want.earlier`): a `Voice`.

The center may hear of an epoch first by what a mirror or a courier brings of it, when another one follows it
already. It is told the order before any such frame goes, in each of its lives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from schemas.messages import EARLIER_MAX, Ack, Want


class OwnEpochs(Protocol):
    """The epochs of the outbox."""

    def earlier(self, epoch: str) -> Sequence[str]:
        """Those before `epoch`, oldest first."""


def no_others() -> Sequence[str]:
    """No epochs of another machine."""
    return ()


@dataclass
class Earlier:
    """See `pipeline.region.voices.Voice`. `others`: epochs of a machine that is gone, oldest first: they
    come before all of the outbox's own."""

    own: OwnEpochs
    others: Callable[[], Sequence[str]] = no_others
    _epoch: str = ""
    _own: tuple[str, ...] = ()
    _known: tuple[str, ...] = ()
    _said: tuple[str, ...] = ()
    _said_n: int = 0
    _life: str = field(default="", repr=False)

    def news(self) -> bool:
        """See the port: it goes with the next want."""
        return False

    def ask(self, want: Want) -> Want:
        """See the port: until a want that said it is answered."""
        if want.epoch != self._epoch:
            self._epoch, self._own, self._known = want.epoch, tuple(self.own.earlier(want.epoch)), ()
        mine = {*self._own, want.epoch}
        listed = (*(one for one in self.others() if one not in mine), *self._own)[-EARLIER_MAX:]
        if not listed or listed == self._known:
            return want
        if listed != self._said or not self._said_n:
            self._said, self._said_n = listed, want.n
        return want.model_copy(update={"earlier": list(listed)})

    def hear(self, ack: Ack, now_ms: int) -> None:
        """See the port. Another life of the ledger may not know what the one before was told."""
        del now_ms
        if ack.since.incarnation != self._life:
            self._life, self._known, self._said_n = ack.since.incarnation, (), 0
        elif ack.epoch == self._epoch and 0 < self._said_n <= ack.n:
            self._known, self._said_n = self._said, 0

    def holds(self) -> str:
        """See the port: nothing waits for this."""
        return ""
