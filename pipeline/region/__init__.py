"""The region: 1 record -> 2 outbox -> 3 push, and 7 pull -> registry. What other programs use is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.adapters.outbox_draft import AlreadyTaken, Outcome, Refused, Taken
    from pipeline.adapters.outbox_sqlite import OutboxSettings, create_outbox
    from pipeline.region.attachments import PackingLimits
    from pipeline.region.producer import Producer, open_outbox

__all__ = [
    "AlreadyTaken",
    "OutboxSettings",
    "Outcome",
    "PackingLimits",
    "Producer",
    "Refused",
    "Taken",
    "create_outbox",
    "open_outbox",
]

_WHERE = {
    "AlreadyTaken": "pipeline.adapters.outbox_draft",
    "Outcome": "pipeline.adapters.outbox_draft",
    "Refused": "pipeline.adapters.outbox_draft",
    "Taken": "pipeline.adapters.outbox_draft",
    "OutboxSettings": "pipeline.adapters.outbox_sqlite",
    "create_outbox": "pipeline.adapters.outbox_sqlite",
    "PackingLimits": "pipeline.region.attachments",
    "Producer": "pipeline.region.producer",
    "open_outbox": "pipeline.region.producer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: adapters use modules of this package, and this offers some of theirs."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)
