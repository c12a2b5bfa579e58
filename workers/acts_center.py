"""What people do to one region at its center, step 6: hold it, lower its window, release it.

For the command line and the console alike, as `workers/acts.py`: written down first, then done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import NotFound, UsageError
from workers.acts import Actor, Done, recorded

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.adapters.ledger_reader import RegionRow
    from pipeline.adapters.ledger_sql import SqlLedger
    from pipeline.center.holding import Hold

#: A hold for a time lasts this long at most, seconds; one that shall last longer has no end.
FOR_S_MAX = 366 * 86_400.0


def hold(
    folder: Folder,
    region: str,
    window_bytes: int | None,
    hold_s: float | None,
    actor: Actor,
    reason: str,
) -> Done:
    """Ask a region to hold (`window_bytes` `None`: only what is urgent and what is control goes), or let it
    send no more than `window_bytes` that are not acknowledged; for `hold_s` seconds (`None`: until it is
    released). What was asked of it before is replaced.

    Raises `UsageError` (no reason, a window or a time that is none), `NotFound` (no such region).
    """
    from pipeline.adapters.clock import SystemClock
    from pipeline.center.holding import HOLD_S, Hold

    folder.need("center")
    _check(folder, window_bytes, hold_s, actor, reason)
    now_ms = SystemClock().now_ms()
    until_ms = None if hold_s is None else now_ms + round(hold_s * 1000)
    asked = Hold(
        window_bytes, HOLD_S if window_bytes is None else 0.0, until_ms, reason.strip(), actor.name, now_ms
    )
    ledger = _ledger(folder)
    try:
        if _row(ledger, region).revoked_ms is not None:
            raise UsageError(
                f"region {region} is shut out: nothing of it is taken, so there is nothing to hold"
            )
        with recorded(folder, actor, "hold", region, reason, window_bytes=window_bytes, until_ms=until_ms):
            ledger.hold(region, asked, now_ms)
    finally:
        ledger.close()
    return Done(1)


def release(folder: Folder, region: str, actor: Actor, reason: str) -> Done:
    """Let a region send as all others may. Raises `NotFound` where nobody holds it."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.center.holding import in_force

    folder.need("center")
    now_ms, ledger = SystemClock().now_ms(), _ledger(folder)
    try:
        _row(ledger, region)
        held = _held(ledger, region)
        if held is None:
            raise NotFound(f"nobody holds region {region} (`titian depth` says whether the center is behind)")
        with recorded(folder, actor, "release", region, reason):
            ledger.hold(region, None, now_ms)
        if in_force(held, now_ms) is None:
            raise NotFound(f"the hold of region {region} was over already")
    finally:
        ledger.close()
    return Done(1)


def _ledger(folder: Folder) -> SqlLedger:
    from pipeline.adapters.ledger_sql import SqlLedger
    from workers.looking import ledger_place

    return SqlLedger(ledger_place(folder), folder.settings.intake.receipt_window_bytes)


def _row(ledger: SqlLedger, region: str) -> RegionRow:
    row = next((row for row in ledger.reader.regions() if row.code == region), None)
    if row is None:
        raise NotFound(f"region {region} was never admitted here (`titian regions` lists those that were)")
    return row


def _held(ledger: SqlLedger, region: str) -> Hold | None:
    return ledger.reader.holds().get(region)


def _check(folder: Folder, window_bytes: int | None, hold_s: float | None, actor: Actor, reason: str) -> None:
    from pipeline.center.behind import WINDOW_BYTES_MIN
    from pipeline.center.holding import REASON_CHARS_MAX, WHO_CHARS_MAX

    if not reason.strip():
        raise UsageError("say why (--reason TEXT): the region is shown it, and it is written down")
    if len(reason) > REASON_CHARS_MAX or len(actor.name) > WHO_CHARS_MAX:
        raise UsageError(f"at most {REASON_CHARS_MAX} characters of reason, and {WHO_CHARS_MAX} of name")
    most = folder.settings.intake.receipt_window_bytes
    if window_bytes is not None and not WINDOW_BYTES_MIN <= window_bytes <= most:
        raise UsageError(
            f"a window is {WINDOW_BYTES_MIN:,} to {most:,} bytes (what every region gets): "
            "without a window the region is held"
        )
    if hold_s is not None and not 1.0 <= hold_s <= FOR_S_MAX:
        raise UsageError("a hold lasts from a second to a year; without a time it lasts until it is released")
