"""Inspection at the center, steps 4 to 6: what is known of each region, for `depth` and `regions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.region.rebuild import rebuild_json

if TYPE_CHECKING:
    from pipeline.adapters.ledger_reader import AnnouncedAmount, Counts, LedgerReader, RegionRow


def regions_json(rows: Sequence[RegionRow], now_ms: int) -> list[dict[str, Any]]:
    """What the center knows of each region that it ever admitted."""
    return [
        {
            "region": row.code,
            "state": _state(row),
            "admitted_ms": row.admitted_ms,
            "revoked_ms": row.revoked_ms,
            "keys": row.keys,
            "session": row.session,
            "epoch": row.epoch,
            "highest_seq": row.highest_seq,
            "last_seen_ms": row.last_seen_ms,
            "last_seen_s": None if row.last_seen_ms is None else max(0.0, (now_ms - row.last_seen_ms) / 1000),
        }
        for row in rows
    ]


def _state(row: RegionRow) -> str:
    if row.revoked_ms is not None:
        return "revoked"
    if row.joined:
        return "joined"
    return "joining anew" if row.keys else "not joined yet"


def region_counts(counts: Counts) -> dict[str, Any]:
    """The packets of one region as they are now."""
    return {
        "received": counts.received,
        "waiting": counts.incomplete,
        "unverdicted": counts.unverdicted,
        "dead": counts.refused,
        "records": counts.records,
        "quarantined": counts.quarantined,
    }


def one_region(
    ledger: LedgerReader, region: str, told: Mapping[str, AnnouncedAmount], lost: Mapping[str, int]
) -> dict[str, Any]:
    """What there is of one region, how much of it is `lost`, and how its rebuild stands."""
    return {
        **region_counts(ledger.counts(region)),
        **announced_json(told, region),
        "lost": lost.get(region, 0),
        "rebuild": region_rebuild(ledger, region),
    }


def region_rebuild(ledger: LedgerReader, region: str) -> dict[str, Any] | None:
    """How that region's rebuild stands, as its latest word says; `None` where there is none."""
    state = ledger.rebuild_of(region)
    return None if state is None else rebuild_json(state.back, state.clock_ms, None, None, state.fresh)


def announced_json(told: Mapping[str, AnnouncedAmount], only: str | None) -> dict[str, Any]:
    """What is announced and not here, of one region or of all; `announced_since_ms`: the first word of it."""
    chosen = [amount for region, amount in told.items() if only in (None, region)]
    since = [amount.since_ms for amount in chosen if amount.since_ms is not None]
    return {
        "announced": sum(amount.packets for amount in chosen),
        "announced_bytes": sum(amount.bytes for amount in chosen),
        "announced_since_ms": min(since, default=None),
    }
