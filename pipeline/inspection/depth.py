"""Inspection, steps 2 to 7: how much waits where, since when, how fast it moves and when it will be done.

Everything comes from counts that the stores keep, so it answers while nothing runs and does not get slower
with the backlog. Times: `*_ms` wall clock, `*_s` seconds; sizes in bytes. The names are a contract
(docs/cli.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.adapters.outbox_reader import Amount, LaneCounts, OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.inspection.alarms import region_alarms
from pipeline.inspection.custody import NOTHING, Beside, custody_json
from pipeline.inspection.rates import eta_s, grown_per_day, region_rates, runway
from pipeline.inspection.running import LinkState
from schemas.lanes import Lane
from schemas.verdicts import Status

if TYPE_CHECKING:  # a region does not load the center's database library
    from pipeline.adapters.ledger_reader import LedgerReader

VERSION = 1
#: Words of the center after which a packet still waits for its verdict (`ledger_reader.UNVERDICTED`).
UNVERDICTED = (Status.RECEIVED_AT_CENTRAL, Status.SEARCH_FAILURE_AT_CENTRAL)


def waiting_for_verdict(by_status: Mapping[Status | None, Amount]) -> Amount:
    """Packets that still wait for the center: no word, received, or a search that is tried again.

    A person's decision (`ADJUDICATE_RECORD`) is a word, and not waited for."""
    still = (None, *UNVERDICTED)
    return sum((amount for status, amount in by_status.items() if status in still), Amount())


def region_depth(
    outbox: OutboxReader,
    registry: RegistryReader,
    link: LinkState,
    *,
    now_ms: int,
    free_bytes: int,
    low_water_bytes: int,
    beside: Beside = NOTHING,
) -> dict[str, Any]:
    """The whole document of a region. `free_bytes` are the disk's; enqueueing ends at `low_water_bytes`."""
    meta, counts = outbox.meta(), outbox.counts()
    rates = region_rates(outbox, now_ms, meta.made_ms)
    without = sum((one.without_receipt for one in counts.values()), Amount())
    lanes = {lane.label: _lane(outbox, counts[lane], now_ms) for lane in Lane}
    found: dict[str, Any] = {
        "version": VERSION,
        "side": "region",
        "region": meta.region,
        "epoch": meta.epoch,
        "at_ms": now_ms,
        "waiting": without.packets,
        "waiting_bytes": without.bytes,
        **_of_all(lanes),
        "lanes": lanes,
        "by_status": _by_status(counts.values()),
        "rates": rates,
        "eta_s": eta_s(without.bytes, rates, moves=_all_moves(lanes, link)),
        "runway": runway(free_bytes, low_water_bytes, grown_per_day(outbox, now_ms, meta.made_ms)),
        "registry": _registry(registry),
        "tallies": meta.tallies,
        "link": link.to_json(),
        **custody_json(meta, registry, now_ms, beside),
    }
    found["alarms"] = region_alarms(found)
    return found


def _of_all(lanes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the lanes come to together."""
    sums = ("unverdicted", "announced", "dead", "recorded")
    oldest = [one["oldest_ms"] for one in lanes.values() if one["oldest_ms"] is not None]
    return {name: sum(lane[name] for lane in lanes.values()) for name in sums} | {
        "oldest_ms": min(oldest, default=None)
    }


def _all_moves(lanes: Mapping[str, Mapping[str, Any]], link: LinkState) -> bool:
    """Whether nothing keeps what waits from leaving: neither the link nor what people asked for."""
    held = link.value("held") or {}
    return link.state == "up" and not any(lanes[label]["waiting"] for label in held if label in lanes)


def _lane(outbox: OutboxReader, counts: LaneCounts, now_ms: int) -> dict[str, Any]:
    oldest = outbox.oldest(counts.lane) if counts.waiting.packets else None
    return {
        "waiting": counts.without_receipt.packets,
        "waiting_bytes": counts.without_receipt.bytes,
        "not_sent": counts.waiting.packets,
        "not_sent_bytes": counts.waiting.bytes,
        "in_stream": counts.in_stream.packets,
        "in_stream_bytes": counts.in_stream.bytes,
        "unverdicted": waiting_for_verdict(counts.by_status).packets,
        "announced": counts.announced,
        "dead": counts.dead.packets,
        "recorded": counts.total.packets,
        "recorded_bytes": counts.total.bytes,
        "oldest_ms": oldest,
        "oldest_age_s": None if oldest is None else max(0.0, (now_ms - oldest) / 1000),
    }


def _by_status(counts: Iterable[LaneCounts]) -> dict[str, int]:
    found: dict[str, int] = {}
    for lane in counts:
        for status, amount in lane.by_status.items():
            if status is not None and amount.packets:
                found[status.name] = found.get(status.name, 0) + amount.packets
    return found


def _registry(registry: RegistryReader) -> dict[str, Any]:
    cursors = registry.cursors()
    return {
        "records": registry.count(),
        "facts_cursor": cursors.facts,
        "records_cursor": cursors.records,
        "facts_not_settled": registry.unsettled(),
        "kept_raw": len(registry.raw(1_000)),
    }


def until_empty(
    outbox: OutboxReader | None, ledger: LedgerReader | None, only: str | None = None
) -> tuple[int, int]:
    """(`waiting`, `unverdicted`) alone, of a region's outbox or a center's ledger (or of one of its regions):
    cheap to poll."""
    if outbox is not None:
        lanes = outbox.counts().values()
        return (
            sum(one.without_receipt.packets for one in lanes),
            sum(waiting_for_verdict(one.by_status).packets for one in lanes),
        )
    assert ledger is not None
    counts = ledger.counts(only)
    return counts.incomplete, counts.unverdicted
