"""Steps 2 to 7: what `/metrics`, `/healthz`, `/readyz` and `titian metrics` measure of one side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.disk import free_bytes
from pipeline.adapters.folder import Folder
from pipeline.errors import TitianError
from pipeline.inspection.health import RESIDENTS, Checked, healthy, ready
from pipeline.inspection.metrics import Value, values, without_stores
from pipeline.version import VERSION
from workers.embedded import ValkeyServer
from workers.looking import CenterLook, RegionLook, is_running, link_of, look
from workers.making import LINK_VALKEY
from workers.supervisor_state import running

#: How long a broker may take to answer, seconds.
ANSWER_S = 1.0


@contextmanager
def _looked(folder: Folder) -> Iterator[RegionLook | CenterLook]:
    """The stores of that side for one look, by whichever thread asks. Raises `TitianError`."""
    store = look(folder)
    try:
        yield store
    finally:
        for one in (store.ledger,) if isinstance(store, CenterLook) else (store.outbox, store.registry):
            one.close()


def depth_of(folder: Folder) -> dict[str, Any] | None:
    """A document of `titian depth`, made now; `None` where the stores cannot be read."""
    try:
        with _looked(folder) as store:
            return store.depth()
    except (TitianError, OSError):
        return None


def metrics_of(folder: Folder, document: Mapping[str, Any] | None) -> list[Value]:
    """The values of that document; of none, what can be said without."""
    if document is not None:
        return values({"titian": VERSION, **document})
    settings = folder.settings
    return without_stores(settings.side, settings.region, VERSION, running=is_running(folder))


def health_of(folder: Folder, looked_ms: int | None, every_s: float) -> Iterator[Checked]:
    """Whether the watching process looks and the residents move. `looked_ms`: when it last did."""
    age_s = None if looked_ms is None else max(0.0, time.time() - looked_ms / 1000)
    ticks = {name: _age_s(folder.run / f"{name}.tick") for name in RESIDENTS[folder.settings.side]}
    return healthy(age_s, every_s, ticks)


def _age_s(path: Path) -> float | None:
    with suppress(OSError):
        return max(0.0, time.time() - path.stat().st_mtime)
    return None


def readiness_of(folder: Folder) -> Iterator[Checked]:
    """Whether this side can do its work."""
    settings, state = folder.settings, running(folder.run)
    center = settings.side == "center"
    low_bytes = (settings.intake if center else settings.outbox).low_water_bytes
    elsewhere = center and bool(settings.ledger.url)
    children = () if state is None else state.children
    return ready(
        {"ledger" if center else "outbox and registry": _opens(folder)},
        None if elsewhere else free_bytes(folder.path) - low_bytes,
        {one.name: one.pid is not None for one in children},
        {} if state is None else _brokers(folder, center),
        None if center else link_of(folder).state,
    )


def _opens(folder: Folder) -> str:
    """What is wrong with the stores; empty where they can be read."""
    try:
        with _looked(folder) as store:
            store.left()
    except (TitianError, OSError) as why:
        return " ".join(str(why).split())
    return ""


def _brokers(folder: Folder, center: bool) -> dict[str, str]:
    """What is wrong with each broker that this side's processes use."""
    found = {"broker": _answers(folder.settings.broker.url, folder.run / "valkey")}
    if center:
        found["link broker"] = _answers(folder.settings.link.url, folder.run / LINK_VALKEY)
    return found


def _answers(url: str, embedded: Path) -> str:
    """What is wrong with the broker at `url` (empty: the embedded one); empty where it answers."""
    try:
        url = url or ValkeyServer(embedded, users=None).url
        patience = {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **patience) as client:
            client.ping()
    except (redis.exceptions.RedisError, TitianError, OSError, ValueError) as why:
        return type(why).__name__  # not its text: it may hold the address with its password
    return ""
