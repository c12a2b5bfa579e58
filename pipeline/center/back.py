"""Step 6: the way back of a rebuild: what goes into its next frame, and how much of the pass is left.

The position is `deliver`'s hint, or the region's want. What is kept here is only to save work: a stretch of
the way that was read ahead, so that nothing is asked twice, and a count that is made once a pass and session.
A stretch may be older than what has happened since: a record that moved meanwhile comes again above the top,
and a version is a version.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pipeline.center.acks import Standing
from pipeline.ports import Clock, DownHint
from schemas.back import PASS_OPEN, PASS_PICTURES, PASSES_DONE, BackFrame, Piece, Position
from schemas.feed import RecordChange
from schemas.messages import Back, Want

#: What is read ahead at a time: records, and bytes of them.
AHEAD_RECORDS, AHEAD_BYTES = 2_000, 1024 * 1024
#: Stretches read for one frame at most: one may hold nothing (records of another pass, no attachments).
STRETCHES_A_FRAME = 4
#: Regions of which something is kept.
COURSES_MAX = 64


class Step(NamedTuple):
    """A record of the way back, or a piece of one's attachments, or neither (nothing to send of it). With it
    the region stands at `to`, and `passed` more records (0 or 1) of the pass are behind it."""

    to: Position
    bytes: int
    passed: int
    record: RecordChange | None = None
    piece: Piece | None = None


class Stretch(NamedTuple):
    """A part of the way back, in order. `to`: how far it was looked; `end`: nothing of this pass is further
    down; `unreadable`: packets (epoch's id, seq) whose bytes cannot be read: left out."""

    steps: tuple[Step, ...]
    to: Position
    end: bool
    unreadable: tuple[tuple[int, int], ...] = ()


class BackFeed(Protocol):
    """The ledger as the way back sees it."""

    def way_back(
        self, region: str, at: Position, records_max: int, bytes_max: int, piece_bytes: int, own_epoch: str
    ) -> Stretch:
        """What comes after `at`: at most `records_max` records looked at, about `bytes_max` bytes (at least
        one record), attachments in pieces of `piece_bytes`. The region itself holds those of `own_epoch`."""

    def back_left(self, region: str, pass_no: int, floor: int) -> int:
        """How many records of that pass are numbered `floor` or below."""

    def note_unreadable(self, region: str, packets: Sequence[tuple[int, int]], now_ms: int) -> None:
        """Write down that these packets (epoch's id, seq), which records were made from, cannot be read."""


@dataclass
class _Course:
    """One region on its way back: its next frame begins at `at`, `ahead` is where the next stretch does."""

    session: int
    incarnation: str
    at: Position
    ahead: Position
    left: int
    total: int
    steps: deque[Step] = field(default_factory=deque)
    bytes: int = 0
    end: bool = False


class WayBack:
    """Makes `back` frames."""

    def __init__(self, feed: BackFeed, clock: Clock) -> None:
        self._feed, self._clock = feed, clock
        self._courses: dict[str, _Course] = {}

    def next(
        self, standing: Standing, hint: DownHint, heads_bytes: int, pieces_bytes: int
    ) -> BackFrame | None:
        """The frame that goes on from `hint.back`, with at most `heads_bytes` of records or `pieces_bytes` of
        attachments before compression (at least one); `None` where all is done."""
        want = standing.want
        if hint.back is None or want is None or want.back is None or hint.back[0] >= PASSES_DONE:
            self._courses.pop(standing.region, None)
            return None
        course = self._course(standing, hint, want.back)
        pictures = course.at.pass_no == PASS_PICTURES
        bytes_max = pieces_bytes if pictures else heads_bytes
        self._read_ahead(standing.region, course, bytes_max, pieces_bytes, want.epoch)
        taken = _take(course, bytes_max)
        start, course.at = course.at, _after(course, taken)
        course.left = max(0, course.left - sum(one.passed for one in taken))
        if course.end and not course.steps:
            self._next_pass(standing, course, want.back)
        return BackFrame(
            course.incarnation,
            course.session,
            start,
            course.at,
            course.left,
            course.total,
            tuple(one.record for one in taken if one.record is not None),
            tuple(one.piece for one in taken if one.piece is not None),
        )

    # --- where it stands ------------------------------------------------------------------------

    def _course(self, standing: Standing, hint: DownHint, back: Back) -> _Course:
        """What is kept, if it is of this session and position; otherwise counted anew."""
        assert hint.back is not None
        at = Position(*hint.back)
        kept = self._courses.get(standing.region)
        if kept is not None and (kept.session, kept.incarnation, kept.at) == (
            hint.session,
            hint.incarnation,
            at,
        ):
            return kept
        left = self._feed.back_left(standing.region, at.pass_no, at.floor)
        total = back.total if back.pass_no == at.pass_no else 0
        if total < left or not total:
            total = self._feed.back_left(standing.region, at.pass_no, max(at.floor, back.top))
        made = _Course(hint.session, hint.incarnation, at, at, left, max(left, total))
        while len(self._courses) >= COURSES_MAX:
            del self._courses[next(iter(self._courses))]
        self._courses[standing.region] = made
        return made

    def _next_pass(self, standing: Standing, course: _Course, back: Back) -> None:
        """The pass is done. Attachments also come of cases that moved above the top since the rebuild began:
        of them the region has the record by now, and no picture."""
        pass_no = course.at.pass_no + 1
        floor = standing.records_no if pass_no == PASS_PICTURES else back.top
        course.at = course.ahead = Position(pass_no, floor)
        course.end = False
        if pass_no >= PASSES_DONE:
            course.left = course.total = 0
        else:
            course.left = course.total = self._feed.back_left(standing.region, pass_no, floor)

    def _read_ahead(
        self, region: str, course: _Course, bytes_max: int, piece_bytes: int, own_epoch: str
    ) -> None:
        """Have a frame's worth at hand, if there is as much."""
        for _ in range(STRETCHES_A_FRAME):
            if course.end or course.bytes >= bytes_max:
                return
            found = self._feed.way_back(
                region, course.ahead, AHEAD_RECORDS, AHEAD_BYTES, piece_bytes, own_epoch
            )
            if found.unreadable:
                self._feed.note_unreadable(region, found.unreadable, self._clock.now_ms())
            course.steps.extend(found.steps)
            course.bytes += sum(one.bytes for one in found.steps)
            course.ahead, course.end = found.to, found.end


def _take(course: _Course, bytes_max: int) -> list[Step]:
    """The first steps that fit (at least one)."""
    taken: list[Step] = []
    bytes_left = bytes_max
    while course.steps and (not taken or course.steps[0].bytes <= bytes_left):
        one = course.steps.popleft()
        bytes_left -= one.bytes
        course.bytes -= one.bytes
        taken.append(one)
    return taken


def _after(course: _Course, taken: Sequence[Step]) -> Position:
    """Where the region stands after these steps."""
    return taken[-1].to if course.steps else course.ahead


def begins_at(want: Want, rewind: tuple[int, int] | None) -> Position | None:
    """Where the way back goes on in a new session: where the want says, or from the beginning where the
    region must go back to a point (facts, records) below the top: what it fetched above that is another's."""
    if want.back is None:
        return None
    if rewind is not None and rewind[1] < want.back.top:
        return Position(PASS_OPEN, rewind[1])
    return Position(want.back.pass_no, want.back.floor, want.back.at)


def going_on(want: Want, hint: DownHint) -> DownHint:
    """The hint after a newer want of the same session: a rebuild that begins or is over, questions that are
    settled. Where a rebuild stands the hint knows better."""
    asked = {one.id for one in want.asks}
    asks = tuple(one for one in hint.asks if one[0] in asked)
    back = hint.back
    if back is None or want.back is None:
        back = begins_at(want, None)
    return hint._replace(back=back, asks=asks)
