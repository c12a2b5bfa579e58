"""The rules of the hop, as pure functions over plain values: spans and cursors, incarnations, sessions.

Theory. A region's position in the center's two sequences means something only together with the life
(*incarnation*) of the ledger that gave the numbers out. Each incarnation knows the last numbers given out
before it began; both sides keep the list. Where their lists part, the point up to which both agree is the
smaller of the two numbers at which the common incarnation ended (as Kafka's leader epochs do, KIP-101).
Limits: the region keeps the last `HISTORY_MAX` incarnations; where none of them is known to the center the
common point is the beginning, which is always right and only costs traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from schemas.feed import Span
from schemas.messages import Since


class Fit(Enum):
    """How a `down` frame lies to the cursor of its sequence (rule 12)."""

    APPLY = "it continues what is held"
    OLD = "all of it is held already"
    GAP = "something before it is missing"
    FOREIGN = "it was made for another session or by another incarnation"


def fit(span: Span, *, session: int, incarnation: str, cursor: int) -> Fit:
    """What to do with a frame that carries `(span.start, span.to]`, given what is held here."""
    if span.session != session or span.incarnation != incarnation:
        return Fit.FOREIGN
    if span.to <= cursor:
        return Fit.OLD
    return Fit.APPLY if span.start <= cursor else Fit.GAP


def common_point(theirs: Sequence[Since], ours: Sequence[Since]) -> tuple[int, int] | None:
    """Up to which `(facts, records)` two histories agree; `None` where one simply continues the other.

    Both are oldest first; `theirs` may have lost its beginning. No common incarnation: `(0, 0)`.
    """
    at = {since.incarnation: index for index, since in enumerate(ours)}
    for index in range(len(theirs) - 1, -1, -1):
        here = at.get(theirs[index].incarnation)
        if here is None:
            continue
        ends = [history[i + 1] for history, i in ((theirs, index), (ours, here)) if i + 1 < len(history)]
        if not ends:
            return None
        return min(end.facts for end in ends), min(end.records for end in ends)
    return 0, 0


def rewind_to(
    facts: int, records: int, theirs: Sequence[Since], ours: Sequence[Since]
) -> tuple[int, int] | None:
    """The common point to which a region with these cursors must go back; `None` if it need not.

    `theirs` is the region's history, `ours` the ledger's. A region that has nothing yet never rewinds.
    """
    point = common_point(theirs, ours)
    if point is None or (facts <= point[0] and records <= point[1]):
        return None
    return min(facts, point[0]), min(records, point[1])


def adopted(history: Sequence[Since], since: Since, limit: int) -> tuple[Since, ...]:
    """The history after meeting `since`: appended unless it is the newest already, the oldest forgotten."""
    if history and history[-1].incarnation == since.incarnation:
        return tuple(history)
    kept = [one for one in history if one.incarnation != since.incarnation]
    return (*kept, since)[-limit:]


def rewound(
    history: Sequence[Since], facts: int, records: int, since: Since, limit: int
) -> tuple[Since, ...]:
    """The history after a rewind to `(facts, records)`: what began above that point never was, for us."""
    kept = [one for one in history if one.facts <= facts and one.records <= records]
    return adopted(kept, since, limit)
