"""Step 6: what the center answers to a want: the `ack`, from how it stands with the region. Pure."""

from __future__ import annotations

from typing import Protocol

from pipeline.center.behind import Restraint
from pipeline.center.holding import Hold, asked_s, in_force, in_words
from pipeline.ports import DownHint
from schemas.keys import PublicKey
from schemas.messages import HOLD_WHY_CHARS_MAX, Ack, Announced, Partly, Since, Want
from schemas.ranges import Ranges, to_wire

#: Numbers that an ack restates of incomplete packets: nine bytes each at most, so it stays below its limit.
PARTLY_NUMBERS_MAX = 4_000


class Standing(Protocol):
    """What the ledger says of a region, all of one moment (`since` oldest first; `partly`: the byte ranges
    held of the incomplete packets of the want's epoch; `known_seq`, `renumbered`: see `Ack`; `superseded`: an
    instance that speaks although another followed it)."""

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
    def hold(self) -> Hold | None: ...
    @property
    def since(self) -> tuple[Since, ...]: ...
    @property
    def partly(self) -> dict[int, Ranges]: ...
    @property
    def known_seq(self) -> int: ...
    @property
    def renumbered(self) -> int: ...
    @property
    def superseded(self) -> str: ...
    @property
    def refusal(self) -> str: ...


def ack_of(
    standing: Standing,
    hint: DownHint,
    announced: Announced,
    rewind: tuple[int, int] | None,
    all_get: Restraint | None,
    now_ms: int,
    titian: str,
) -> Ack:
    """The answer to the region's latest want, in the session of `hint`.

    `all_get`: what every region gets at most; a person's word on this one ends by itself. A region that is
    fresh is told to begin where `hint` stands: what comes in this session goes on from there.
    """
    want = standing.want
    assert want is not None
    window_bytes, hold_s, why = _may_send(standing, all_get, now_ms)
    return Ack(
        n=want.n,
        instance=standing.instance,
        grant=standing.grant,
        session=hint.session,
        since=standing.since[-1],
        facts_top=standing.facts_no,
        records_top=standing.records_no,
        window_bytes=window_bytes,
        hold_s=hold_s,
        hold_why=why,
        epoch=want.epoch,
        partly=_restated(standing.partly),
        announced=announced,
        rewind=None if rewind is None else list(rewind),
        start=[hint.facts, hint.records] if want.fresh else None,
        known_seq=standing.known_seq,
        renumbered=standing.renumbered,
        refusal=standing.refusal,
        clock_ms=max(0, now_ms),
        titian=titian,
    )


def _may_send(standing: Standing, all_get: Restraint | None, now_ms: int) -> tuple[int, float, str]:
    """The window, for how long to hold (seconds), and whose word that is: the strictest counts."""
    hold = in_force(standing.hold, now_ms) or Hold(None)
    window_bytes = standing.window_bytes if hold.window_bytes is None else hold.window_bytes
    hold_s, why = asked_s(hold, now_ms), in_words(hold)
    if all_get is not None:
        window_bytes, hold_s = min(window_bytes, all_get.window_bytes), max(hold_s, all_get.hold_s)
        if all_get.hold_s and not why:
            why = f"the center is behind: {all_get.why}"[:HOLD_WHY_CHARS_MAX]
    return window_bytes, hold_s, why


def refusal_of(standing: Standing, session: int, code: str, now_ms: int, titian: str) -> Ack:
    """An ack to nobody: it tells a machine that may not speak as this region why."""
    return _bare(standing, "-", session, now_ms, titian).model_copy(update={"refusal": code})


def superseded_of(standing: Standing, session: int, now_ms: int, titian: str) -> Ack:
    """An ack to the instance that another followed (rule 16): whoever followed it may be silent."""
    bare = _bare(standing, standing.superseded, session, now_ms, titian)
    return bare.model_copy(update={"superseded": True})


def _bare(standing: Standing, instance: str, session: int, now_ms: int, titian: str) -> Ack:
    return Ack(
        n=0,
        instance=instance,
        grant=0,
        session=session,
        since=standing.since[-1],
        facts_top=0,
        records_top=0,
        window_bytes=0,
        epoch="000000",
        clock_ms=max(0, now_ms),
        titian=titian,
    )


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
