"""What has something to say in a `want`, beside the cursors, and listens to `ack`s: the port of such a part.

`push` asks each voice in turn and knows nothing of what it says. A voice never touches the link.
"""

from __future__ import annotations

from typing import Protocol

from schemas.messages import Ack, Want


class Voice(Protocol):
    """One part that speaks in wants. Called by `push` only, in its thread."""

    def news(self) -> bool:
        """Whether there is something that should be said at once."""

    def ask(self, want: Want) -> Want:
        """The want with what this part has to say."""

    def hear(self, ack: Ack, now_ms: int) -> None:
        """The newest ack of our session, once all the facts that it knows of are settled here."""

    def holds(self) -> str:
        """Why no packet may be sent now; empty where nothing stands against it."""
