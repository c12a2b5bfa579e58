"""Bundles at the center, put together: a region's packets from a file, and what goes back to it in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.adapters.bundle_file import BundleFile, BundleSource
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder
from pipeline.adapters.ledger_bundles import LedgerBundles
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.bundles import Opener, Scanned, Seqs
from pipeline.center.export import Begin, Export, Held, Receipt, Sealer, known_to
from pipeline.center.importing import Import, Imported
from pipeline.errors import NotFound, StoreError, UsageError, WrongSide
from schemas.errors import SchemaError
from schemas.manifest import Manifest
from schemas.messages import Since
from workers.bundling import Step, Writer, Written, begin_file, entries_of
from workers.looking import ledger_place

Bar = Callable[[float], Step]


def _ledger(folder: Folder) -> SqlLedger:
    where = ledger_place(folder)
    if isinstance(where, Path) and not where.exists():
        raise NotFound(
            f"there is no ledger at {where}: start the center once (`titian up --data {folder.path}`)"
        )
    return SqlLedger(where, folder.settings.intake.receipt_window_bytes)


# --- region -> center -----------------------------------------------------------------------------


@dataclass
class Taken:
    """What became of a file at the center. `said`: its manifest, `plan` what was meant to be in it (`None`:
    it cannot be read); `whole`: nothing of it is missing."""

    region: str
    scanned: Scanned
    said: Manifest | None = None
    plan: Manifest | None = None
    whole: bool = False
    trouble: str = ""
    done: Imported = field(default_factory=Imported)
    receipt: Written | None = None
    no_receipt: str = ""

    @property
    def missing(self) -> int | None:
        """Packets that were meant to be in the file and are not; `None` where nobody knows."""
        done = self.done
        if self.whole or self.plan is None:
            return None
        return max(0, self.plan.entries - done.new - done.already - done.forks - done.refused)


def import_packets(
    folder: Folder, path: Path, scanned: Scanned, dry_run: bool, receipt: Path, bar: Bar
) -> Taken:
    """A region's packets into the ledger, and a receipt for the courier beside. Raises `WrongSide`,
    `UsageError`, `StoreError`."""
    keys, clock = folder.private_keys(), SystemClock()
    ours = {key.id: key for key in keys}
    region = scanned.first.region if scanned.first is not None else ""
    found = Taken(region, scanned)
    if scanned.first is None:
        return found
    with closing(_ledger(folder)) as ledger, closing(LedgerBundles(ledger_place(folder))) as known:
        _is_ours(path, scanned, ledger, set(ours))
        work = Import(region, ledger, known, keys, clock, dry_run=dry_run)
        step = bar(float(scanned.mark.size))
        try:
            for entry in entries_of(path, scanned.mark.entries):
                work.take(entry.frame)
                step(float(entry.after.size), f"{work.done.new:,} new packets")
        finally:
            found.done = work.finish()
        # Its key may have become known only by the first word in the file itself.
        opener = Opener(work.signer_of, ours.get)
        found.plan = opener.plan(scanned)
        try:
            found.said = opener.manifest(scanned)
            found.whole = found.said is not None and not scanned.damage
        except SchemaError as why:
            found.trouble = f"its manifest does not hold: {why}"
        if not dry_run:
            try:
                _receipt(folder, ledger, known, found, receipt)
            except (StoreError, OSError) as why:  # the packets are in all the same
                found.trouble = f"no receipt could be written ({why}): --receipt FILE puts it elsewhere"
    return found


def _is_ours(path: Path, scanned: Scanned, ledger: SqlLedger, ours: set[bytes]) -> None:
    header = scanned.first
    assert header is not None
    if scanned.to_center is False or (scanned.to_center is None and header.signer in ours):
        raise WrongSide(
            f"{path} was made by the center for region {header.region}: it belongs there "
            f"(`titian import {path.name} --data REGION`)"
        )
    if header.recipient not in ours:
        raise UsageError(
            f"{path} is sealed to another center than this one: take it there, or let region {header.region} "
            "make one with a join file of this center"
        )
    if ledger.standing(header.region) is None:
        raise UsageError(
            f"{path} comes from region {header.region}, which is not admitted here: "
            f"`titian admit {header.region} --out {header.region}.join` first, then import it again"
        )


def _receipt(folder: Folder, ledger: SqlLedger, known: LedgerBundles, found: Taken, out: Path) -> None:
    """The facts about the packets of that bundle, for the courier to take back: all of it or nothing."""
    if not any(seqs for _, seqs in found.done.seqs.items()):
        found.no_receipt = "nothing in the file could be taken"
        return
    standing = ledger.standing(found.region)
    if standing is None or standing.key is None or standing.refusal:
        found.no_receipt = f"region {found.region} has no key to which it could be sealed"
        return
    if not standing.since:
        found.no_receipt = "this center has never run: `titian up`, then import it again"
        return
    made = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    made.unlink(missing_ok=True)
    sealer = Sealer(found.region, folder.private_keys()[0], standing.key)
    tops = Begin(standing.facts_no, standing.records_no)
    export = Receipt(ledger, sealer, known_to(standing.want, standing.since), tops)
    try:
        with BundleFile(made) as file:
            history = standing.want.history if standing.want else ()
            Writer(file).write(export.frames_for(known, found.done.seqs), lambda *_: None, "packets")
            done = _finish(file, export, out, history, found.done.seqs)
        os.replace(made, out)
    finally:
        made.unlink(missing_ok=True)
    done.total = sum(stop - start for _, seqs in found.done.seqs.items() for start, stop in seqs)
    found.receipt = done


# --- center -> region -----------------------------------------------------------------------------


def export_records(
    folder: Folder, out: Path, region: str, since: Begin | None, force: bool, bar: Bar
) -> Written:
    """Facts and records of a region into FILE, above `since` (`None`: above what the region named last)."""
    keys, clock = folder.private_keys(), SystemClock()
    with closing(_ledger(folder)) as ledger:
        standing = ledger.standing(region)
        if standing is None or standing.refusal:
            raise UsageError(f"region {region} is not admitted here (`titian regions` lists those that are)")
        if standing.key is None:
            raise UsageError(
                f"region {region} has not joined yet, so there is no key to seal to: let it speak over the "
                "link once, or import a bundle of its packets, which brings its key"
            )
        if not standing.since:
            raise UsageError("this center has never run: `titian up` first")
        resumes = begin_file(out, region, keys, standing.key, force)
        held = Held().read(BundleSource(out)) if resumes else Held()
        asked = known_to(standing.want, standing.since) if since is None else since
        _must_go_on(out, held, standing.since, asked if since is not None else held.begins(asked))
        tops = Begin(standing.facts_no, standing.records_no)
        sealer = Sealer(region, keys[0], standing.key)
        export = Export(ledger, sealer, held.begins(asked), tops, held)
        history = standing.want.history if standing.want else ()
        with BundleFile(out) as file:
            resumed_bytes, writer = file.mark.size, Writer(file)
            if file.mark.entries == 0:
                writer.add(export.plan(clock.now_ms(), history))
            writer.write(export.frames(), bar(float("nan")), "records")
            done = _finish(file, export, out, history, None)
        done.resumed_bytes = resumed_bytes
    return done


def _must_go_on(out: Path, held: Held, since: Sequence[Since], asked: Begin) -> None:
    """Raise `UsageError` if what is asked for cannot go on behind what a file holds."""
    if not held.is_of(since):
        raise UsageError(
            f"{out} was begun before this center was restored from a backup; --force writes it anew"
        )
    if (begun := held.begins(asked)) != asked:
        raise UsageError(
            f"{out} was begun at {begun.facts}:{begun.records}, and this begins at "
            f"{asked.facts}:{asked.records}: say the same --since, or --force writes it anew"
        )


def _finish(
    file: BundleFile, export: Export, out: Path, known: Sequence[Since], packets: Seqs | None
) -> Written:
    """The manifest, and what the file holds now."""
    now_ms = SystemClock().now_ms()
    mark = file.append([export.manifest(file.mark, now_ms, known, packets)])
    return Written(
        export.region,
        out,
        packets=export.changes,
        facts=export.packets,
        file_bytes=mark.size,
        chain=mark.chain.hex(),
        made_ms=now_ms,
        cursors={
            "facts": [export.begin.facts, export.at.facts],
            "records": [export.begin.records, export.at.records],
        },
    )
