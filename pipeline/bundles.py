"""Bundles by courier, pure and for both sides: what a file is, and how what came back lies to what is held.

Frames that come down name in their headers, outside the seal, which numbers of the feed they carry (`seqs`)
and under which life of the ledger (`epoch`: the first six characters of the incarnation), so that whoever
made a file can go on behind a part of it without being able to open it. Their session is one that no link
grants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from schemas.bundle import START, BundleDamaged, Entry, Mark
from schemas.errors import FrameError, SchemaError
from schemas.frame import Header, Kind, open_body, split, verify
from schemas.identity import EPOCH_CHARS
from schemas.keys import PrivateKey, PublicKey
from schemas.limits import INTEGER_MAX
from schemas.manifest import Manifest, unpack_manifest
from schemas.messages import HISTORY_MAX, Since
from schemas.ranges import Ranges, merge

#: The session that a bundle's frames name: none that a link ever grants.
SESSION = INTEGER_MAX
#: Ranges that a manifest names in all; more are joined over the smallest gaps.
MANIFEST_RANGES_MAX = 1_500
#: Spans that are gathered before they are merged.
_LOOSE_MAX = 4_096


class Sealed(NamedTuple):
    """A frame for a bundle: how many packets (or records) are complete with it, bytes of their contents."""

    frame: bytes
    packets: int = 0
    bytes: int = 0


class Problem(NamedTuple):
    """Frames of a bundle that were not taken, and the packets that their headers name."""

    frames: int = 0
    packets: int = 0


class Seqs:
    """Packets by epoch, gathered frame by frame."""

    def __init__(self) -> None:
        self._loose: dict[str, list[tuple[int, int]]] = {}

    def add(self, epoch: str, seqs: Ranges) -> None:
        """These too."""
        spans = self._loose.setdefault(epoch, [])
        spans += seqs
        if len(spans) > _LOOSE_MAX and len(spans) % _LOOSE_MAX < len(seqs):
            self._loose[epoch] = list(merge(spans))

    def of(self, epoch: str) -> Ranges:
        """Those of one epoch."""
        return merge(self._loose.get(epoch, ()))

    def items(self) -> Iterator[tuple[str, Ranges]]:
        """All, by epoch."""
        for epoch, spans in self._loose.items():
            yield epoch, merge(spans)


def joined(ranges: Ranges, most: int) -> Ranges:
    """At most `most` ranges that hold all of `ranges` (and, where there were more, what lies between)."""
    gap = 1
    while len(ranges) > most:
        ranges = _closed(ranges, gap)
        gap *= 2
    return ranges


def _closed(ranges: Ranges, gap: int) -> Ranges:
    out: list[tuple[int, int]] = []
    for start, stop in ranges:
        if out and start - out[-1][1] <= gap:
            out[-1] = (out[-1][0], stop)
        else:
            out.append((start, stop))
    return tuple(out)


# --- what a file is -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scanned:
    """A file, read through once: `first` is the header of its first frame (`None`: it has none that can be
    read), `mark` where its last whole entry ends, `damage` what is wrong behind that (empty: nothing).

    `manifest_frame` is its last frame, if that has the form of a manifest, and `before` the mark before it.
    """

    first: Header | None
    mark: Mark
    damage: str
    manifest_frame: bytes | None
    before: Mark

    @property
    def to_center(self) -> bool:
        """Whether it was made by a region for the center."""
        return self.first is not None and self.first.kind < Kind.ACK

    @property
    def chain(self) -> str:
        """The hash over the whole file up to its last whole entry: what a courier's paper names."""
        return self.mark.chain.hex()

    @property
    def frames(self) -> int:
        """Whole entries, the manifest not counted."""
        return self.before.entries if self.manifest_frame is not None else self.mark.entries


def scan(entries: Iterable[Entry]) -> Scanned:
    """Read through a bundle; damage ends it, and is no error. Nothing of it is believed yet."""
    first: Header | None = None
    before, mark, last, damage = START, START, b"", ""
    try:
        for entry in entries:
            if entry.n == 1:
                first = header_of(entry.frame)
            before, mark, last = mark, entry.after, entry.frame
    except BundleDamaged as why:
        damage = str(why)
        if why.code == "not_a_bundle":
            raise
    header = header_of(last) if last else None
    if header is not None and header.kind is Kind.MANIFEST:
        if mark.entries == 1:
            first = header
        return Scanned(first, mark, damage, last, before)
    return Scanned(first, mark, damage, None, mark)


