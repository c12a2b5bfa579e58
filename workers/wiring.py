"""Where things are put together: one side's folder -> its stores, its link, its residents."""

from __future__ import annotations

import secrets
from importlib.metadata import version

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox
from pipeline.adapters.redis_center_link import RedisCenterLink
from pipeline.adapters.redis_connection import Endpoint
from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.center.deliver import Deliver
from pipeline.center.intake import Intake
from pipeline.center.validation import Validation
from pipeline.ports import Clock
from pipeline.region.pull import Pull
from pipeline.region.push import Push, PushSettings
from pipeline.region.speaker import Speaker
from workers.embedded import ValkeyServer
from workers.looking import ledger_place
from workers.making import link_server


def nudge_server(folder: Folder) -> ValkeyServer:
    """The embedded Valkey that carries this side's nudges: a socket, no network, nothing to keep."""
    return ValkeyServer(folder.run / "valkey", appendonly=False)


def broker_url(folder: Folder) -> str:
    """The broker of this side's Celery."""
    return folder.settings.broker.url or nudge_server(folder).celery_url


def region_pipeline(folder: Folder, *, take_over: bool = False) -> tuple[Push, Pull, Clock]:
    """Push and pull of a region, over one link each, so that one going down does not interrupt the other."""
    settings, join, clock = folder.settings, folder.join_file(), SystemClock()
    ours, center = folder.private_keys()[0], folder.center_key()
    part = settings.outbox
    outbox = SqliteOutbox(
        folder.path, OutboxSettings(low_water_bytes=part.low_water_bytes, ballast_bytes=part.ballast_bytes)
    )
    outbox.check(clock.now_ms())
    registry = SqliteRegistry(folder.path)
    at = Endpoint(join.host, join.port, join.username, join.password)
    speaker = Speaker(
        instance=secrets.token_hex(8),
        take_over=take_over,
        titian=version("titian"),
    )
    pushing = PushSettings(
        frame_bytes=settings.push.frame_bytes,
        link_window_bytes=settings.push.link_window_bytes,
        level_bytes=settings.push.level_bytes,
    )
    up, down = (RedisRegionLink(join.region, at) for _ in range(2))
    push = Push(outbox, registry, up, speaker, clock, ours, center, pushing, token=join.token)
    return push, Pull(outbox, registry, down, speaker, clock, ours, center), clock


def ledger_of(folder: Folder) -> SqlLedger:
    """The center's ledger, opened by this process."""
    return SqlLedger(ledger_place(folder), folder.settings.intake.receipt_window_bytes)


def center_pipeline(folder: Folder) -> tuple[SqlLedger, RedisCenterLink, Intake, Validation, Deliver, Clock]:
    """What the center's processes use; each takes its own part."""
    ledger, clock = ledger_of(folder), SystemClock()
    link = RedisCenterLink.from_url(folder.settings.link.url or link_server(folder).url)
    keys = folder.private_keys()
    intake = Intake(link, ledger, clock, keys)
    deliver = Deliver(ledger, link, clock, keys[0], version("titian"))
    return ledger, link, intake, Validation(ledger), deliver, clock
