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
from pipeline.inspection.depth_lanes import UNVERDICTED as UNVERDICTED
from pipeline.inspection.depth_lanes import Flow, waiting_for_verdict
from pipeline.inspection.depth_parts import (
    Around,
    ages_json,
    link_json,
    return_json,
    steering_json,
    throttle_json,
)
from pipeline.inspection.rates import runway
from pipeline.inspection.running import LinkState

if TYPE_CHECKING:  # a region does not load the center's database library
    from pipeline.adapters.ledger_reader import LedgerReader

VERSION = 1
NOBODY_ASKED = Around()


def region_depth(
    outbox: OutboxReader,
    registry: RegistryReader,
    link: LinkState,
    *,
    now_ms: int,
    free_bytes: int,
    low_water_bytes: int,
    beside: Beside = NOTHING,
    around: Around = NOBODY_ASKED,
) -> dict[str, Any]:
    """The whole document of a region. `free_bytes` are the disk's; enqueueing ends at `low_water_bytes`."""
    meta, counts = outbox.meta(), outbox.counts()
    facts, records = registry.positions()
    without = sum((one.without_receipt for one in counts.values()), Amount())
    flow = Flow(outbox, counts, link, around, now_ms, meta.made_ms, free=not meta.in_doubt)
    lanes = flow.lanes()
    found: dict[str, Any] = {
        "version": VERSION,
        "side": "region",
        "titian": around.titian,
        "region": meta.region,
        "epoch": meta.epoch,
        "at_ms": now_ms,
        "waiting": without.packets,
        "waiting_bytes": without.bytes,
        **_of_all(lanes),
        "lanes": lanes,
        "by_status": _by_status(counts.values()),
        "rates": flow.rates,
        "eta_s": flow.eta_s,
        "runway": runway(free_bytes, low_water_bytes, flow.grown_per_day()),
        "registry": _registry(registry, facts, records),
        "tallies": meta.tallies,
        "throttle": throttle_json(link.value("throttle")),
        "way_back": throttle_json(link.value("level")) if link.state == "up" else None,
        "link": link_json(link, around, now_ms),
        "return": return_json(link, facts, records, now_ms),
        **steering_json(around),
        "moved_ms": flow.moved_ms,
        "ages": ages_json(link, around, beside.reconciled, now_ms),
        **custody_json(meta, registry, now_ms, beside),
    }
    found["alarms"] = region_alarms(found, around.limits)
    return found


def _of_all(lanes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the lanes come to together."""
    sums = ("unverdicted", "announced", "dead", "recorded")
    oldest = [one["oldest_ms"] for one in lanes.values() if one["oldest_ms"] is not None]
    return {name: sum(lane[name] for lane in lanes.values()) for name in sums} | {
        "oldest_ms": min(oldest, default=None)
    }


def _by_status(counts: Iterable[LaneCounts]) -> dict[str, int]:
    found: dict[str, int] = {}
    for lane in counts:
        for status, amount in lane.by_status.items():
            if status is not None and amount.packets:
                found[status.name] = found.get(status.name, 0) + amount.packets
    return found


def _registry(registry: RegistryReader, facts: int, records: int) -> dict[str, Any]:
    return {
        "records": registry.count(),
        "facts_cursor": facts,
        "records_cursor": records,
        "facts_not_settled": registry.unsettled(),
        "kept_raw": registry.raw_count(),
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
