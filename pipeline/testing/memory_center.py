"""Step 3 to 4 and 6, for tests: the center's end of the link in memory (see `memory_link`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import Unreachable
from pipeline.ports import READ_BYTES_MAX, Arrival, DownHint, EntryId
from pipeline.testing.memory_broker import entry_of

if TYPE_CHECKING:
    from pipeline.testing.memory_link import MemoryLink


@dataclass(repr=False)
class MemoryCenterLink:
    """The center's end (see `CenterLink`)."""

    link: MemoryLink

    def memory(self) -> tuple[int, int]:
        """What the streams hold, and may hold."""
        self._look()
        return self.link.held_bytes, self.link.bytes_max or 0

    def wait(self, regions: Sequence[str], wait_s: float) -> None:  # noqa: ARG002
        """Nothing to wait for."""
        self._look()

    def lengths(self, regions: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Entries in (`ctl`, `up`), for regions that have any."""
        self._look()
        counted = {code: self.link.region(code) for code in regions}
        both = {code: (len(held.ctl.entries), len(held.up.entries)) for code, held in counted.items()}
        return {code: pair for code, pair in both.items() if any(pair)}

    def read(self, region: str, stream: str, count: int, bytes_max: int = READ_BYTES_MAX) -> list[Arrival]:
        """The first entries, their attempts counted."""
        self._look()
        held = self.link.region(region)
        arrivals: list[Arrival] = []
        read_bytes = 0
        for entry, frame in list(held.stream(stream).entries.items())[:count]:
            if read_bytes >= bytes_max:
                break
            read_bytes += len(frame)
            before = held.attempts.get((stream, str(entry)), 0)
            held.attempts[stream, str(entry)] = before + 1
            arrivals.append(Arrival(str(entry), frame, before))
        return arrivals

    def delete(self, region: str, stream: str, ids: Sequence[str]) -> None:
        """Out, and their attempts forgotten."""
        self._look()
        held = self.link.region(region)
        held.stream(stream).delete([entry_of(one) for one in ids])
        for one in ids:
            held.attempts.pop((stream, one), None)

    def last_session(self, region: str) -> int:
        """The highest session that an id of `up` or `down` ever named."""
        self._look()
        held = self.link.region(region)
        return max(held.up.last.session, held.down.last.session)

    def put_down(self, region: str, entry: EntryId, frame: bytes, hint: DownHint) -> bool:
        """Entry and hint in one step."""
        self._look()
        if self.link.is_full(frame):
            raise Unreachable("the center's link broker has no memory; it is tried again")
        held = self.link.region(region)
        if not held.down.add(entry, frame):
            return False
        held.hint = hint
        return True

    def hint(self, region: str) -> DownHint | None:
        """The position hint, if any."""
        self._look()
        return self.link.region(region).hint

    def down_first(self, region: str) -> EntryId | None:
        """The oldest entry not taken yet."""
        self._look()
        return next(iter(self.link.region(region).down.entries), None)

    def clear_down(self, region: str) -> None:
        """Drop what lies in `down`; ids go on from where they were."""
        self._look()
        self.link.region(region).down.entries.clear()

    def _look(self) -> None:
        if self.link.broker_away:
            raise Unreachable("the center's link broker is away")
        self.link.arrive()
