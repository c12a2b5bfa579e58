"""Bundles, put together: what both sides do with the file. The rest: `bundling_region`, `bundling_center`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.adapters.bundle_file import BundleFile, BundleSource
from pipeline.bundles import Scanned, Sealed, scan
from pipeline.errors import UsageError
from schemas.bundle import BundleDamaged, Entry
from schemas.errors import SchemaError
from schemas.frame import split, verify
from schemas.keys import PrivateKey, PublicKey

#: Bytes of frames that are written, and made durable, at a time.
FLUSH_BYTES = 1024 * 1024
#: Called with bytes done and what to say beside them.
Step = Callable[[float, str], None]


@dataclass
class Written:
    """A bundle that was made. `packets` (or records) and `bytes` of contents were added by this run, `total`
    are in it. `file_bytes` is its size, `chain` the hash over it; `resumed_bytes` were there before."""

    region: str
    file: Path
    packets: int = 0
    bytes: int = 0
    facts: int = 0
    file_bytes: int = 0
    chain: str = ""
    made_ms: int = 0
    resumed_bytes: int = 0
    total: int | None = None
    damaged: list[int] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    cursors: dict[str, list[int]] = field(default_factory=dict)


# --- the file -------------------------------------------------------------------------------------


class Writer:
    """Frames into a bundle file, about 1 MiB at a time; what is flushed is durable."""

    def __init__(self, file: BundleFile) -> None:
        self._file = file
        self._waiting: list[bytes] = []
        self._bytes = 0

    def write(self, frames: Iterable[Sealed], step: Step, noun: str) -> None:
        """All of them. Raises `StoreError` (`DiskFull`); what was flushed before stays and counts."""
        done = packets = 0
        for one in frames:
            self.add(one.frame)
            done, packets = done + one.bytes, packets + one.packets
            step(done, f"{packets:,} {noun}")
        self.flush()

    def add(self, frame: bytes) -> None:
        """One frame more."""
        self._waiting.append(frame)
        self._bytes += len(frame)
        if self._bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """What waits is on the disk after this."""
        if self._waiting:
            self._file.append(self._waiting)
            self._waiting, self._bytes = [], 0


def begin_file(out: Path, region: str, ours: Iterable[PrivateKey], theirs: PublicKey, force: bool) -> bool:
    """Make sure that FILE can be written: nothing is there, or a part of a bundle from us for the same key.

    Returns whether it is such a part. Raises `UsageError` that says what else it is.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder: name a file in it")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}")
    if force and out.is_file():
        os.truncate(out, 0)
    if not out.exists() or not out.is_file() or out.stat().st_size == 0:
        return False
    found = scan_file(out)
    anew = "--force writes it anew"
    if found.damage:
        raise UsageError(f"{out} is damaged: {found.damage}; {anew}")
    if found.first is None:
        return False
    good = {key.id: key.public for key in ours}
    header = found.first
    if header.signer not in good or header.region != region or header.recipient != theirs.id:
        raise UsageError(f"{out} is another bundle (of region {header.region}); name another file, or {anew}")
    for entry in BundleSource(out):
        try:
            verify(split(entry.frame), good.get)
        except SchemaError as why:
            raise UsageError(f"{out}: entry {entry.n} is not from here ({why}); {anew}") from None
    if found.manifest_frame is not None and found.mark.entries > 1:
        raise UsageError(f"{out} is a whole bundle already; name another file, or {anew}")
    return True


def scan_file(path: Path, progress: Step | None = None) -> Scanned:
    """Read a file through; raises `UsageError` for what is no bundle, `NotFound`."""
    told = None if progress is None else (lambda at, _: progress(float(at), "read through"))
    try:
        return scan(BundleSource(path, progress=told))
    except BundleDamaged as why:
        raise UsageError(f"{path} is no bundle of Titian ({why}): nothing was done") from None


def entries_of(path: Path, upto: int) -> Iterator[Entry]:
    """The entries of a file that was read through, without what lies behind the first `upto`."""
    if upto:
        for entry in BundleSource(path):
            yield entry
            if entry.n >= upto:
                return
