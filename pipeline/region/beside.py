"""Step 3: frames for `up` that are not of the outbox, in what its own leave free: the port of such a source.

`push` asks for one when nothing of its own waits and the windows have room; and, so that a full outbox does
not keep them for ever, after every `OWN_A_TURN` frames of its own. It tells what became of each, and
when `up` was seen empty after all of them were accepted: then the center has taken them in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pipeline.ports import EntryId
from schemas.lanes import Lane

#: Frames of the outbox's own between two of others, where both wait: these get a tenth of the frames.
OWN_A_TURN = 9


class FrameSource(Protocol):
    """Called by `push` only, in its thread; it never waits."""

    def next(self, may_go: Callable[[Lane], bool]) -> tuple[Lane, bytes] | None:
        """The next frame, and its lane, if that may go."""

    def sent(self, entry: EntryId) -> None:
        """It is handed to the link under that entry."""

    def answered(self, entry: EntryId) -> None:
        """The center's broker has it, or had no memory for it (entries of others are passed over)."""

    def cut(self) -> None:
        """The connection broke: what was on the wire may have arrived or not."""

    def unjudged(self) -> bool:
        """Whether it should be asked how many entries lie in `up`: frames went, and no answer is waited for
        any more."""

    def emptied(self) -> None:
        """`up` was empty after `unjudged` was true."""


class NoFrames:
    """There are none."""

    def next(self, may_go: Callable[[Lane], bool]) -> tuple[Lane, bytes] | None:
        """See the port."""

    def sent(self, entry: EntryId) -> None:
        """See the port."""

    def answered(self, entry: EntryId) -> None:
        """See the port."""

    def cut(self) -> None:
        """See the port."""

    def unjudged(self) -> bool:
        """See the port."""
        return False

    def emptied(self) -> None:
        """See the port."""
