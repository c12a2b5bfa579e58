"""Step 7, pure: an empty registry on its way back: where it stands, how fast, how long yet (design, 7).

It goes down from the top at which it began, pass by pass; what changes meanwhile moves above that top, where
the live records find it. So nothing is missed, and a frame that comes twice does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from pipeline.hop import Fit
from schemas.asks import Answer
from schemas.back import PASS_OPEN, PASSES_DONE, BackFrame, Position, unpack_back
from schemas.codec import leading, pack_flat
from schemas.errors import SchemaError
from schemas.messages import Ask, Back

#: Before a rate is told, seconds of the pass.
RATE_S_MIN = 1.0


class Pace(NamedTuple):
    """How a pass goes: `percent` of it that is here, `rate_s` records a second, `eta_s` seconds to its end;
    `None` where nothing can be said of it yet."""

    percent: float | None
    rate_s: float | None
    eta_s: float | None


def begun(top: int, now_ms: int) -> Back | None:
    """Where a rebuild from `top` begins; `None` where there is nothing to fetch."""
    return Back(pass_no=PASS_OPEN, floor=top, top=top, began_ms=max(0, now_ms)) if top else None


def position_of(back: Back) -> Position:
    """Where it stands."""
    return Position(back.pass_no, back.floor, back.at)


def advanced(back: Back, frame: BackFrame, now_ms: int) -> Back | None:
    """Where it stands after `frame`; `None`: all is here."""
    if frame.to.pass_no >= PASSES_DONE:
        return None
    same = frame.to.pass_no == back.pass_no
    opens = back.pass_no == PASS_OPEN and not same and not back.opened_ms
    return Back(
        pass_no=frame.to.pass_no,
        floor=frame.to.floor,
        at=frame.to.at,
        top=back.top,
        left=frame.left,
        total=frame.total,
        began_ms=back.began_ms if same else max(0, now_ms),
        opened_ms=max(1, now_ms) if opens else back.opened_ms,
    )


def fit_back(frame: BackFrame, session: int, incarnation: str, back: Back | None) -> Fit:
    """How a frame of the way back lies to where that stands (as `pipeline.hop.fit` for what is live)."""
    if (frame.session, frame.incarnation) != (session, incarnation):
        return Fit.FOREIGN
    if back is None or not frame.to.behind(position_of(back)):
        return Fit.OLD
    return Fit.GAP if frame.start.behind(position_of(back)) else Fit.APPLY


def fit_answer(answer: Answer, session: int, incarnation: str, asks: Sequence[Ask]) -> Fit:
    """The same for a part of an answer, given the questions that are open."""
    if (answer.session, answer.incarnation) != (session, incarnation):
        return Fit.FOREIGN
    at = next((one.at for one in asks if one.id == answer.ask), None)
    if at is None or answer.at < at:
        return Fit.OLD
    return Fit.GAP if answer.at > at else Fit.APPLY


def back_span(body: bytes) -> BackFrame | None:
    """Where a `back` body that this version does not understand leads, without its items, if it says so."""
    try:
        first = list(islice(leading(body), 10))
        return unpack_back(pack_flat(first))
    except (SchemaError, TypeError, ValueError):
        return None


def pace_of(back: Back, now_ms: int) -> Pace:
    """The same numbers at both sides: the center takes `back` from the want."""
    done = max(0, back.total - back.left)
    percent = 100.0 * done / back.total if back.total else None
    took_s = (now_ms - back.began_ms) / 1000
    if not done or took_s < RATE_S_MIN:
        return Pace(percent, None, None)
    rate_s = done / took_s
    return Pace(percent, rate_s, back.left / rate_s)


def rebuild_json(
    back: Back | None, now_ms: int, opened_ms: int | None, rebuilt_ms: int | None, fresh: bool = False
) -> dict[str, Any] | None:
    """How a rebuild stands, as both sides show it; `None` where there never was one.

    `state` is `waiting for the center`, `running` or `done`; the numbers of a pass are `None` unless it runs.
    """
    if back is None and not fresh and rebuilt_ms is None:
        return None
    state = "running" if back is not None else "waiting for the center" if fresh else "done"
    pace = Pace(None, None, None) if back is None else pace_of(back, now_ms)
    counted = back is not None and back.total > 0
    return {
        "state": state,
        "pass": back.pass_no if back is not None else None,
        "of": PASSES_DONE - 1,
        "percent": None if pace.percent is None else round(pace.percent, 1),
        "left": back.left if back is not None and counted else None,
        "total": back.total if back is not None and counted else None,
        "rate_s": None if pace.rate_s is None else round(pace.rate_s, 1),
        "eta_s": None if pace.eta_s is None else round(pace.eta_s, 1),
        "began_ms": back.began_ms if back is not None else None,
        "opened_ms": opened_ms or (back.opened_ms if back is not None else 0) or None,
        "rebuilt_ms": None if back is not None or fresh else rebuilt_ms,
    }
