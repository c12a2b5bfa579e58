"""Where things are put together: one side's folder -> its stores, its link, its residents."""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import NamedTuple

from pipeline.adapters import ledger_compare, ledger_losses
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.disk import free_bytes
from pipeline.adapters.folder import Folder
from pipeline.adapters.health_file import HealthFile
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.outbox_renumbered import OutboxNames
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox
from pipeline.adapters.recover_file import RecoverFile
from pipeline.adapters.redis_center_link import RedisCenterLink
from pipeline.adapters.redis_dial import Endpoint
from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.adapters.steering_file import SteeredLanes
from pipeline.adapters.throttled import ThrottledSocket
from pipeline.center.answers import ANSWERS
from pipeline.center.behind import Limits, Watch
from pipeline.center.deliver import Deliver
from pipeline.center.intake import Intake
from pipeline.center.validation import Validation
from pipeline.ports import Clock
from pipeline.region.earlier import Earlier
from pipeline.region.forked import Forked
from pipeline.region.lanes import LaneOrder
from pipeline.region.level import Level
from pipeline.region.mirrored import Mirrored
from pipeline.region.mirroring import mirror_of
from pipeline.region.pull import Pull
from pipeline.region.push import Push
from pipeline.region.pushed import PushSettings
from pipeline.region.renumbering import Renumbering
from pipeline.region.speaker import Speaker
from pipeline.region.vitals import Vitals
from pipeline.region.voices import Voice
from pipeline.settings import Settings
from pipeline.throttle import Controller, ThrottleSettings
from pipeline.version import VERSION
from schemas.asks import LOSSES
from workers.embedded import ValkeyServer
from workers.looking import ledger_place
from workers.making import link_server
from workers.restraint import RestraintFile


def nudge_server(folder: Folder) -> ValkeyServer:
    """The embedded Valkey that carries this side's nudges: a socket, no network, nothing to keep."""
    return ValkeyServer(folder.run / "valkey", appendonly=False)


def broker_url(folder: Folder) -> str:
    """The broker of this side's Celery."""
    return folder.settings.broker.url or nudge_server(folder).celery_url


class RegionParts(NamedTuple):
    """What a region's process is made of."""

    push: Push
    pull: Pull
    outbox: SqliteOutbox
    clock: Clock
    mirrored: Mirrored


def region_pipeline(folder: Folder, *, take_over: bool = False) -> RegionParts:
    """Push and pull of a region, over one link each, so that one going down does not interrupt the other."""
    settings, join, clock = folder.settings, folder.join_file(), SystemClock()
    ours, center = folder.private_keys()[0], folder.center_key()
    outbox = _outbox(folder, clock)
    registry = SqliteRegistry(folder.path)
    mirrored = Mirrored(join.region, RecoverFile(folder.path), registry, clock)
    at = Endpoint(join.host, join.port, join.username, join.password)
    speaker = Speaker(
        instance=secrets.token_hex(8),
        take_over=take_over,
        titian=VERSION,
    )
    pushing = PushSettings(
        frame_bytes=settings.push.frame_bytes,
        link_window_bytes=settings.push.link_window_bytes,
        level_bytes=settings.push.level_bytes,
    )
    up = RedisRegionLink(join.region, at, throttle=_throttle(settings, clock))
    down = RedisRegionLink(join.region, at, sounded=Level(settings.throttle.target_ms / 1000))
    push = Push(
        outbox,
        registry,
        up,
        speaker,
        clock,
        ours,
        center,
        pushing,
        join.token,
        LaneOrder(SteeredLanes(folder.path, clock)),
        told=outbox.announced,
        voices=_voices(folder, outbox, registry, mirrored, clock),
        beside=mirrored,
    )
    pull = Pull(outbox, registry, down, speaker, clock, ours, center)
    return RegionParts(push, pull, outbox, clock, mirrored)


def _outbox(folder: Folder, clock: Clock) -> SqliteOutbox:
    """The region's outbox with its mirror, checked."""
    part = folder.settings.outbox
    outbox = SqliteOutbox(
        folder.path, OutboxSettings(low_water_bytes=part.low_water_bytes, ballast_bytes=part.ballast_bytes)
    )
    outbox.mirror = mirror_of(folder, clock)
    outbox.check(clock.now_ms())
    return outbox


def _throttle(settings: Settings, clock: Clock) -> ThrottledSocket:
    """What holds `up` back, so that others on the line do not feel it."""
    asked = settings.throttle
    return ThrottledSocket(
        Controller(ThrottleSettings(target_s=asked.target_ms / 1000)),
        clock.now_s,
        congestion=asked.congestion,
        lower_effort=asked.lower_effort,
    )


def _voices(
    folder: Folder, outbox: SqliteOutbox, registry: SqliteRegistry, mirrored: Mirrored, clock: Clock
) -> tuple[Voice, ...]:
    """What speaks in the region's wants beside its cursors and questions."""
    names = OutboxNames(folder.path)
    doubts = Forked(outbox, outbox.doubts, registry)
    vitals = Vitals(HealthFile(folder.run, clock))
    return doubts, Renumbering(names), Earlier(names, mirrored.epochs), vitals


def ledger_of(folder: Folder) -> SqlLedger:
    """The center's ledger, opened by this process."""
    return SqlLedger(ledger_place(folder), folder.settings.intake.receipt_window_bytes)


class CenterParts:
    """What the center's processes use, each made when it is first asked for: validation needs neither the
    link nor the keys."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.clock: Clock = SystemClock()

    @cached_property
    def ledger(self) -> SqlLedger:
        """The ledger, with connections of this process."""
        return ledger_of(self._folder)

    @cached_property
    def link(self) -> RedisCenterLink:
        """The link's broker, as the center's own user."""
        return RedisCenterLink.from_url(self._folder.settings.link.url or link_server(self._folder).url)

    @cached_property
    def intake(self) -> Intake:
        """Step 4."""
        return Intake(self.link, self.ledger, self.clock, self._folder.private_keys())

    @cached_property
    def validation(self) -> Validation:
        """Step 5."""
        return Validation(self.ledger)

    @cached_property
    def deliver(self) -> Deliver:
        """Step 6."""
        keys = self._folder.private_keys()
        answers = {**ANSWERS, **ledger_compare.ANSWERERS, LOSSES: ledger_losses.answer}
        return Deliver(self.ledger, self.link, self.clock, keys[0], VERSION, self.watch, answers)

    @cached_property
    def watch(self) -> Watch:
        """How far behind the center is, for the acks."""
        folder, part = self._folder, self._folder.settings.intake
        limits = Limits(
            part.receipt_window_bytes, part.windows_bytes_max, part.behind_s, part.low_water_bytes
        )

        def free() -> int | None:
            return None if folder.settings.ledger.url else free_bytes(folder.path)

        said = RestraintFile(folder.run, self.clock).say
        return Watch(limits, self.ledger, self.link, self.clock, free, said)
