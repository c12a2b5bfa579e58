"""Step 6: facts, answers, records, and the way back of a rebuild, up to a region's level -> `down`; and acks.

Stateless between calls: where it stands is the hint that the broker keeps beside the entries. Hint gone, or a
session that is new: it starts from the cursors of the region's want. Doing it twice is harmless, since the
region applies only what continues what it holds.

Facts go first and outside the credit. Then what was asked for, then what is new, then the way back; none of
them in frames larger than a third of the level, so that what is asked for next waits for little.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pipeline.center.acks import Standing, ack_of, refusal_of, superseded_of
from pipeline.center.answers import ANSWERS, Answerer, answer
from pipeline.center.back import WayBack, begins_at, going_on
from pipeline.center.behind import Restraint
from pipeline.center.feeding import Feed
from pipeline.hop import rewind_to
from pipeline.ports import CenterLink, Clock, DownHint, EntryId
from schemas.asks import Answer, pack_answer
from schemas.back import pack_back
from schemas.feed import Span, pack_facts, pack_records
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey, PublicKey
from schemas.limits import CHUNK_BYTES_MAX
from schemas.messages import Want, pack_message

#: Packets in a frame of facts, and records (and their bytes before compression) in a frame of records.
FACTS_PACKETS_MAX = 4_000
RECORDS_MAX = 1_000
RECORDS_BYTES_MAX = 256 * 1024
#: How much smaller a frame of heads is than they are, about (measured: 6.8), and the smallest frame planned.
SQUEEZED = 6
FRAME_BYTES_LEAST = 4_096
#: Frames of the way back in one step: after so many others have their turn, and what is new is looked for.
BACK_FRAMES_A_STEP = 16
#: Sizes kept in the hint: more entries than this are never left unread in `down`.
SIZES_MAX = 512
#: Where a question stands that is answered to its end.
ANSWERED = -1


@dataclass(frozen=True)
class Delivered:
    """What one step put into `down`: frames of each kind (records in them), their bytes, and of how many
    packets the facts speak. `blocked`: more waits, for the region's level or for the next step."""

    acks: int = 0
    facts: int = 0
    answers: int = 0
    records: int = 0
    back: int = 0
    bytes: int = 0
    packets: int = 0
    blocked: bool = False


class _Raced(Exception):
    """Another deliver wrote to this region at the same time: its hint says where it stands now."""


