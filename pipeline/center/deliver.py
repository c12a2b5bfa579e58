"""Step 6: facts, then records, after a region's cursors and up to its level -> `down`; and the acks.

Stateless between calls: where it stands is the hint that the broker keeps beside the entries. Hint gone, or a
session that is new: it starts from the cursors of the region's want. Doing it twice is harmless, since the
region applies only what continues what it holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.center.behind import Restraint
from pipeline.hop import rewind_to
from pipeline.ports import CenterLink, Clock, DownHint, EntryId
from schemas.feed import FactGroup, RecordChange, Span, pack_facts, pack_records
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey, PublicKey
from schemas.messages import Ack, Announced, Partly, Since, Want, pack_message
from schemas.ranges import Ranges, to_wire

#: Packets in a frame of facts, and records (and their bytes before compression) in a frame of records.
FACTS_PACKETS_MAX = 4_000
RECORDS_MAX = 1_000
RECORDS_BYTES_MAX = 256 * 1024
#: Numbers that an ack restates of incomplete packets: nine bytes each at most, so it stays below its limit.
PARTLY_NUMBERS_MAX = 4_000
#: Sizes kept in the hint: more entries than this are never left unread in `down`.
SIZES_MAX = 512


class Standing(Protocol):
    """What the ledger says of a region, all of one moment (`since` oldest first; `partly`: the byte ranges
    held of the incomplete packets of the want's epoch)."""

    @property
    def region(self) -> str: ...
    @property
    def key(self) -> PublicKey | None: ...
    @property
    def session(self) -> int: ...
    @property
    def instance(self) -> str: ...
    @property
    def grant(self) -> int: ...
    @property
    def want(self) -> Want | None: ...
    @property
    def facts_no(self) -> int: ...
    @property
    def records_no(self) -> int: ...
    @property
    def window_bytes(self) -> int: ...
    @property
    def hold_s(self) -> float: ...
    @property
    def since(self) -> tuple[Since, ...]: ...
    @property
    def partly(self) -> dict[int, Ranges]: ...
    @property
    def refusal(self) -> str: ...


class Feed(Protocol):
    """The ledger as `deliver` sees it."""

    def standing(self, region: str) -> Standing | None:
        """How it stands with that region; `None` where it is not admitted."""

    def renew_session(self, region: str, session: int, last_session: int) -> int:
        """Grant the same instance a session after `session` (if that is still the one) and after
        `last_session`, the highest that the broker has seen; returns it."""

    def facts_after(self, region: str, position: int, packets_max: int) -> tuple[tuple[FactGroup, ...], int]:
        """Facts numbered above `position`, grouped, and the number up to which that is all."""

    def records_after(
        self, region: str, position: int, records_max: int, bytes_max: int, by_reference_epoch: str | None
    ) -> tuple[tuple[RecordChange, ...], int]:
        """The same for records; those whose packet belongs to `by_reference_epoch` come without a head."""

    def announced(self, region: str, epoch: str, start: int | None) -> Announced:
        """What is announced of that epoch from seq `start` on and not received, as far as it fits an ack.
        What came since `standing` was asked is missing in it: a region does not announce what it has sent."""


@dataclass(frozen=True)
class Delivered:
    """What one step put into `down`. `blocked`: more waits, but the region's level is reached."""

    acks: int = 0
    facts: int = 0
    records: int = 0
    bytes: int = 0
    blocked: bool = False


class _Raced(Exception):
    """Another deliver wrote to this region at the same time: its hint says where it stands now."""


class Deliver:
    """Fills `down` streams. `ours` is the center's key. `restraint` says what every region gets at most."""

    def __init__(
        self,
        feed: Feed,
        link: CenterLink,
        clock: Clock,
        ours: PrivateKey,
        titian: str = "",
        restraint: Callable[[], Restraint] | None = None,
    ) -> None:
        self._feed, self._link, self._clock, self._ours, self._titian = feed, link, clock, ours, titian
        self._restraint = restraint

    def step(self, region: str) -> Delivered:
        """Everything that can go to that region now."""
        try:
            return self._step(region)
        except _Raced:
            return Delivered(blocked=True)

    def _step(self, region: str) -> Delivered:
        standing = self._feed.standing(region)
        if standing is None or standing.want is None or standing.key is None or not standing.session:
            return Delivered()
        hint = self._link.hint(region)
        done = Delivered()
        if hint is None or hint.session != standing.session:
            # A hint that is ahead is of a life that this ledger, restored from a backup, never had.
            hint, done = self._begin(standing, renew=hint is None or hint.session > standing.session)
        elif hint.incarnation != standing.since[-1].incarnation:
            hint, done = self._begin(standing, renew=True)
        elif standing.want.n > hint.answered:
            hint, done = self._answer(standing, hint, None, done)
        if standing.refusal:
            return done
        hint, done = self._facts(standing, hint, done)
        return self._records(standing, hint, done)

    def refuse(self, region: str, key: PublicKey, code: str) -> None:
        """Tell a machine that may not speak as this region why (an ack to nobody, sealed to its key)."""
        standing = self._feed.standing(region)
        if standing is None:
            return
        hint = self._link.hint(region) or DownHint(max(1, standing.session), 0, 0, 0, -1)
        ack = Ack(
            n=0,
            instance="-",
            grant=0,
            session=hint.session,
            since=standing.since[-1],
            facts_top=0,
            records_top=0,
            window_bytes=0,
            epoch="000000",
            refusal=code,
            clock_ms=max(0, self._clock.now_ms()),
            titian=self._titian,
        )
        with contextlib.suppress(_Raced):
            self._put(region, key, Kind.ACK, pack_message(ack), hint, "000000")

    # --- the session and its acks ---------------------------------------------------------------

    def _begin(self, standing: Standing, *, renew: bool) -> tuple[DownHint, Delivered]:
        """A new session, a ledger that has a new life, or a broker that lost the hint: from the region's
        cursors on, back to the common point of both histories.

        With the hint the number of the last entry is lost too, and the region waits for a higher one; with a
        new life the region must look at what it holds. So the same instance goes on in the next session
        (`renew`), whose ids are above all that there were. The want may be older than what the region has
        done since; the region takes the session only if its cursors are still those that the want named.
        """
        want = standing.want
        assert want is not None
        session = standing.session
        if renew:
            last_session = self._link.last_session(standing.region)
            session = self._feed.renew_session(standing.region, session, last_session)
        self._link.clear_down(standing.region)
        rewind = rewind_to(want.facts, want.records, want.history, standing.since)
        facts, records = rewind if rewind is not None else (want.facts, want.records)
        hint = DownHint(session, 0, facts, records, -1, (), standing.since[-1].incarnation)
        return self._answer(standing, hint, rewind, Delivered())

    def _answer(
        self, standing: Standing, hint: DownHint, rewind: tuple[int, int] | None, done: Delivered
    ) -> tuple[DownHint, Delivered]:
        want = standing.want
        assert want is not None
        assert standing.key is not None
        window_bytes, hold_s = self._allowed(standing)
        ack = Ack(
            n=want.n,
            instance=standing.instance,
            grant=standing.grant,
            session=hint.session,
            since=standing.since[-1],
            facts_top=standing.facts_no,
            records_top=standing.records_no,
            window_bytes=window_bytes,
            hold_s=hold_s,
            epoch=want.epoch,
            partly=_restated(standing.partly),
            announced=self._feed.announced(standing.region, want.epoch, want.announced_from),
            rewind=None if rewind is None else list(rewind),
            refusal=standing.refusal,
            clock_ms=max(0, self._clock.now_ms()),
            titian=self._titian,
        )
        hint = hint._replace(answered=want.n)
        hint, sent = self._put(standing.region, standing.key, Kind.ACK, pack_message(ack), hint, want.epoch)
        return hint, replace(done, acks=done.acks + 1, bytes=done.bytes + sent)

    def _allowed(self, standing: Standing) -> tuple[int, float]:
        """The region's window and hold: what was set for it, or what all get where that is less."""
        if self._restraint is None:
            return standing.window_bytes, standing.hold_s
        all_get = self._restraint()
        window_bytes = min(standing.window_bytes, all_get.window_bytes)
        return window_bytes, max(standing.hold_s, all_get.hold_s)

    # --- the feed -------------------------------------------------------------------------------

    def _facts(self, standing: Standing, hint: DownHint, done: Delivered) -> tuple[DownHint, Delivered]:
        """Facts go first and outside the credit: they are small, and they open the region's window."""
        assert standing.want is not None
        assert standing.key is not None
        while hint.facts < standing.facts_no:
            groups, to = self._feed.facts_after(standing.region, hint.facts, FACTS_PACKETS_MAX)
            if to <= hint.facts:
                break
            body = pack_facts(_span(standing, hint.session, hint.facts, to), groups)
            hint = hint._replace(facts=to)
            hint, sent = self._put(standing.region, standing.key, Kind.FACTS, body, hint, standing.want.epoch)
            done = replace(done, facts=done.facts + 1, bytes=done.bytes + sent)
        return hint, done

    def _records(self, standing: Standing, hint: DownHint, done: Delivered) -> Delivered:
        want = standing.want
        assert want is not None
        assert standing.key is not None
        reference = None if want.whole else want.epoch
        while hint.records < standing.records_no:
            if self._unread_bytes(standing.region, hint) >= max(1, want.level):
                return replace(done, blocked=True)
            changes, to = self._feed.records_after(
                standing.region, hint.records, RECORDS_MAX, RECORDS_BYTES_MAX, reference
            )
            if to <= hint.records:
                break
            body = pack_records(_span(standing, hint.session, hint.records, to), changes)
            hint = hint._replace(records=to)
            hint, sent = self._put(standing.region, standing.key, Kind.RECORDS, body, hint, want.epoch)
            done = replace(done, records=done.records + len(changes), bytes=done.bytes + sent)
        return done

    def _unread_bytes(self, region: str, hint: DownHint) -> int:
        """Bytes in `down` that the region has not taken yet (0 lets at least one frame through)."""
        first = self._link.down_first(region)
        if first is None:
            return 0
        if first.session != hint.session:
            return sum(hint.sizes)
        unread = max(0, hint.n - first.n + 1)
        return sum(hint.sizes[-unread:]) if unread else 0

    def _put(
        self, region: str, key: PublicKey, kind: Kind, body: bytes, hint: DownHint, epoch: str
    ) -> tuple[DownHint, int]:
        header = Header(kind, region, epoch, self._ours.id, key.id)
        frame = seal_frame(header, body, ours=self._ours, theirs=key)
        hint = hint._replace(n=hint.n + 1, sizes=(*hint.sizes, len(frame))[-SIZES_MAX:])
        if not self._link.put_down(region, EntryId(hint.session, hint.n), frame, hint):
            raise _Raced
        return hint, len(frame)


def _restated(partly: dict[int, Ranges]) -> list[Partly]:
    """What is stored of incomplete packets, as far as it fits an ack: what is left out is sent again."""
    out: list[Partly] = []
    numbers_left = PARTLY_NUMBERS_MAX
    for seq, held in sorted(partly.items()):
        numbers_left -= 2 * len(held) + 1
        if numbers_left < 0:
            break
        out.append(Partly(seq=seq, ranges=to_wire(held)))
    return out


def _span(standing: Standing, session: int, start: int, to: int) -> Span:
    return Span(standing.since[-1].incarnation, session, start, to)
