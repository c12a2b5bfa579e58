"""Inspection of the outbox: what is read out of it, as values."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.lifecycle import Place
from schemas.identity import PacketId
from schemas.lanes import Lane
from schemas.ranges import Ranges
from schemas.verdicts import Reason, Status


class Found(NamedTuple):
    """A packet as the outbox holds it. `state` is the KTP-EL state; `now` is its identity in the next epoch,
    if it was numbered anew; of a packet of an earlier epoch `place` is `None`."""

    id: PacketId
    lane: Lane
    kind: str
    size: int
    digest: bytes
    at_ms: int
    status: Status | None
    fact_no: int | None
    reasons: tuple[Reason, ...]
    place: Place | None
    state: str
    now: PacketId | None = None


class Event(NamedTuple):
    """Something that happened at `at_ms` to the packets `seqs`: `enqueued`, `announced`, `sent` (detail: the
    entry), `requeued`, the name of a status (detail: the fact's position), `fork`, `taken back`, `retried`,
    `dropped`, `loss`, `aside` (detail: what is damaged), `reindexed` (of no packet), `not resendable`,
    `pruned`, `in doubt`, `doubt is over`, `new epoch` (detail: sentences for people)."""

    id: int
    at_ms: int
    what: str
    seqs: Ranges
    detail: str


class Rate(NamedTuple):
    """What moved in one minute (since 1970) of one lane: `in`, `out`, `receipt`, `verdict`, `refused`."""

    minute: int
    lane: Lane
    what: str
    packets: int
    bytes: int


class Moved(NamedTuple):
    """What moved of one lane over many minutes: in so many of them anything did."""

    lane: Lane
    what: str
    packets: int
    bytes: int
    minutes: int


class Meta(NamedTuple):
    """The outbox itself: `epochs` oldest first, the last is the current one; `tallies` of rare things
    (`forks`, `foreign_facts`, `lost`, `aside`, `not_resendable`: past their verdict when the center's ledger
    went back). `in_doubt`: it is being found out which packets the center has, so nothing is sent."""

    region: str
    epoch: str
    epochs: tuple[str, ...]
    made_ms: int
    highest_seq: int
    settled_to: int
    tallies: dict[str, int]
    in_doubt: bool = False


class Aside(NamedTuple):
    """A damaged packet, when that was found (0: in an earlier epoch) and what is wrong with it."""

    packet: Found
    at_ms: int
    why: str