@dataclass
class _Turn:
    """One step for one region: how it stands, where the hint is by now, and what was done."""

    standing: Standing
    want: Want
    key: PublicKey
    hint: DownHint
    done: Delivered = Delivered()

    @property
    def frame_bytes(self) -> int:
        """What a frame may take on the line."""
        return max(FRAME_BYTES_LEAST, self.want.level // 3)

    @property
    def heads_bytes(self) -> int:
        """The same for heads before compression."""
        return min(RECORDS_BYTES_MAX, SQUEEZED * self.frame_bytes)


class Deliver:
    """Fills `down` streams. `ours` is the center's key. `restraint` says what every region gets at most;
    `answers` who answers which question."""

    def __init__(
        self,
        feed: Feed,
        link: CenterLink,
        clock: Clock,
        ours: PrivateKey,
        titian: str = "",
        restraint: Callable[[], Restraint] | None = None,
        answers: Mapping[str, Answerer] = ANSWERS,
    ) -> None:
        self._feed, self._link, self._clock, self._ours, self._titian = feed, link, clock, ours, titian
        self._restraint, self._answers = restraint, answers
        self._back = WayBack(feed, clock)

    def step(self, region: str) -> Delivered:
        """Everything that can go to that region now (a bounded number of frames of the way back)."""
        try:
            return self._step(region)
        except _Raced:
            return Delivered(blocked=True)

    def _step(self, region: str) -> Delivered:
        standing = self._feed.standing(region)
        if standing is None or standing.want is None or standing.key is None or not standing.session:
            return Delivered()
        hint = self._link.hint(region)
        turn = _Turn(standing, standing.want, standing.key, hint or DownHint(0, 0, 0, 0, -1))
        if hint is None or hint.session != standing.session:
            # A hint that is ahead is of a life that this ledger, restored from a backup, never had.
            self._begin(turn, renew=hint is None or hint.session > standing.session)
        elif hint.incarnation != standing.since[-1].incarnation:
            self._begin(turn, renew=True)
        elif turn.want.n > hint.answered:
            turn.hint = going_on(turn.want, hint)
            self._answer(turn, None)
        if standing.superseded:
            self._send(
                turn, Kind.ACK, pack_message(superseded_of(standing, turn.hint.session, *self._said()))
            )
            self._feed.told_superseded(region, standing.superseded)
        if not standing.refusal:
            self._facts(turn)
            if self._asks(turn) and self._records(turn):
                self._go_back(turn)
        return turn.done

    def refuse(self, region: str, key: PublicKey, code: str) -> None:
        """Tell a machine that may not speak as this region why (an ack to nobody, sealed to its key)."""
        standing = self._feed.standing(region)
        if standing is None:
            return
        hint = self._link.hint(region) or DownHint(max(1, standing.session), 0, 0, 0, -1)
        ack = refusal_of(standing, hint.session, code, *self._said())
        with contextlib.suppress(_Raced):
            self._put(region, key, Kind.ACK, pack_message(ack), hint, "000000")

    # --- the session and its acks ---------------------------------------------------------------

    def _begin(self, turn: _Turn, *, renew: bool) -> None:
        """A new session, a ledger that has a new life, or a broker that lost the hint: from the region's
        cursors on, back to the common point of both histories; at the top for a region that is fresh.

        With the hint the number of the last entry is lost too, and the region waits for a higher one; with a
        new life the region must look at what it holds. So the same instance goes on in the next session
        (`renew`), whose ids are above all that there were. The want may be older than what the region has
        done since; the region takes the session only if its cursors are still those that the want named.
        """
        standing, want = turn.standing, turn.want
        session = standing.session
        if renew:
            last_session = self._link.last_session(standing.region)
            session = self._feed.renew_session(standing.region, session, last_session)
        self._link.clear_down(standing.region)
        rewind = rewind_to(want.facts, want.records, want.history, standing.since)
        facts, records = rewind if rewind is not None else (want.facts, want.records)
        if want.fresh:
            rewind, facts, records = None, standing.facts_no, standing.records_no
        life, back = standing.since[-1].incarnation, begins_at(want, rewind)
        turn.hint = DownHint(session, 0, facts, records, -1, (), life, back)
        self._answer(turn, rewind)

    def _answer(self, turn: _Turn, rewind: tuple[int, int] | None) -> None:
        standing, want = turn.standing, turn.want
        announced = self._feed.announced(standing.region, want.epoch, want.announced_from)
        all_get = None if self._restraint is None else self._restraint()
        ack = ack_of(standing, turn.hint, announced, rewind, all_get, *self._said())
        turn.hint = turn.hint._replace(answered=want.n)
        self._send(turn, Kind.ACK, pack_message(ack), acks=1)

    def _said(self) -> tuple[int, str]:
        return self._clock.now_ms(), self._titian

    # --- what goes down -------------------------------------------------------------------------

    def _facts(self, turn: _Turn) -> None:
        """Facts go first and outside the credit: they are small, and they open the region's window."""
        region = turn.standing.region
        while turn.hint.facts < turn.standing.facts_no:
            groups, to = self._feed.facts_after(region, turn.hint.facts, FACTS_PACKETS_MAX)
            if to <= turn.hint.facts:
                break
            body = pack_facts(_span(turn, turn.hint.facts, to), groups)
            turn.hint = turn.hint._replace(facts=to)
            packets = sum(stop - start for group in groups for start, stop in group.seqs)
            self._send(turn, Kind.FACTS, body, facts=1, packets=packets)

    def _asks(self, turn: _Turn) -> bool:
        """A part of every answer in turn, so that a short one does not wait for the end of a long one.
        Returns whether all are given, and there is room for more."""
        region, places = turn.standing.region, dict(turn.hint.asks)
        waiting = [one for one in turn.want.asks if places.get(one.id, one.at) != ANSWERED]
        while waiting:
            for ask in tuple(waiting):
                if self._is_full(turn):
                    return False
                at = places.get(ask.id, ask.at)
                payload, to, done = answer(self._answers, self._feed.reader, region, ask, at)
                life, session = turn.standing.since[-1].incarnation, turn.hint.session
                body = pack_answer(Answer(life, session, ask.id, at, to, done, payload))
                places[ask.id] = ANSWERED if done else to
                turn.hint = turn.hint._replace(asks=tuple(places.items()))
                self._send(turn, Kind.ANSWER, body, answers=1)
                if done:
                    waiting.remove(ask)
        return True

    def _records(self, turn: _Turn) -> bool:
        """What is new; returns whether that is all, and there is room for more."""
        region, want = turn.standing.region, turn.want
        reference = None if want.whole else want.epoch
        while turn.hint.records < turn.standing.records_no:
            if self._is_full(turn):
                return False
            changes, to = self._feed.records_after(
                region, turn.hint.records, RECORDS_MAX, turn.heads_bytes, reference
            )
            if to <= turn.hint.records:
                break
            body = pack_records(_span(turn, turn.hint.records, to), changes)
            turn.hint = turn.hint._replace(records=to)
            self._send(turn, Kind.RECORDS, body, records=len(changes))
        return True

    def _go_back(self, turn: _Turn) -> None:
        """What a rebuild fetches, as long as nothing else goes."""
        pieces_bytes = min(CHUNK_BYTES_MAX, turn.frame_bytes)
        for _ in range(BACK_FRAMES_A_STEP):
            if turn.hint.back is None or self._is_full(turn):
                return
            frame = self._back.next(turn.standing, turn.hint, turn.heads_bytes, pieces_bytes)
            if frame is None:
                return
            turn.hint = turn.hint._replace(back=(frame.to.pass_no, frame.to.floor, frame.to.at))
            sent = len(frame.records) + len(frame.pieces)
            self._send(turn, Kind.BACK, pack_back(frame), back=sent)
            if not sent:  # thousands of rows were looked at for it
                break
        turn.done = replace(turn.done, blocked=True)

    def _is_full(self, turn: _Turn) -> bool:
        """Whether the region's level is reached by what it has not taken yet (one frame may always go)."""
        hint = turn.hint
        first = self._link.down_first(turn.standing.region)
        unread = 0 if first is None else max(0, hint.n - first.n + 1)
        if first is not None and first.session != hint.session:
            unread = len(hint.sizes)
        unread_bytes = sum(hint.sizes[-unread:]) if unread else 0
        if unread_bytes < max(1, turn.want.level):
            return False
        turn.done = replace(turn.done, blocked=True)
        return True

    def _send(self, turn: _Turn, kind: Kind, body: bytes, **counts: int) -> None:
        region, epoch = turn.standing.region, turn.want.epoch
        turn.hint, sent = self._put(region, turn.key, kind, body, turn.hint, epoch)
        now = {what: getattr(turn.done, what) + n for what, n in counts.items()}
        turn.done = replace(turn.done, bytes=turn.done.bytes + sent, **now)

    def _put(
        self, region: str, key: PublicKey, kind: Kind, body: bytes, hint: DownHint, epoch: str
    ) -> tuple[DownHint, int]:
        header = Header(kind, region, epoch, self._ours.id, key.id)
        frame = seal_frame(header, body, ours=self._ours, theirs=key)
        hint = hint._replace(n=hint.n + 1, sizes=(*hint.sizes, len(frame))[-SIZES_MAX:])
        if not self._link.put_down(region, EntryId(hint.session, hint.n), frame, hint):
            raise _Raced
        return hint, len(frame)


def _span(turn: _Turn, start: int, to: int) -> Span:
    return Span(turn.standing.since[-1].incarnation, turn.hint.session, start, to)
