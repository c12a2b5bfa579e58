"""A side's stores, opened for one request by whichever thread serves it, and closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pipeline.adapters.watch_store import WatchReader
from pipeline.errors import WrongSide
from workers.console.side import Side
from workers.looking import CenterLook, RegionLook, look


@contextmanager
def opened(side: Side, region: str | None = None) -> Iterator[RegionLook | CenterLook]:
    """The stores, read-only; at a center those of one `region`. Raises `TitianError`."""
    if region is not None and side.kind != "center":
        raise WrongSide("this is a region: only a center has others")
    store = look(side.folder, region)
    try:
        yield store
    finally:
        for one in (store.ledger,) if isinstance(store, CenterLook) else (store.outbox, store.registry):
            one.close()


@contextmanager
def seen(side: Side) -> Iterator[WatchReader]:
    """What was seen over time."""
    with closing(WatchReader(side.folder.path)) as reader:
        yield reader
