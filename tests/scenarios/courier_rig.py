"""A courier between the two sides of a `World`: bundles made and taken in there, beside its link."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pipeline.adapters.bundle_file import BundleFile, BundleSource
from pipeline.adapters.ledger_bundles import LedgerBundles
from pipeline.adapters.outbox_bundles import Choice, OutboxBundles
from pipeline.adapters.registry_bundles import RegistryBundles
from pipeline.bundles import Opener, Scanned, scan
from pipeline.center import export as down
from pipeline.center import importing as center
from pipeline.region import export as up
from pipeline.region import importing as region
from pipeline.region.framing import Framer
from pipeline.sample import sample_lines
from pipeline.testing.world import World
from schemas.keys import PrivateKey


def fill(world: World, n: int, biometrics: int = 0, seed: int = 1) -> None:
    """So many sample packets are recorded."""
    for line in sample_lines(n, seed=seed, biometrics=biometrics):
        world.enqueue(line)


class Courier:
    """Makes bundles of a world and takes them in. Files are in `world.folder`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._made = 0
        self._look: LedgerBundles | None = None
        self._of: object = None

    def _new(self) -> Path:
        self._made += 1
        return self.world.folder / f"bundle-{self._made}.titian"

    # --- to the center --------------------------------------------------------------------------

    def from_region(self, choice: Choice | None = None, path: Path | None = None) -> Path:
        """A bundle of packets; with `path` it goes on behind a part of one."""
        world, path = self.world, path or self._new()
        held = up.Held().read(BundleSource(path)) if path.exists() else None
        with closing(OutboxBundles(world.region_folder)) as outbox, BundleFile(path) as file:
            framer = Framer(outbox.region, outbox.epoch, world.region_key, world.center_key.public)
            export = up.Export(outbox, framer, choice or Choice(), held)
            if not file.mark.entries:
                file.append([export.plan(*outbox.amount(choice or Choice()), world.clock.now_ms())])
            for one in export.frames(up.join_of(world.token, world.region_key)):
                file.append([one.frame])
            file.append([export.manifest(file.mark, world.clock.now_ms())])
        return path

    def at_center(self, path: Path, *, dry_run: bool = False) -> center.Imported:
        """What the center makes of it."""
        world = self.world
        work = center.Import(
            world.region, world.ledger, self._known(), [world.center_key], world.clock, dry_run=dry_run
        )
        for frame in frames_of(path):
            work.take(frame)
        return work.finish()

    def _known(self) -> LedgerBundles:
        """Of the ledger that the world has now."""
        if self._look is None or self._of is not self.world.ledger:
            self.close()
            self._look, self._of = LedgerBundles(self.world.folder / "ledger.db"), self.world.ledger
        return self._look

    def close(self) -> None:
        """Let go of the ledger."""
        if self._look is not None:
            self._look.close()
            self._look = None

    def receipt(self, came: center.Imported) -> Path:
        """The receipt that the center gives for it."""
        world, path = self.world, self._new()
        standing = world.ledger.standing(world.region)
        assert standing is not None
        assert standing.key is not None
        tops = down.Begin(standing.facts_no, standing.records_no)
        sealer = down.Sealer(world.region, world.center_key, standing.key)
        begin = down.known_to(standing.want, standing.since)
        export = down.Receipt(world.ledger, sealer, begin, tops)
        known = standing.want.history if standing.want else ()
        with BundleFile(path) as file:
            for one in export.frames_for(self._known(), came.seqs):
                file.append([one.frame])
            file.append([export.manifest(file.mark, world.clock.now_ms(), known, came.seqs)])
        return path

    # --- to the region --------------------------------------------------------------------------

    def from_center(self, begin: down.Begin | None = None, path: Path | None = None) -> Path:
        """A bundle of facts and records above `begin` (`None`: above what the region named last)."""
        world, path = self.world, path or self._new()
        standing = world.ledger.standing(world.region)
        assert standing is not None
        assert standing.key is not None
        held = down.Held().read(BundleSource(path)) if path.exists() else down.Held()
        assert held.is_of(standing.since)
        begin = begin if begin is not None else down.known_to(standing.want, standing.since)
        sealer = down.Sealer(world.region, world.center_key, standing.key)
        tops = down.Begin(standing.facts_no, standing.records_no)
        export = down.Export(world.ledger, sealer, held.begins(begin), tops, held)
        known = standing.want.history if standing.want else ()
        with BundleFile(path) as file:
            if not file.mark.entries:
                file.append([export.plan(world.clock.now_ms(), known)])
            for one in export.frames():
                file.append([one.frame])
            file.append([export.manifest(file.mark, world.clock.now_ms(), known)])
        return path

    def at_region(self, path: Path, *, dry_run: bool = False) -> region.Imported:
        """What the region makes of it; raises `Refused` where it takes nothing."""
        world, found = self.world, scan(BundleSource(path))
        center_key = world.center_key.public
        opener = Opener(
            lambda key: center_key if key == center_key.id else None,
            lambda key: world.region_key if key == world.region_key.id else None,
        )
        manifest = opener.manifest(found)
        with (
            closing(OutboxBundles(world.region_folder)) as look,
            closing(RegistryBundles(world.region_folder)) as registry,
        ):
            work = region.Import(
                registry,
                world.registry,
                world.outbox,
                world.region,
                [world.region_key],
                center_key,
                world.clock,
                epochs=look.epochs,
                said=manifest or opener.plan(found),
                whole=manifest is not None and not found.damage,
                dry_run=dry_run,
            )
            if why := work.begin():
                raise Refused(why)
            for frame in frames_of(path):
                work.take(frame)
            return work.finish()


class Refused(Exception):
    """The region takes nothing of a bundle, and says why."""


def frames_of(path: Path) -> list[bytes]:
    """The whole entries of a file, as far as its chain holds."""
    found = scan(BundleSource(path))
    frames = []
    for entry in BundleSource(path):
        if entry.n > found.mark.entries:
            break
        frames.append(entry.frame)
        if entry.n == found.mark.entries:
            break
    return frames


def cut(path: Path, size: int) -> Path:
    """The stick was pulled out: only the first `size` bytes are there."""
    path.write_bytes(path.read_bytes()[:size])
    return path


def scanned(path: Path) -> Scanned:
    """The file, read through."""
    return scan(BundleSource(path))


def other_key() -> PrivateKey:
    """A key that nobody knows."""
    return PrivateKey.generate("1806")
