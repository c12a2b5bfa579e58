"""The ports: what the pipeline asks of stores, of the link and of the clock. Adapters answer.

Times: `now_ms` is the wall clock in milliseconds (informative: it decides no order and no acceptance),
`now_s` a monotonic clock in seconds. All byte strings are whole and immutable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from schemas.lanes import Lane
from schemas.ranges import Ranges

if TYPE_CHECKING:  # who only looks at counts loads no models of messages
    from schemas.asks import Answer
    from schemas.back import BackFrame
    from schemas.feed import FactGroup, RecordChange, Span
    from schemas.messages import Ask, Back, Since


class Clock(Protocol):
    """The two clocks of a process."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""

    def now_s(self) -> float:
        """Monotonic clock, seconds."""


# --- the link -----------------------------------------------------------------------------------


class EntryId(NamedTuple):
    """The explicit id of an entry of `up` or `down`: `<session>-<n>`, n = 1, 2, 3 ... within a session."""

    session: int
    n: int

    def __str__(self) -> str:
        return f"{self.session}-{self.n}"


class LaneGate(Protocol):
    """What people asked of the lanes: pauses, caps, the timetable."""

    def open_lanes(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        """Those of `lanes` that may send a frame now, in the same order."""

    def spent(self, lane: Lane, frame_bytes: int) -> None:
        """A frame of `lane` went."""


class Arrival(NamedTuple):
    """An entry as intake reads it: `id` is the broker's text, `attempts` how often it was read before."""

    id: str
    frame: bytes
    attempts: int


class DownHint(NamedTuple):
    """Where `deliver` stands in a region's `down`, written in one step with the entry that it speaks of.

    `sizes` are the bytes of the last entries, newest last, so that what lies there unread can be counted.
    `answered` is the `n` of the want that the last ack answered, `incarnation` the ledger's that they are of.
    `back` is the `schemas.back.Position` of a rebuild (`None`: there is none), `asks` how far each question
    has been answered in this session (`(id, at)`; -1: to its end).
    """

    session: int
    n: int
    facts: int
    records: int
    answered: int
    sizes: tuple[int, ...] = ()
    incarnation: str = ""
    back: tuple[int, int, int] | None = None
    asks: tuple[tuple[int, int], ...] = ()


#: What intake reads at a time at most, bytes of frames.
READ_BYTES_MAX = 4 * 1024 * 1024


class CenterLink(Protocol):
    """The center's end: its own broker, on the same machine. Raises `Unreachable` when it is away."""

    def memory(self) -> tuple[int, int]:
        """Bytes that the broker holds, and may hold (0: nobody knows, or nothing bounds it)."""

    def wait(self, regions: Sequence[str], wait_s: float) -> None:
        """Return when something lies in any region's `ctl` or `up`, or after `wait_s`."""

    def lengths(self, regions: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Entries in (`ctl`, `up`) by region, for those that have any."""

    def read(self, region: str, stream: str, count: int, bytes_max: int = READ_BYTES_MAX) -> list[Arrival]:
        """The first entries of `ctl` or `up`, which stay there: at most `count`, and up to the one with which
        their frames reach `bytes_max`. Their attempts are counted before they are handed out, in the broker
        (a wiped broker forgets both together)."""

    def delete(self, region: str, stream: str, ids: Sequence[str]) -> None:
        """Take entries out, and forget their attempts."""

    def last_session(self, region: str) -> int:
        """The highest session that any id of the region's `up` or `down` has named (0: none)."""

    def put_down(self, region: str, entry: EntryId, frame: bytes, hint: DownHint) -> bool:
        """Append a frame to `down` and set the hint in one step; False if the id is not above the last."""

    def hint(self, region: str) -> DownHint | None:
        """The position hint, if the broker still has it."""

    def down_first(self, region: str) -> EntryId | None:
        """The oldest entry that the region has not taken yet."""

    def clear_down(self, region: str) -> None:
        """Drop everything in `down`: it was made for a session that is over."""


# --- the region's stores ------------------------------------------------------------------------


class Batch(NamedTuple):
    """Claimed for one frame: whole small packets, in rising seq. `stored[i]` belongs to the i-th seq."""

    entry: EntryId
    lane: Lane
    seqs: Ranges
    stored: tuple[bytes, ...]


class Chunk(NamedTuple):
    """Claimed for one frame: a part of one large packet's stored bytes, `[offset, offset + len(data))`."""

    entry: EntryId
    lane: Lane
    seq: int
    size: int
    digest: bytes
    offset: int
    data: bytes


class Sent(NamedTuple):
    """A frame that was claimed and is not yet settled, as the outbox keeps it.

    `span` is the chunk's `(start, stop)`, `None` for a batch. `bytes` is the size of what it carries.
    """

    entry: EntryId
    lane: Lane
    seqs: Ranges
    span: tuple[int, int] | None
    bytes: int


class Settled(NamedTuple):
    """What settling facts did: `to` the position reached, `settled` the own-epoch packets that they speak
    of, `forks` groups whose hash is not that of our own rows (not applied)."""

    to: int
    settled: Ranges
    forks: tuple[FactGroup, ...]


class Outbox(Protocol):
    """The region's durable queue of packets, seen from `push`. Every method is one transaction."""

    #: `epoch` is the current one: it changes when a new one begins, also by another process.
    region: str
    epoch: str

    def data_version(self) -> int:
        """A number that changes when another connection has written (microseconds to ask)."""

    def highest_seq(self) -> int:
        """The seq of the newest packet (0: none)."""

    def claim(
        self,
        entry: EntryId,
        lanes: Sequence[Lane],
        batch_bytes_max: int,
        chunk_bytes_max: int,
        now_ms: int,
    ) -> Batch | Chunk | None:
        """What goes next, from the first of `lanes` that has any, recorded as sent under `entry`; what was
        requeued goes first. A batch holds at most `batch_bytes_max` stored bytes (at least one packet), a
        chunk at most `chunk_bytes_max`. What is claimed is of the epoch that `epoch` says afterwards; nothing
        is while there is doubt about what the center has (`pipeline.region.forked`), and what is damaged is
        put aside, never claimed."""

    def in_flight(self) -> list[Sent]:
        """Every frame that is claimed and not settled, oldest entry first."""

    def cover(self, partly: dict[int, Ranges], done: Sequence[EntryId]) -> None:
        """Keep the byte ranges that the center says it holds of incomplete packets (restated in full: a
        packet that is not named has none), and forget the frames `done`."""

    def requeue(self, lost: Sequence[Sent], now_ms: int) -> int:
        """The frames are lost: forget them, and let what they carried wait again, except what has a receipt
        or is covered. Returns how many packets wait again."""

    def settle(
        self, facts: Sequence[tuple[int, FactGroup]], to: int, now_ms: int, start: int | None = None
    ) -> Settled:
        """Merge facts `(position, group)` into our packets, up to position `to`; frames all of whose packets
        have a word of the center are forgotten. A later position wins; doing it again changes nothing. With
        `start`, nothing is done unless that is still the position reached (a rewind came between). A group
        that is not of our packets begins a doubt."""

    def settled_to(self) -> int:
        """The position up to which facts are settled."""

    def take_back(self, above: int, now_ms: int) -> int:
        """The center's ledger went back: forget facts of a position above `above`; those packets wait again.
        Returns how many. Those that cannot be sent any more (attachments deleted) keep their word."""

    def heads(self, seqs: Iterable[int]) -> dict[int, bytes]:
        """The beginning (length and head) of packets' stored bytes, for records sent by reference: of those
        whose receipt is settled, so that they are the packets which the center speaks of."""


class Cursors(NamedTuple):
    """How far the region has got in its two sequences, and under which incarnations (newest last).

    `fresh`: it has nothing yet and waits to be told where to begin; `back`: how far its rebuild has got."""

    facts: int
    records: int
    history: tuple[Since, ...]
    fresh: bool = False
    back: Back | None = None


class Registry(Protocol):
    """The region's copy of its records, with the cursors and facts. Every method is one transaction."""

    def cursors(self) -> Cursors:
        """Where the region stands."""

    def adopt(self, since: Since) -> None:
        """The ledger has a new incarnation: append it to the history (the same again changes nothing)."""

    def rewind(self, facts: int, records: int, since: Since) -> None:
        """Go back to the common point: cursors down to it, facts above it forgotten, records above it open to
        any version; histories above it are dropped and `since` appended."""

    def apply_facts(self, span: Span, groups: Sequence[FactGroup], now_ms: int) -> bool:
        """Store the groups under position `span.to` and move the cursor there, if start <= cursor < to;
        otherwise change nothing and return False."""

    def apply_records(self, span: Span, changes: Sequence[RecordChange], now_ms: int) -> bool:
        """Apply each change whose version is newer than what is held (heads are all there), and move the
        cursor, if start <= cursor < to; otherwise change nothing and return False."""

    def facts_after(self, position: int, limit: int) -> list[tuple[int, FactGroup]]:
        """Stored groups of a position above `position`, in order (whole positions; at least one if any)."""

    def forget_facts(self, upto: int, epoch: str) -> None:
        """The outbox of `epoch` has settled up to `upto`: groups of that epoch up to there may go."""

    def keep_raw(self, span: Span, sequence: str, frame: bytes, reason: str, now_ms: int) -> bool:
        """A frame that verifies but is not understood: keep it for a later version and move the cursor of
        `sequence` (`facts` or `records`) past it, under the same condition as above. A frame of `back` is
        kept and moves nothing: its position goes on with `apply_back`. Returns whether it was kept."""

    def record_count(self) -> int:
        """How many records are held."""

    # --- the rebuild, and questions that jump the queue (design section 7) ---

    def start_at(self, facts: int, records: int, since: Since, now_ms: int) -> None:
        """A fresh registry begins: its cursors are these tops, and the way back starts below them. Changes
        nothing where it has begun already."""

    def apply_back(self, frame: BackFrame, now_ms: int) -> bool:
        """Apply a frame of the way back (records whose version is newer than what is held, or pieces) and go
        to `frame.to`, if `frame.start` is not behind our position and `frame.to` is; otherwise change nothing
        and return False. The end of pass 1 is the event `open for service`."""

    def asks(self) -> tuple[Ask, ...]:
        """Questions that have no whole answer yet, oldest first, at most `schemas.messages.ASKS_MAX`."""

    def apply_answer(self, answer: Answer, now_ms: int) -> bool:
        """Take in a part of an answer, if its question is open and `answer.at` is where it stands; otherwise
        change nothing and return False. A record, and pieces of attachments, are applied."""