def header_of(frame: bytes) -> Header | None:
    """The header of a frame, unverified; `None` where it has none that can be read."""
    try:
        return split(frame).header
    except SchemaError:
        return None


def read_manifest(
    scanned: Scanned,
    signer_of: Callable[[bytes], PublicKey | None],
    ours_of: Callable[[bytes], PrivateKey | None],
) -> Manifest | None:
    """What the file says that it holds; `None` where that is missing. Raises `SchemaError` if the manifest
    does not verify, or is not of this file."""
    if scanned.manifest_frame is None:
        return None
    parts = split(scanned.manifest_frame)
    verify(parts, signer_of)
    manifest = unpack_manifest(open_body(parts, ours_of))
    if not manifest.fits(scanned.before):
        raise FrameError("its manifest is that of another file", code="bundle_damaged")
    return manifest


# --- lives of the ledger --------------------------------------------------------------------------


class Continues(NamedTuple):
    """What the bundle says goes on from what the region holds; its history is `history` then."""

    history: tuple[Since, ...]


class GoesBack(NamedTuple):
    """The center was restored from a backup: what the region holds above `(facts, records)` is void."""

    facts: int
    records: int
    history: tuple[Since, ...]


class LeftBehind(NamedTuple):
    """Whether its numbers mean the same as ours cannot be told, or they do not: nothing of it is taken."""

    why: str


Lineage: TypeAlias = Continues | GoesBack | LeftBehind


def lineage(facts: int, records: int, ours: Sequence[Since], theirs: Sequence[Since]) -> Lineage:
    """How a bundle made under the lives `theirs` (newest last) lies to a region with these cursors under the
    lives `ours`. The newest life that the region knows must be among them: of a bundle that was made before
    it, a restore in between could have made the numbers mean something else, and nobody here would know."""
    if not ours or (theirs and theirs[-1].incarnation == ours[-1].incarnation):
        return Continues(tuple(ours or theirs)[-HISTORY_MAX:])
    names = [one.incarnation for one in theirs]
    if ours[-1].incarnation not in names:
        if any(one.incarnation in names for one in ours):
            return LeftBehind(
                "it was made before the center was last started or restored, and this region has heard from "
                "the center since: what is in it came over the link, or comes with a new bundle"
            )
        return LeftBehind(
            "the center that made it and this region have no common past that both remember: let the region "
            "speak with the center over the link once, then make a new bundle"
        )
    later = theirs[names.index(ours[-1].incarnation) + 1 :]
    point = min(one.facts for one in later), min(one.records for one in later)
    if facts <= point[0] and records <= point[1]:
        return Continues((*ours, *later)[-HISTORY_MAX:])
    back = min(facts, point[0]), min(records, point[1])
    kept = [one for one in ours if one.facts <= back[0] and one.records <= back[1]]
    return GoesBack(*back, (*kept, *later)[-HISTORY_MAX:])


def is_of_line(incarnation: str, to: int, sequence: str, history: Sequence[Since], lives: set[str]) -> bool:
    """Whether position `to` of `sequence` (`facts` or `records`), said under `incarnation`, means here what
    it meant there: it is the newest life that we know, or one of the bundle's `lives` before that ended."""
    if not history:
        return True
    if history[-1].incarnation == incarnation:
        return True
    if incarnation not in lives:
        return False
    for one, following in pairwise(history):
        if one.incarnation == incarnation:
            return bool(to <= getattr(following, sequence))
    return False


def told(since: Sequence[Since], known: Sequence[Since]) -> list[Since]:
    """The ledger's lives for a manifest: at most `HISTORY_MAX`, and among them the newest one that the region
    knows, if the ledger remembers it; the one behind a gap agrees as far as all that were left out did."""
    if len(since) <= HISTORY_MAX:
        return list(since)
    tail = list(since[-HISTORY_MAX + 1 :])
    heard = {one.incarnation for one in known}
    begins = len(since) - len(tail)
    at = max((n for n, one in enumerate(since) if one.incarnation in heard), default=-1)
    if not 0 <= at < begins:
        return list(since[-HISTORY_MAX:])
    between = since[at + 1 : begins + 1]
    least = {"facts": min(one.facts for one in between), "records": min(one.records for one in between)}
    return [since[at], tail[0].model_copy(update=least), *tail[1:]]


def life_of(incarnation: str) -> str:
    """How a frame's header names a life of the ledger."""
    return incarnation[:EPOCH_CHARS]
