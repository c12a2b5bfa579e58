"""Inspection, steps 2 and 3: each lane of a region: what waits, how fast it moves, when it will be done.

Everything is read from counters and from sums by minute, so it costs the same however much waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pipeline.adapters.outbox_reader import Amount, LaneCounts, Moved, OutboxReader
from pipeline.inspection.depth_parts import Around, LaneSteer, lane_steer
from pipeline.inspection.eta import Etas, LaneLoad, lane_etas, pace, together
from pipeline.inspection.rates import DAY_S, WHATS, grown_per_day, rates_json, summed
from pipeline.inspection.running import LinkState
from schemas.lanes import Lane
from schemas.verdicts import Status

#: Words of the center after which a packet still waits for its verdict (`ledger_reader.UNVERDICTED`).
UNVERDICTED = (Status.RECEIVED_AT_CENTRAL, Status.SEARCH_FAILURE_AT_CENTRAL)


def waiting_for_verdict(by_status: Mapping[Status | None, Amount]) -> Amount:
    """Packets that still wait for the center: no word, received, or a search that is tried again.

    A person's decision (`ADJUDICATE_RECORD`) is a word, and not waited for."""
    still = (None, *UNVERDICTED)
    return sum((amount for status, amount in by_status.items() if status in still), Amount())


class Flow:
    """One look at what moves. `free`: nothing keeps all lanes back (the outbox is in no doubt)."""

    def __init__(
        self,
        outbox: OutboxReader,
        counts: Mapping[Lane, LaneCounts],
        link: LinkState,
        around: Around,
        now_ms: int,
        made_ms: int,
        *,
        free: bool = True,
    ) -> None:
        self._outbox, self._counts, self._link, self._around = outbox, counts, link, around
        self._now_ms, self._made_ms, self._free = now_ms, made_ms, free
        self._hour = outbox.rates(now_ms // 60_000 - 60)
        self._days = outbox.moved(now_ms // 60_000 - 2 * 24 * 60)
        self._oldest = {
            lane: outbox.oldest(lane) if counts[lane].without_receipt.packets else None for lane in Lane
        }

    @cached_property
    def rates(self) -> dict[str, Any]:
        """Of all lanes together."""
        return rates_json(summed(self._hour), self._now_ms, self._made_ms)

    @property
    def eta_s(self) -> float | None:
        """When everything has its receipt; `None` where that cannot be said of all of it."""
        return together(self._loads, self._etas)

    @property
    def moved_ms(self) -> int | None:
        """When a byte last left or a receipt last came; by the minute where only the store knows it."""
        said = self._link.said.get("moved_ms")
        if isinstance(said, int):
            return said
        minutes = [one.minute for one in self._hour if one.what in ("out", "receipt")]
        return max(minutes, default=0) * 60_000 or None

    def grown_per_day(self) -> float:
        """See `rates.grown_per_day`."""
        return grown_per_day(self._days, (self._now_ms - self._made_ms) / 1000 / DAY_S)

    def lanes(self) -> dict[str, dict[str, Any]]:
        """By lane, as the document shows it."""
        return {lane.label: self._lane(lane) for lane in Lane}

    def _lane(self, lane: Lane) -> dict[str, Any]:
        counts, oldest, steer = self._counts[lane], self._oldest[lane], self._steer[lane]
        return {
            "waiting": counts.without_receipt.packets,
            "waiting_bytes": counts.without_receipt.bytes,
            "not_sent": counts.waiting.packets,
            "not_sent_bytes": counts.waiting.bytes,
            "in_stream": counts.in_stream.packets,
            "in_stream_bytes": counts.in_stream.bytes,
            "in_flight": counts.in_stream.packets,
            "in_flight_bytes": counts.in_stream.bytes,
            "unverdicted": waiting_for_verdict(counts.by_status).packets,
            "announced": counts.announced,
            "dead": counts.dead.packets,
            "recorded": counts.total.packets,
            "recorded_bytes": counts.total.bytes,
            "oldest_ms": oldest,
            "oldest_age_s": None if oldest is None else max(0.0, (self._now_ms - oldest) / 1000),
            "rates": rates_json(
                summed(one for one in self._hour if one.lane is lane), self._now_ms, self._made_ms, WHATS[:4]
            ),
            "eta_s": self._etas[lane.label],
            **steer.held.json("held"),
            "opens_ms": steer.opens_ms,
        }

    @cached_property
    def _steer(self) -> dict[Lane, LaneSteer]:
        return {lane: lane_steer(self._around, lane, self._now_ms) for lane in Lane}

    @cached_property
    def _loads(self) -> list[LaneLoad]:
        since_ms = max(self._made_ms, self._link.value("up_since_ms") or 0)
        past = {one.lane: one for one in self._days if one.what == "receipt"}
        return [self._load(lane, since_ms, past.get(lane)) for lane in Lane]

    def _load(self, lane: Lane, since_ms: int, past: Moved | None) -> LaneLoad:
        minutes = {
            one.minute: float(one.bytes) for one in self._hour if one.lane is lane and one.what == "receipt"
        }
        steer = self._steer[lane]
        return LaneLoad(
            lane.label,
            self._counts[lane].without_receipt.bytes,
            pace(minutes, self._now_ms, since_ms),
            past.bytes / (60.0 * past.minutes) if past is not None else 0.0,
            steer.cap_bytes_s == 0,
            steer.opens_ms,
            self._oldest[lane],
        )

    @cached_property
    def _etas(self) -> Etas:
        link = self._link
        flows = link.state == "up" and self._free and not self._around.steering_wrong
        flows = flows and not any(link.value(name) for name in ("held_for_s", "superseded", "refusal"))
        return lane_etas(self._loads, self._now_ms, flows=flows, up_since_ms=link.value("up_since_ms"))
