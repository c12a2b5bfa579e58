"""Steps 6 to 2: the outbox follows the registry: facts are settled, or taken back where a ledger was."""

from __future__ import annotations

from pipeline.ports import Clock, Cursors, Outbox, Registry
from pipeline.region.flights import Flights
from schemas.ranges import total

#: Facts settled in one transaction, in groups.
SETTLE_GROUPS = 500


class Settler:
    """Settles the outbox from the registry's facts; what is settled leaves `flights`."""

    def __init__(self, outbox: Outbox, registry: Registry, clock: Clock, flights: Flights) -> None:
        self._outbox, self._registry, self._clock, self._flights = outbox, registry, clock, flights

    def settle(self, cursors: Cursors) -> tuple[int, int]:
        """An idempotent sweep, in bounded transactions; returns packets settled, and groups not of ours."""
        settled = forks = 0
        follow_rewind(self._outbox, cursors, self._clock)
        while (at := self._outbox.settled_to()) < cursors.facts:
            facts = self._registry.facts_after(at, SETTLE_GROUPS)
            to = facts[-1][0] if len(facts) >= SETTLE_GROUPS else cursors.facts
            done = self._outbox.settle(facts, to, self._clock.now_ms(), start=at)
            self._flights.settle(done.settled)
            settled += total(done.settled)
            forks += len(done.forks)
            self._registry.forget_facts(to, self._outbox.epoch)
        return settled, forks


def follow_rewind(outbox: Outbox, cursors: Cursors, clock: Clock) -> None:
    """The registry went back and a crash came before the outbox did: it goes back now."""
    if outbox.settled_to() > cursors.facts:
        outbox.take_back(cursors.facts, clock.now_ms())
