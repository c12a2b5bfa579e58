"""Step 2: a new outbox."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from pipeline.errors import UsageError
from schemas.identity import check_region, new_epoch


def create_outbox(
    folder: str | os.PathLike[str],
    region: str,
    now_ms: int | None = None,
    epoch: Callable[[], str] = new_epoch,
) -> None:
    """Make the outbox of `region` in `folder` (made with mode 0700 if it is not there).

    Raises `UsageError` if there is one of another region; one of the same region is left as it is."""
    check_region(region)
    folder = Path(folder)
    now_ms = SystemClock().now_ms() if now_ms is None else now_ms
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database.create(folder / FILE_NAME, LAYOUT)
    try:
        with database.write() as db:
            held = db.execute("SELECT value FROM meta WHERE key = 'region'").get
            if held is not None and held != region:
                raise UsageError(f"{folder} holds the outbox of region {held}, not of {region}")
            if held is None:
                made = [("region", region), ("made_ms", now_ms), ("settled_to", 0)]
                db.executemany("INSERT INTO meta VALUES (?, ?)", made)
                db.execute("INSERT INTO epoch(epoch, began_ms, why) VALUES (?, ?, 'made')", (epoch(), now_ms))
    finally:
        database.close()
