"""Step 2: what lies in a mirror's segments, found by reading them, so that damage is found too."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.bundle_file import BundleSource
from pipeline.errors import NotFound
from pipeline.region.mirror import Inside
from schemas.bundle import START, Mark
from schemas.errors import SchemaError
from schemas.frame import Kind, split, verify
from schemas.keys import PublicKey
from schemas.ranges import numbers

#: A packet that was being streamed into its own segment is given up after this long, seconds.
PART_S = 3600.0
#: Region, epoch, first seq, and a number where that name was taken.
SEGMENT_NAME = re.compile(r"(\d{4})-([0-9a-z]{6})-(\d{6,19})(?:\.(\d+))?\.titian")


class Segment(NamedTuple):
    """A segment: the epoch of its packets, the first of them, bytes that are whole; `current`: it grows."""

    path: Path
    epoch: str
    first: int
    size: int
    current: bool = False


@dataclass
class Scanned:
    """One segment as far as it was read. `lost`: how many places of it are damaged."""

    inside: Inside = field(default_factory=Inside)
    mark: Mark = START
    read: int = 0
    lost: int = 0

    def go_on(self, segment: Segment, signer_of: Callable[[bytes], PublicKey | None]) -> None:
        """Read what is new. Behind damage only frames count whose signature holds.

        Raises `StoreError` where the disk does not read."""
        if self.lost:  # the chain is lost there, so there is no place to go on from
            self.inside, self.mark, self.lost = Inside(), START, 0
        source = BundleSource(segment.path, self.mark, stop=segment.size, salvage=True)
        small: list[tuple[int, int]] = []
        chunks: list[int] = []
        with suppress(NotFound):
            for entry in source:
                try:
                    parts = split(entry.frame)
                    if not entry.chained:
                        verify(parts, signer_of)
                except SchemaError:
                    self.lost += 1
                    continue
                if parts.header.kind is Kind.BATCH:
                    small += parts.header.seqs
                elif parts.header.kind is Kind.CHUNK:
                    chunks += numbers(parts.header.seqs)
        self.inside.add(small, chunks)
        self.lost += len(source.damages)
        self.mark, self.read = source.mark, segment.size


def sweep(path: Path, region: str, now_s: float) -> None:
    """Delete what dead processes left half streamed; `now_s` is the wall clock. Raises `OSError`."""
    for entry in os.scandir(path):
        if entry.name.startswith(f".{region}-") and entry.name.endswith(".part"):
            with suppress(FileNotFoundError):
                if abs(now_s - entry.stat().st_mtime) > PART_S:
                    os.unlink(entry.path)


def segments_in(path: Path, region: str) -> list[Segment]:
    """The segments of `region` in a mirror's folder; raises `OSError`."""
    found = []
    for entry in os.scandir(path):
        name = SEGMENT_NAME.fullmatch(entry.name)
        if name is not None and name[1] == region:
            size = entry.stat().st_size
            found.append(Segment(Path(entry.path), name[2], int(name[3]), size))
    return sorted(found, key=lambda one: (one.epoch, one.first, one.path.name))


def last_seq(path: Path, mark: Mark) -> int:
    """The highest seq in a segment behind `mark`, as far as it is whole; 0: none is. Raises `StoreError`."""
    found = 0
    for entry in BundleSource(path, mark, salvage=True):
        if not entry.chained:
            break
        seqs = split(entry.frame).header.seqs
        found = max(found, seqs[-1][1] - 1 if seqs else 0)
    return found
