"""Steps 3 to 4 and 6 to 7, for tests: what the center's broker holds, in memory (see `memory_link.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.ports import DownHint, EntryId

NO_ENTRY = EntryId(0, 0)


@dataclass
class MemoryStream:
    """One stream: its entries in order, and the highest id that it ever had (deleting does not lower it)."""

    entries: dict[EntryId, bytes] = field(default_factory=dict)
    last: EntryId = NO_ENTRY

    def add(self, entry: EntryId, frame: bytes) -> bool:
        """Append; False, and nothing done, if the id is not above the last."""
        if entry <= self.last:
            return False
        self.entries[entry] = frame
        self.last = entry
        return True

    def delete(self, entries: Sequence[EntryId]) -> None:
        """Take entries out; those that are not there are passed over."""
        for entry in entries:
            self.entries.pop(entry, None)

    @property
    def bytes(self) -> int:
        """What the frames take, in bytes."""
        return sum(map(len, self.entries.values()))


@dataclass
class MemoryRegion:
    """What the broker holds of one region."""

    ctl: MemoryStream = field(default_factory=MemoryStream)
    up: MemoryStream = field(default_factory=MemoryStream)
    down: MemoryStream = field(default_factory=MemoryStream)
    attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    hint: DownHint | None = None

    def stream(self, name: str) -> MemoryStream:
        """`ctl` or `up`."""
        return {"ctl": self.ctl, "up": self.up}[name]


def entry_of(text: str) -> EntryId:
    """The id that the broker writes as `text`."""
    session, n = text.split("-")
    return EntryId(int(session), int(n))
