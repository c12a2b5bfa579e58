"""The port of the link at the region's end (steps 3 and 7), and what it says of a frame that was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pipeline.ports import EntryId
from pipeline.throttle import ThrottleView

#: Stands where a control message, which has no id of ours, is spoken of.
NO_ENTRY = EntryId(0, 0)


class Accepted(NamedTuple):
    """The center's broker has the entry (now, or already from an earlier try with the same id)."""

    entry: EntryId


class Full(NamedTuple):
    """The center's broker has no memory for the entry: a hold, not a fault. It was not taken."""

    entry: EntryId


SendOutcome = Accepted | Full


class RegionLink(Protocol):
    """The region's end of the link. Any method may raise `LinkDown`: then what was in flight is unknown,
    and the next call connects anew. `LinkDenied` means that credentials are wrong."""

    def send(self, entry: EntryId, frame: bytes) -> None:
        """Put a frame on its way to `up`, without waiting for the answer; order is kept."""

    def throttle(self) -> ThrottleView | None:
        """How the throttle of `up` stands; `None` where this link has none."""

    def send_urgent(self, entry: EntryId, frame: bytes) -> None:
        """Put a frame on its way to `ctl`, without waiting; order is kept with `send_control`. Its outcome is
        known by `entry`; the stream's own ids are the broker's."""

    def outcomes(self, wait_s: float) -> list[SendOutcome]:
        """The answers that came, those of each stream in the order sent; waits at most `wait_s` for the first
        of `up`. A repeated send of an entry that is there already answers `Accepted`. `Full(NO_ENTRY)`: the
        broker had no memory for a control message."""

    def ask_length(self) -> None:
        """Ask how many entries lie in `up`, without waiting: `lengths` tells. A control message that is sent
        after it arrives after it was answered."""

    def lengths(self) -> list[int]:
        """The answers to `ask_length` that came, in order, each once."""

    def send_control(self, frame: bytes) -> None:
        """Put a frame on its way to `ctl`, without waiting; order is kept. That the broker has no memory for
        it stands among the `outcomes`, that it has it is not said."""

    def read_down(self, after: EntryId, wait_s: float) -> list[tuple[EntryId, bytes]]:
        """Entries of `down` after `after`, in order (some of them); waits at most `wait_s` for the first.

        Implementations keep several reads in flight. An entry of a later session than `after` may come."""

    def delete_down(self, entries: Sequence[EntryId]) -> None:
        """Take entries out of `down`, after what they said is committed here; does not wait."""

    def close(self) -> None:
        """Let go of every connection; may be called from another thread to end a wait."""
