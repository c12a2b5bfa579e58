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

from pipeline.errors import StoreError
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
#: The `what` of a manifest that stands first: what is meant to be in the file. Of packets for the center its
#: `entries` and `size` are how many packets, and bytes of their contents.
PLAN = "plan"
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
    read), `to_center` whether what it carries goes up (`None`: nothing tells), `mark` where its last whole
    entry ends, `damage` what is wrong behind that (empty: nothing).

    `plan_frame` is its first and `manifest_frame` its last frame, if they have the form of a manifest, and
    `before` the mark before the last.
    """

    first: Header | None
    to_center: bool | None
    mark: Mark
    damage: str
    plan_frame: bytes | None
    manifest_frame: bytes | None
    before: Mark

    @property
    def chain(self) -> str:
        """The hash over the whole file up to its last whole entry: what a courier's paper names."""
        return self.mark.chain.hex()


def scan(entries: Iterable[Entry]) -> Scanned:
    """Read through a bundle; damage, or a disk that cannot be read, ends it and is no error. Nothing of it is
    believed yet. Raises `BundleDamaged` (code `not_a_bundle`) for what does not begin as one."""
    first: Header | None = None
    to_center: bool | None = None
    plan: bytes | None = None
    before, mark, last, damage = START, START, b"", ""
    try:
        for entry in entries:
            before, mark, last = mark, entry.after, entry.frame
            if to_center is not None:
                continue
            header = header_of(last)
            if entry.n == 1:
                first, plan = header, last if header and header.kind is Kind.MANIFEST else None
            if header is not None and header.kind is not Kind.MANIFEST:
                to_center = header.kind < Kind.ACK
    except BundleDamaged as why:
        if why.code == "not_a_bundle":
            raise
        damage = str(why)
    except StoreError as why:
        damage = str(why)
    header = header_of(last) if last else None
    is_manifest = header is not None and header.kind is Kind.MANIFEST
    return Scanned(first, to_center, mark, damage, plan, last if is_manifest else None, before)


def header_of(frame: bytes) -> Header | None:
    """The header of a frame, unverified; `None` where it has none that can be read."""
    try:
        return split(frame).header
    except SchemaError:
        return None


class Opener(NamedTuple):
    """Whose signatures hold, and what is sealed to us."""

    signer_of: Callable[[bytes], PublicKey | None]
    ours_of: Callable[[bytes], PrivateKey | None]

    def manifest(self, scanned: Scanned) -> Manifest | None:
        """What the file says that it holds; `None` where that is missing. Raises `SchemaError` if it does not
        verify, or speaks of another file."""
        said = self._read(scanned.manifest_frame)
        if said is None or said.what == PLAN:
            return None
        if not said.fits(scanned.before):
            raise FrameError("its manifest is that of another file", code="bundle_damaged")
        return said

    def plan(self, scanned: Scanned) -> Manifest | None:
        """What was meant to be in the file, as its first entry says; `None` where it cannot be read."""
        try:
            said = self._read(scanned.plan_frame)
        except SchemaError:
            return None
        return said if said is not None and said.what == PLAN else None

    def _read(self, frame: bytes | None) -> Manifest | None:
        if frame is None:
            return None
        parts = split(frame)
        verify(parts, self.signer_of)
        return unpack_manifest(open_body(parts, self.ours_of))


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
