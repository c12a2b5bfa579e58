"""Step 7: questions that jump the queue, as push says them: they stand in each want until answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.ports import Registry
from schemas.messages import Ack, Want


@dataclass
class Questions:
    """The voice of the registry's open questions (`schemas.asks`)."""

    registry: Registry
    _said: set[int] = field(default_factory=set)

    def news(self) -> bool:
        """Whether there is a question that no want has asked yet."""
        return any(one.id not in self._said for one in self.registry.asks())

    def ask(self, want: Want) -> Want:
        """The want with the questions; how far the answers have come stands with them."""
        asks = self.registry.asks()
        self._said = {one.id for one in asks}
        return want.model_copy(update={"asks": list(asks)}) if asks else want

    def hear(self, ack: Ack, now_ms: int) -> None:
        """Answers come in frames of their own."""

    def holds(self) -> str:
        """A question stands against nothing."""
        return ""
