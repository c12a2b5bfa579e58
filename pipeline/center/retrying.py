"""Step 4, once more: a frame that was kept aside is read again as intake does, and taken in if it can be.

Only what a region says of its packets: what it said of itself (wants, joins) is of that moment, and it says
that again by itself. What still cannot be read changes nothing, so that nobody is refused by a retry. It may
run beside intake: the ledger takes a region's frames one after the other, and knows what came twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.center.intake import IntakeLedger
from pipeline.center.outcomes import BadItem, Item
from pipeline.center.reading import (
    Announcements,
    ChunkOf,
    Outcome,
    Packets,
    Quarantined,
    Unreadable,
    read_frame,
)
from schemas.keys import PrivateKey


def retry_frame(
    frame: bytes, region: str, stream: str, ledger: IntakeLedger, ours: Sequence[PrivateKey], now_ms: int
) -> str:
    """Take the frame in; returns why not, or nothing where it is in. Raises `StoreError` if the ledger cannot
    write."""
    keys = {key.id: key for key in ours}
    ledger.refresh_keys()
    try:
        outcome = read_frame(frame, region, ledger.signer_of, keys.get)
    except Exception as why:  # our own defect, as in intake: it is why it was kept aside
        return f"reading it fails: {type(why).__name__}: {why}"
    outcome, wrong = _what_goes_in(outcome)
    if wrong:
        return wrong
    try:
        ledger.take_in(region, [Item(stream, frame, outcome)], 0, now_ms)
    except BadItem as why:
        return f"the ledger refuses it: {why}"
    return ""


def _what_goes_in(outcome: Outcome) -> tuple[Outcome, str]:
    match outcome:
        case Quarantined(_, sentence):
            return outcome, f"it still cannot be taken: {sentence}"
        case Unreadable(reason=reason):
            return outcome, f"it still cannot be read: {reason.detail}"
        case Packets(read=()):
            return outcome, "none of its packets can be read"
        case Packets():
            return replace(outcome, refused=()), ""
        case ChunkOf() | Announcements():
            return outcome, ""
    return outcome, "it is what the region said of itself then; it says that again by itself"
