"""Steps 2 and 3, pure: the frames on their way, and when one of them counts as lost.

A frame is sent again only on evidence (rule 6), never after a time. The evidence has three parts, and they
must come in this order: the frame's entry is gone from the stream (`observe`); a `want` was sent after that;
the `ack` that answers it, or a later one, has been met and all the facts that it knows of are settled here,
and still nothing covers the frame (`lost`). The center takes from the front of the stream and deletes only
after its commit, so "gone, and the ledger does not know it" can only mean that the stream was lost.

Entries leave the stream in the order of their ids, and ours are the only ones there. So once the newest
`length` frames that the broker is known to have accepted account for all that lies in the stream, every older
frame is gone: whoever took it, and whether or not it ever arrived. Frames whose outcome is unknown (the link
broke, the process restarted) are never sent again blindly; they are judged in the same way.

Small urgent packets are the exception: they go into `ctl`, before the wants, and intake takes that stream in
order. Whatever want is sent after such a frame lies behind it, so an answer to that want which does not know
the frame is all the evidence there is; the stream need not be asked. A frame that a dying connection still
delivers behind a want of the next one may so be sent twice, which the ledger does not mind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from pipeline.ports import EntryId, Sent
from schemas.lanes import Lane
from schemas.ranges import Ranges, covers, without


@runtime_checkable
class StreamWatch(Protocol):
    """A voice that wants to know when nothing lies in the stream, of whomever."""

    def stream_was_empty(self, n: int) -> None:
        """`up` held nothing when its length was asked for, before want `n` was sent."""


#: The number of an instance's first want: what an earlier one left in `ctl` lies before it.
FIRST_WANT = 1


class Outcome(Enum):
    """What is known of a frame that was handed to the link."""

    ON_THE_WIRE = "handed to the connection that is open now"
    ACCEPTED = "the broker has said that it has it"
    UNKNOWN = "the connection or the process ended before an answer came"


@dataclass
class Flight:
    """One frame on its way. `bytes` on the link; `left`: seqs of which the center has said nothing yet.

    `gone_n`: the number of the want that was to be sent next when its entry was seen to be gone from the
    stream (`None`: not seen gone); of a frame in `ctl`, when it was sent.
    """

    sent: Sent
    bytes: int
    left: Ranges
    outcome: Outcome
    gone_n: int | None = None

    @property
    def in_ctl(self) -> bool:
        """Whether it went into `ctl`."""
        return by_ctl(self.sent)


def by_ctl(sent: Sent) -> bool:
    """Whether such a frame travels in `ctl`: small urgent packets do, chunks of large ones do not."""
    return sent.lane is Lane.URGENT and sent.span is None


class Flights:
    """All frames that are claimed and not settled, oldest entry first."""

    def __init__(self, restored: Iterable[Sent] = ()) -> None:
        self._by_entry: dict[EntryId, Flight] = {}
        #: Bytes on the link that the center has acknowledged so far.
        self.acknowledged_bytes = 0
        self.recall(restored, FIRST_WANT)

    def __len__(self) -> int:
        return len(self._by_entry)

    def __contains__(self, entry: EntryId) -> bool:
        return entry in self._by_entry

    @property
    def bytes(self) -> int:
        """Bytes claimed and not acknowledged by the ledger: what the receipt window bounds."""
        return sum(flight.bytes for flight in self._by_entry.values())

    @property
    def on_the_wire_bytes(self) -> int:
        """Bytes handed to the connection of `up` and not confirmed by the broker: what the link window
        bounds."""
        flights = self._by_entry.values()
        return sum(f.bytes for f in flights if f.outcome is Outcome.ON_THE_WIRE and not f.in_ctl)

    @property
    def ctl_on_the_wire_bytes(self) -> int:
        """The same, of `ctl`."""
        flights = self._by_entry.values()
        return sum(f.bytes for f in flights if f.outcome is Outcome.ON_THE_WIRE and f.in_ctl)

    @property
    def ctl_bytes(self) -> int:
        """Bytes sent by `ctl` and not acknowledged by the ledger."""
        return sum(f.bytes for f in self._by_entry.values() if f.in_ctl)

    def add(self, sent: Sent, frame_bytes: int, next_n: int) -> None:
        """A frame goes on its way, before want `next_n`."""
        gone_n = next_n if by_ctl(sent) else None
        self._by_entry[sent.entry] = Flight(sent, frame_bytes, sent.seqs, Outcome.ON_THE_WIRE, gone_n)

    def recall(self, claimed: Iterable[Sent], next_n: int) -> None:
        """What the outbox has claimed and nobody here knows, before want `next_n`: whether it ever went is
        unknown. What is known of the others stays."""
        # The size on the link is not kept over a restart: what a frame carries is at least as much, so the
        # window errs to the careful side.
        missing = {
            one.entry: Flight(one, one.bytes, one.seqs, Outcome.UNKNOWN, next_n if by_ctl(one) else None)
            for one in claimed
            if one.entry not in self._by_entry
        }
        self._by_entry = dict(sorted((self._by_entry | missing).items()))

    def accept(self, entry: EntryId) -> None:
        """The broker has it (frames settled meanwhile are passed over)."""
        flight = self._by_entry.get(entry)
        if flight is not None:
            flight.outcome = Outcome.ACCEPTED

    def cut(self) -> None:
        """The connection is gone: what was on the wire may have arrived or not."""
        for flight in self._by_entry.values():
            if flight.outcome is Outcome.ON_THE_WIRE:
                flight.outcome = Outcome.UNKNOWN

    def sent(self, entry: EntryId) -> Sent | None:
        """What was claimed under `entry`, while it is on its way."""
        flight = self._by_entry.get(entry)
        return None if flight is None else flight.sent

    def forget(self) -> None:
        """All of them are of an epoch that is over."""
        self._by_entry.clear()

    def drop(self, entries: Iterable[EntryId]) -> None:
        """Forget frames: they are settled, covered or requeued."""
        for entry in entries:
            self._by_entry.pop(entry, None)

    def settle(self, seqs: Ranges) -> list[EntryId]:
        """The center has spoken of these packets: take them off; returns the frames that are done by it."""
        done = []
        for entry, flight in self._by_entry.items():
            flight.left = without(flight.left, seqs)
            if not flight.left:
                done.append(entry)
        self._arrived(done)
        return done

    def cover(self, partly: dict[int, Ranges]) -> list[EntryId]:
        """The ledger holds these byte ranges of incomplete packets; returns the chunk frames done by it."""
        done = [
            entry
            for entry, flight in self._by_entry.items()
            if flight.sent.span is not None
            and covers(partly.get(flight.sent.seqs[0][0], ()), flight.sent.span)
        ]
        self._arrived(done)
        return done

    def _arrived(self, entries: list[EntryId]) -> None:
        self.acknowledged_bytes += sum(self._by_entry[entry].bytes for entry in entries)
        self.drop(entries)

    def mark(self) -> EntryId | None:
        """The newest frame of `up` whose outcome is known or will never be: up to there a length that is
        asked for now can be accounted for, however many frames are accepted until it is told."""
        known = (
            entry
            for entry, flight in self._by_entry.items()
            if flight.outcome is not Outcome.ON_THE_WIRE and not flight.in_ctl
        )
        return max(known, default=None)

    def observe(self, length: int, next_n: int, mark: EntryId | None) -> int:
        """`length` entries lay in `up` when `mark` was taken, before want `next_n` was sent. Returns how many
        frames of ours are newly seen to be gone."""
        accounted = newly = 0
        for entry, flight in reversed(self._by_entry.items()):
            if mark is None or entry > mark or flight.in_ctl:
                continue
            if accounted >= length and flight.outcome is not Outcome.ON_THE_WIRE:
                if flight.gone_n is None:
                    flight.gone_n = next_n
                    newly += 1
            elif flight.outcome is Outcome.ACCEPTED:
                accounted += 1
        return newly

    def lost(self, answered_n: int) -> list[Sent]:
        """Frames that were gone before want `answered_n` was sent and are still not covered. Call it only
        when every fact that the ack knew of is settled and its ranges are met (`settle`, `cover`)."""
        return [
            flight.sent
            for flight in self._by_entry.values()
            if flight.gone_n is not None and flight.gone_n <= answered_n
        ]
