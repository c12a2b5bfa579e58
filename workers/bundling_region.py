"""Bundles at a region, put together: packets into a file for the center, and what it sent back from one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.bundle_file import BundleFile, BundleSource
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_bundles import Choice, OutboxBundles
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox
from pipeline.adapters.registry_bundles import RegistryBundles
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.bundles import Opener, Scanned
from pipeline.errors import UsageError, WrongSide
from pipeline.region import export as up
from pipeline.region.framing import Framer
from pipeline.region.importing import Import, Imported
from schemas.errors import SchemaError
from schemas.manifest import Manifest
from workers.bundling import Step, Writer, Written, begin_file, entries_of

Bar = Callable[[float], Step]


def export_packets(folder: Folder, out: Path, choice: Choice, force: bool, bar: Bar) -> Written:
    """Packets of the outbox into FILE; `bar` gives what shows the progress of so many bytes."""
    keys, center, join, clock = folder.private_keys(), folder.center_key(), folder.join_file(), SystemClock()
    with closing(OutboxBundles(folder.path)) as outbox:
        resumes = begin_file(out, outbox.region, keys, center, force)
        held = up.Held().read(BundleSource(out)) if resumes else None
        framer = Framer(outbox.region, outbox.epoch, keys[0], center)
        export = up.Export(outbox, framer, choice, held)
        amount = outbox.amount(choice)
        with BundleFile(out) as file:
            done = Written(outbox.region, out, resumed_bytes=file.mark.size)
            writer = Writer(file)
            if file.mark.entries == 0:
                writer.add(export.plan(amount.packets, amount.bytes, clock.now_ms()))
            writer.write(export.frames(up.join_of(join.token, keys[0])), bar(amount.bytes), "packets")
            done.made_ms = clock.now_ms()
            mark = file.append([export.manifest(file.mark, done.made_ms)])
        done.packets, done.bytes, done.damaged = export.packets, export.bytes, export.damaged
        done.total = sum(stop - start for _, seqs in export.seqs.items() for start, stop in seqs)
        done.file_bytes, done.chain = mark.size, mark.chain.hex()
        done.left_out = outbox.left_out()
    return done


@dataclass
class Applied:
    """What became of a file at a region. `said`: its manifest, or what was meant to be in it (`None`: neither
    can be read); `whole`: nothing of it is missing; `why`: nothing was taken, and why."""

    scanned: Scanned
    said: Manifest | None
    whole: bool
    trouble: str = ""
    why: str = ""
    done: Imported | None = None
    facts: int = 0
    records: int = 0


def import_records(folder: Folder, path: Path, scanned: Scanned, dry_run: bool, bar: Bar) -> Applied:
    """Facts and records of FILE into the stores. Raises `WrongSide`, `UsageError`, `StoreError`."""
    region, keys, center = folder.settings.region, folder.private_keys(), folder.center_key()
    _is_ours(path, scanned, region)
    ours = {key.id: key for key in keys}
    opener = Opener(lambda key: center if key == center.id else None, ours.get)
    found = Applied(scanned, None, False)
    try:
        found.said = opener.manifest(scanned)
        found.whole = found.said is not None and not scanned.damage
    except SchemaError as why:
        found.trouble = f"its manifest does not hold: {why}"
    found.said = found.said or opener.plan(scanned)
    part = folder.settings.outbox
    limits = OutboxSettings(low_water_bytes=part.low_water_bytes, ballast_bytes=part.ballast_bytes)
    outbox, facts = SqliteOutbox(folder.path, limits), SqliteRegistry(folder.path)
    with (
        closing(OutboxBundles(folder.path)) as look,
        closing(outbox),
        closing(facts),
        closing(RegistryBundles(folder.path)) as registry,
    ):
        work = Import(
            registry,
            facts,
            outbox,
            region,
            keys,
            center,
            SystemClock(),
            epochs=look.epochs,
            said=found.said,
            whole=found.whole,
            dry_run=dry_run,
        )
        found.why = work.begin()
        if not found.why:
            found.done = _take(work, path, scanned, bar)
        found.facts, found.records = registry.cursors()[:2]
    return found


def _take(work: Import, path: Path, scanned: Scanned, bar: Bar) -> Imported:
    step, to_its_end = bar(float(scanned.mark.size)), False
    try:
        for entry in entries_of(path, scanned.mark.entries):
            work.take(entry.frame)
            step(float(entry.after.size), f"{work.done.records:,} records")
        to_its_end = True
    finally:
        work.finish(to_its_end=to_its_end)
    return work.done


def _is_ours(path: Path, scanned: Scanned, region: str) -> None:
    header = scanned.first
    if header is None:
        return
    if scanned.to_center:
        raise WrongSide(
            f"{path} was made by region {header.region} for the center: it belongs there "
            f"(`titian import {path.name} --data CENTER`)"
        )
    if header.region != region:
        raise UsageError(
            f"{path} is for region {header.region}, and this folder is that of region {region}: take it "
            f"there, or make one for here (`titian export --region {region}` at the center)"
        )
