"""Step 3: what waits is announced, and told again only on evidence (rule 6): an ack that does not know it.

One frame of announcements at a time has no answer. The ack restates what the ledger knows from a seq on that
the want names: while a frame is unanswered, from its first; and after a start of ours, or in a new life of
the ledger, once through all that we believe it knows, before anything else is told. A center that says
nothing of announcements is older than they are, and is told nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.region.announcing import FRAME_PACKETS, SPAN_S, Flow, LaneStand, ToldStore, rest_s, to_tell
from schemas.announcement import Announcement, pack_announcements
from schemas.frame import Kind
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX
from schemas.messages import Ack, Want
from schemas.ranges import Ranges, from_numbers, from_wire, without

#: Between two looks at what waits, seconds; where the last one found nothing to tell: `IDLE_LOOK_S`.
LOOK_S, IDLE_LOOK_S = 1.0, 5.0

#: kind, body, lane, seqs -> frame
Seal = Callable[[Kind, bytes, Lane, Ranges], bytes]


class _Told(NamedTuple):
    """The frame without an answer: what it tells, and the want that was to be sent next after it."""

    seqs: Ranges
    next_n: int


@dataclass
class Announcer:
    """Says what to announce, and what to ask. `store` is `None` where nothing is announced."""

    store: ToldStore | None = None
    _knows_them: bool = False
    _full: bool = False
    _incarnation: str = ""
    _look_through: int | None = 0
    _unanswered: _Told | None = None
    _looked_s: float | None = None
    _next_look_s: float = 0.0
    _next_frame_s: float = 0.0
    _left: dict[Lane, Flow] = field(default_factory=lambda: {lane: Flow() for lane in Lane})
    _wire: Flow = field(default_factory=Flow)
    _moved_s: dict[Lane, float] = field(default_factory=dict)

    # --- what is asked, and answered ------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether an ack is waited for."""
        open_ = self._unanswered is not None or self._look_through is not None
        return self.store is not None and self._knows_them and open_

    def ask(self, want: Want) -> Want:
        """The want, with what it is to ask about announcements."""
        if self.store is None:
            return want
        start = self._look_through if self._unanswered is None else self._unanswered.seqs[0][0]
        return want.model_copy(update={"announced_from": start})

    def hear(self, ack: Ack) -> None:
        """An ack, after everything else that it says was done: all facts that it knows of are settled."""
        said = ack.announced
        self._knows_them = said is not None
        if said is None or self.store is None:
            return
        self._full = said.full
        if ack.since.incarnation != self._incarnation:  # perhaps restored from a backup that knows less
            self._incarnation, self._look_through = ack.since.incarnation, 0
        if said.start >= said.stop:
            return
        open_ = self._unanswered
        asked = open_ is not None and open_.next_n <= ack.n
        keep = open_.seqs if open_ is not None and not asked else ()
        self.store.restate(said.start, said.stop, from_wire(said.ranges), keep)
        if open_ is not None and asked:
            left = without(open_.seqs, ((said.start, said.stop),))
            self._unanswered = open_._replace(seqs=left) if left else None
        if self._look_through is not None and said.start <= self._look_through < said.stop:
            self._look_through = None if said.stop == INTEGER_MAX else said.stop

    # --- what is told ---------------------------------------------------------------------------

    def left(self, lane: Lane, stored_bytes: int, frame_bytes: int, now_s: float) -> None:
        """A frame of packets was handed to the link."""
        self._left[lane].add(stored_bytes, now_s)
        self._wire.add(frame_bytes, now_s)
        self._moved_s[lane] = now_s

    def frame(self, now_s: float, now_ms: int, next_n: int, seal: Seal) -> bytes | None:
        """The frame of announcements to send now, if any; what it tells counts as told from here on, until an
        ack that answers want `next_n` or a later one says otherwise."""
        if self.store is None or now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_S
        lanes = self._stands(self.store, now_s)
        if not self._knows_them or self._full or self.waits or now_s < self._next_frame_s:
            return None
        for lane, skip in to_tell(lanes):
            found = self.store.untold(lane, skip, FRAME_PACKETS)
            if found:
                return self._tell(lane, found, now_s, now_ms, next_n, seal)
        self._next_look_s = now_s + IDLE_LOOK_S
        return None

    def _tell(
        self,
        lane: Lane,
        found: Sequence[tuple[int, Announcement]],
        now_s: float,
        now_ms: int,
        next_n: int,
        seal: Seal,
    ) -> bytes:
        seqs = from_numbers(seq for seq, _ in found)
        frame = seal(Kind.ANNOUNCE, pack_announcements([said for _, said in found]), lane, seqs)
        assert self.store is not None
        self.store.tell(lane, [seq for seq, _ in found], now_ms)
        self._unanswered = _Told(seqs, next_n)
        self._next_frame_s = now_s + rest_s(len(frame), self._wire.rate(now_s))
        return frame

    def _stands(self, store: ToldStore, now_s: float) -> dict[Lane, LaneStand]:
        """How the lanes stand. While the link is down nobody asks, and no lane is blamed for that time."""
        if self._looked_s is not None and now_s - self._looked_s >= SPAN_S:
            self._moved_s = dict.fromkeys(Lane, now_s)
        self._looked_s = now_s
        lanes: dict[Lane, LaneStand] = {}
        for lane, waits in store.backlog().items():
            if not waits.packets:
                self._moved_s[lane] = now_s
            still_s = now_s - self._moved_s.setdefault(lane, now_s)
            lanes[lane] = LaneStand(waits.packets, waits.bytes, self._left[lane].rate(now_s), still_s)
        return lanes
