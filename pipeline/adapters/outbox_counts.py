"""Inspection of the outbox: how much there is of each lane, from counters that the writers keep."""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw

from pipeline.adapters.outbox_announced import told_by_lane
from pipeline.adapters.outbox_layout import DROPPED, NO_WORD, WAITING
from schemas.lanes import Lane
from schemas.verdicts import Status


class Amount(NamedTuple):
    """So many packets, and the bytes of their stored form."""

    packets: int = 0
    bytes: int = 0

    def __add__(self, other: object) -> Amount:
        assert isinstance(other, Amount)
        return Amount(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.packets - other.packets, self.bytes - other.bytes)


class LaneCounts(NamedTuple):
    """One lane. `waiting` (of its bytes: those not yet claimed) + `in_stream` = `without_receipt`, the dead
    not counted. `unverdicted`: no verdict (not even one that is not final) and no refusal; `unfinal`: no
    final one. `by_status`: packets by the center's latest word (`None`: no word yet). `announced`: packets
    without a receipt of which the center was told. `aside`: damaged, so they cannot be sent (else only in
    `total`). `dropped`: given up by a person (else only in `total`)."""

    lane: Lane
    total: Amount
    waiting: Amount
    in_stream: Amount
    without_receipt: Amount
    unverdicted: Amount
    unfinal: Amount
    dead: Amount
    by_status: dict[Status | None, Amount]
    announced: int = 0
    aside: Amount = Amount()
    dropped: Amount = Amount()


def read_counts(db: apsw.Connection) -> dict[Lane, LaneCounts]:
    """How much there is of each lane, within the caller's transaction."""
    rows: list[Any] = db.execute("SELECT lane, what, packets, bytes FROM counter").fetchall()
    held = {(lane, what): Amount(packets, size) for lane, what, packets, size in rows}
    told = told_by_lane(db)
    lost: list[Any] = db.execute(
        "SELECT lane, count(*), sum(size) FROM aside CROSS JOIN packet USING(seq) GROUP BY lane"
    ).fetchall()
    aside = {lane: Amount(packets, size) for lane, packets, size in lost}
    refused, damaged = _dropped(db)
    for lane, amount in refused.items():
        held[lane, Status.REFUSED] -= amount
    for lane, amount in damaged.items():
        aside[lane] -= amount
    given_up = {lane: refused.get(lane, Amount()) + damaged.get(lane, Amount()) for lane in Lane}
    return {
        lane: _counts(lane, held, told.get(lane, 0), aside.get(lane, Amount()), given_up[lane])
        for lane in Lane
    }


def _dropped(db: apsw.Connection) -> tuple[dict[int, Amount], dict[int, Amount]]:
    """By lane, what was dropped of the refused, and of the damaged, of this epoch. Of what the center has
    after all (it was sent before it was dropped) its word counts."""
    rows: list[Any] = db.execute(
        "SELECT p.lane, p.status, count(*), sum(p.size) FROM dropped d CROSS JOIN packet p USING(seq) "
        "WHERE d.epoch = (SELECT epoch FROM epoch ORDER BY n DESC LIMIT 1) "
        f"AND p.pruned_ms = {DROPPED} AND (p.status IS NULL OR p.status = {int(Status.REFUSED)}) "
        "GROUP BY 1, 2"
    ).fetchall()
    amounts = [(lane, status, Amount(packets, size)) for lane, status, packets, size in rows]
    refused = {lane: amount for lane, status, amount in amounts if status is not None}
    return refused, {lane: amount for lane, status, amount in amounts if status is None}


def _counts(
    lane: Lane, held: dict[tuple[int, int], Amount], told: int, aside: Amount, dropped: Amount
) -> LaneCounts:
    by_status: dict[Status | None, Amount] = {one: held[lane, one] for one in Status}
    by_status[None] = held[lane, NO_WORD]
    waiting, dead = held[lane, WAITING], by_status[Status.REFUSED]
    unverdicted = by_status[None] + by_status[Status.RECEIVED_AT_CENTRAL]
    return LaneCounts(
        lane=lane,
        total=sum(by_status.values(), aside + dropped),
        waiting=waiting,
        in_stream=by_status[None] - waiting,
        without_receipt=by_status[None],
        unverdicted=unverdicted,
        unfinal=sum((n for one, n in by_status.items() if one is None or not one.final), Amount()),
        dead=dead,
        by_status=by_status,
        announced=told,
        aside=aside,
        dropped=dropped,
    )
