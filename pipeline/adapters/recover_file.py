"""Step 3: what is to be sent from a mirror, and how far that has got, in the region's folder.

recover.json   0600
    {"version": 1, "path": "...", "only": [["k3v9qa", 7, 12]] or null, "done": ["1806-k3v9qa-000001.titian"],
     "counts": {...}, "why": "", "finished_ms": 0, "there": [["k3v9qa", 1, 40]]}

`path` is the mirror's folder; `only` names the packets that count (epoch, first, stop), where not all do;
`there` those that the center has, by its own answers: files of which it has all may go (`mirroring.Upkeep`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline.adapters.folder import RECOVER_NAME, write_private
from pipeline.adapters.mirror_scan import Segment, segments_in
from pipeline.adapters.outbox_books import Books
from pipeline.adapters.outbox_layout import FILE_NAME, LAYOUT
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged, UsageError
from schemas.ranges import Ranges, merge

NAME = RECOVER_NAME
VERSION = 1

#: Packets of an epoch: (epoch, first, stop).
Span = tuple[str, int, int]


@dataclass
class Recovery:
    """See the module. `counts`: of packets `had`, `there` (the center had them), `sent`, `failed`; of places
    `damaged`, of entries `foreign` (of another region)."""

    path: str
    only: list[Span] | None = None
    done: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    why: str = ""
    finished_ms: int = 0
    there: list[Span] = field(default_factory=list)

    def note(self, epoch: str, seqs: Ranges) -> None:
        """The center has these."""
        held = merge((*self.held(epoch), *seqs))
        others = [one for one in self.there if one[0] != epoch]
        self.there = [*others, *((epoch, start, stop) for start, stop in held)]

    def held(self, epoch: str) -> Ranges:
        """What of that epoch the center has, as far as it was asked."""
        return merge((first, stop) for of, first, stop in self.there if of == epoch)

    def ranges(self) -> dict[str, Ranges] | None:
        """What counts, by epoch; `None`: everything."""
        if self.only is None:
            return None
        return {
            epoch: merge((first, stop) for of, first, stop in self.only if of == epoch)
            for epoch, _, _ in self.only
        }


class RecoverFile:
    """The file in a region's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME

    def read(self) -> Recovery | None:
        """What is to be done; `None`: nothing. Raises `StoreDamaged`."""
        try:
            value = json.loads(self._path.read_text(encoding="utf-8"))
            if value.pop("version") != VERSION:
                raise ValueError("another version")
            found = Recovery(**value)
            found.only = None if found.only is None else [(one[0], one[1], one[2]) for one in found.only]
            found.there = [(one[0], one[1], one[2]) for one in found.there]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as why:
            raise StoreDamaged(
                f"{self._path} is damaged ({why}): remove it, and name the mirror again"
            ) from None
        return found

    def write(self, recovery: Recovery) -> None:
        """What holds from now on; nobody waits for it, a step that is not noted is done again."""
        with suppress(OSError):
            write_private(self._path, json.dumps({"version": VERSION, **asdict(recovery)}) + "\n")

    def begin(self, mirror: Path, region: str, only: Sequence[Span] | None = None) -> None:
        """Take from this mirror what the center lacks. Raises `UsageError` where nothing of the region is
        there."""
        try:
            found = segments_in(mirror, region)
        except OSError as why:
            raise UsageError(
                f"the mirror {mirror} cannot be read ({why.strerror}): is its disk mounted?"
            ) from None
        if not found:
            raise UsageError(
                f"{mirror} holds nothing of region {region}: give the folder that `mirror` named"
            )
        text = json.dumps({"version": VERSION, **asdict(Recovery(str(mirror), list(only) if only else None))})
        write_private(self._path, text + "\n")

    def lost(self, mirror: Path, span: Span) -> None:
        """This outbox lost packets that it had put on its own mirror: they are taken from there."""
        with suppress(StoreDamaged):
            found = self.read()
            there = [] if found is None else found.there
            if found is None or found.finished_ms:
                self.write(Recovery(str(mirror), [span], there=there))
            elif found.only is not None and found.path == str(mirror):
                self.write(Recovery(str(mirror), [*found.only, span], there=there))

    def segments(self, recovery: Recovery, region: str) -> list[Segment]:
        """What is there, the oldest epochs' files in no order but by packet within each. Raises `OSError`."""
        return segments_in(Path(recovery.path), region)

    def epochs(self, found: Sequence[Segment]) -> tuple[str, ...]:
        """The epochs of these segments in the order in which they were begun. Raises `OSError`."""
        begun: dict[str, float] = {}
        for one in found:
            at = one.path.stat().st_mtime
            begun[one.epoch] = min(at, begun.get(one.epoch, at))
        return tuple(sorted(begun, key=lambda epoch: begun[epoch]))

    def event(self, what: str, detail: str, now_ms: int) -> None:
        """Put a line into the outbox's events."""
        with closing(Database(self.folder / FILE_NAME, LAYOUT)) as database, database.write() as db:
            books = Books(db, now_ms)
            books.event(what, (), detail)
            books.close()
