"""What `titian doctor` measures, here and on the way to the center; `pipeline.inspection.doctor*` judges.

The machine is in `probing_machine`, the servers in `probing_servers`, who watches in `probing_watch`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.disk import free_bytes
from pipeline.adapters.folder import Folder, find_place
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.errors import OlderLayout, TitianError, UsageError
from pipeline.inspection import doctor, doctor_kernel, doctor_settings
from pipeline.inspection.doctor import Check
from pipeline.inspection.mirror import mirror_json, recovery_check, recovery_json
from pipeline.settings_mended import mended_settings, unknown_variables
from workers.looking import ledger_place, link_of
from workers.making import LINK_VALKEY
from workers.probing_kernel import kernel_of
from workers.probing_machine import (
    fsync_ms,
    keys_check,
    open_to_others,
    owners_check,
    place_of,
    telling_checks,
    zone_check,
)
from workers.probing_servers import LINK, broker_checks, link_check
from workers.probing_watch import watch_checks
from workers.supervisor_state import running


def folder_to_examine(data: Path | None) -> tuple[Folder, list[str]]:
    """The side's folder as far as its settings can be understood, and what is wrong with them.

    Raises `UsageError` where there is no folder at all."""
    path, how = find_place(data)
    toml = path / "titian.toml"
    if not toml.exists():
        raise UsageError(
            f"{path} is no side's folder (it has no titian.toml): "
            "`titian init center` or `titian init region` makes one"
        )
    side = "region" if (path / "center.json").exists() else "center"
    settings, wrong = mended_settings(toml, side, "")
    return Folder(path.resolve(), settings, how), wrong


def examine(folder: Folder, wrong: Sequence[str] = ()) -> Iterator[Check]:
    """Every check of that side, in order. `wrong`: what of its settings was not understood."""
    path, now_ms = folder.path, SystemClock().now_ms()
    up = running(path / "run")
    yield doctor.python(tuple(sys.version_info[:3]))
    yield doctor.packages({name: place_of(name) for name in ("schemas", "pipeline", "workers")})
    yield from doctor_settings.settings(wrong, unknown_variables(os.environ))
    yield doctor.modes(open_to_others(path), str(path))
    yield owners_check(path)
    yield zone_check()
    yield doctor.room(free_bytes(path), folder.settings.outbox.low_water_bytes)
    yield doctor.fsync(fsync_ms(path))
    yield keys_check(folder, now_ms)
    yield doctor.running(None if up is None else up.pid, "" if up is None else up.started_at, str(path))
    if folder.settings.side == "region":
        yield from _region(folder, now_ms)
    else:
        yield from _center(folder, now_ms, up is not None)
    yield from broker_checks("broker", folder, folder.settings.broker.url, "valkey", up is not None)
    yield from telling_checks(folder)
    yield from watch_checks(folder, up is not None)


def _region(folder: Folder, now_ms: int) -> Iterator[Check]:
    import apsw

    yield doctor.sqlite("apsw", apsw.sqlite_lib_version())
    try:
        outbox = OutboxReader(folder.path)
        future = [one.minute * 60_000 for one in outbox.rates(now_ms // 60_000 + 1)]
        lost = outbox.meta().tallies.get("lost", 0)
        outbox.close()
        yield doctor.store("outbox", "")
        yield doctor.lost(lost)
        yield doctor.clock_forward(now_ms, max(future, default=None))
    except TitianError as why:
        yield _not_open("outbox", why)
    try:
        RegistryReader(folder.path).close()
        yield doctor.store("registry", "")
    except TitianError as why:
        yield _not_open("registry", why)
    mirror = mirror_json(folder)
    if mirror is not None:
        yield doctor.mirror(mirror)
    recovery = recovery_json(folder)
    if recovery is not None:
        yield recovery_check(recovery)
    worker = link_of(folder)
    off_ms = worker.value("clock_off_ms")
    yield doctor.clock_off(None if off_ms is None else int(off_ms))
    yield doctor.served(
        link_check(folder),
        bool(worker.value("superseded")),
        str(worker.value("refusal") or ""),
        str(worker.value("denied") or ""),
    )
    yield from doctor_kernel.kernel(kernel_of(folder))


def _center(folder: Folder, now_ms: int, is_up: bool) -> Iterator[Check]:
    import pysqlite3

    place = ledger_place(folder)
    if isinstance(place, Path):
        yield doctor.sqlite("pysqlite3", str(pysqlite3.sqlite_version))
    try:
        ledger = LedgerReader.open(place)
        future = [minute * 60_000 for minute in ledger.rates(now_ms // 60_000 + 1)]
        ledger.close()
        yield doctor.store("ledger", "")
        yield doctor.clock_forward(now_ms, max(future, default=None))
    except TitianError as why:
        yield _not_open("ledger", why)
    yield from broker_checks(LINK, folder, folder.settings.link.url, LINK_VALKEY, is_up)


def _not_open(name: str, why: TitianError) -> Check:
    if isinstance(why, OlderLayout):
        return Check(name, "warn", str(why), "start this side: that is all")
    return doctor.store(name, str(why))
