"""Step 3 to 4 and 6 to 7, for tests: the link and the center's broker in memory, with faults on demand.

Deterministic: no threads, no clock, no waiting (`wait_s` is taken as over at once). The whole state is plain
values, so a test may look into it or `copy.deepcopy` it.

A frame that was sent is *on the wire* until somebody looks at the broker (either end asks it anything): then
it arrives. So `cut` right after `send` decides whether what is on the wire arrives or is lost, and in either
case its answers are never read. What the center has looked at has arrived and cannot be lost by a cut. On the
control connection only urgent frames stay on the wire: a control message arrives at once, and they before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import LinkDown
from pipeline.ports import EntryId
from pipeline.region_link import NO_ENTRY, Accepted, Full, SendOutcome
from pipeline.testing.memory_broker import MemoryRegion
from pipeline.testing.memory_center import MemoryCenterLink

#: Entries that one `read_down` returns at most.
DOWN_ENTRIES_MAX = 16
#: In `cut_off`: the link of every region.
ALL = "*"


@dataclass
class MemoryLink:
    """The link of all regions and the center's broker. `bytes_max` bounds what its streams hold (`Full`).

    `control_overtakes`: a question on the control connection does not wait for frames on the wire of `up`.
    `up_stalls`: nothing of `up` arrives or is answered for now, as where the line is full.
    """

    bytes_max: int | None = None
    control_overtakes: bool = False
    up_stalls: bool = False
    regions: dict[str, MemoryRegion] = field(default_factory=dict)
    ends: list[MemoryRegionLink] = field(default_factory=list)
    cut_off: set[str] = field(default_factory=set)
    broker_away: bool = False

    def region_end(self, region: str) -> MemoryRegionLink:
        """A new machine that speaks as `region` (call it twice for two of them)."""
        self.ends.append(MemoryRegionLink(self, region))
        return self.ends[-1]

    def center_end(self) -> MemoryCenterLink:
        """The center's end."""
        return MemoryCenterLink(self)

    def region(self, region: str) -> MemoryRegion:
        """What the broker holds of `region`."""
        return self.regions.setdefault(region, MemoryRegion())

    # --- faults ---------------------------------------------------------------------------------

    def cut(self, region: str | None = None, *, keep_sent: bool | int = False) -> None:
        """The link breaks (of one region, or of all) and stays so until `restore`. Of what is on the wire
        all, nothing, or the first `keep_sent` frames still arrive; their answers are lost in any case."""
        self.cut_off.add(region or ALL)
        for end in self._ends(region):
            end.break_off(keep_sent)

    def restore(self, region: str | None = None) -> None:
        """The link is there again; connections that broke say so once, then connect anew."""
        self.cut_off -= {region} if region else set(self.cut_off)

    def cut_in_next_use(self, region: str | None = None, *, arrives: bool) -> None:
        """The next call of the region's end breaks off in the middle with `LinkDown`: what it asked for
        happens (`arrives`, and only the answer is lost) or does not. The call after it connects anew."""
        for end in self._ends(region):
            end.breaks_next = arrives

    def wipe(self) -> None:
        """Everything that the broker holds is gone, as after FLUSHALL or a restart without persistence; ids
        start anew. What is still on the wire arrives afterwards."""
        self.regions.clear()

    def stop_broker(self) -> None:
        """The broker is away for both ends (it keeps what it has; `wipe` as well if it should not)."""
        self.broker_away = True
        for end in self.ends:
            end.break_off(False)

    def start_broker(self) -> None:
        """The broker answers again."""
        self.broker_away = False

    def drop_down(self, n: int, region: str | None = None) -> int:
        """The `n` oldest entries of `down` vanish unread; returns how many there were to drop."""
        dropped = 0
        for code, held in self.regions.items():
            if region in (None, code):
                gone = list(held.down.entries)[:n]
                held.down.delete(gone)
                dropped += len(gone)
        return dropped

    # --- for the ends ---------------------------------------------------------------------------

    def is_full(self, frame: bytes) -> bool:
        """Whether the broker has no memory for one more frame."""
        return self.bytes_max is not None and self.held_bytes + len(frame) > self.bytes_max

    @property
    def held_bytes(self) -> int:
        """What all streams hold."""
        return sum(held.ctl.bytes + held.up.bytes + held.down.bytes for held in self.regions.values())

    def arrive(self) -> None:
        """Whatever is on a wire reaches the broker."""
        for end in self.ends:
            end.arrive()

    def _ends(self, region: str | None) -> list[MemoryRegionLink]:
        return [end for end in self.ends if region in (None, end.region)]


@dataclass(repr=False)
class MemoryRegionLink:
    """A region's end (see `RegionLink`). Its three connections break and are noticed one by one."""

    link: MemoryLink
    region: str
    wire: deque[tuple[EntryId, bytes]] = field(default_factory=deque)
    ctl_wire: deque[tuple[EntryId, bytes]] = field(default_factory=deque)
    answers: deque[SendOutcome] = field(default_factory=deque)
    asked: list[int] = field(default_factory=list)
    breaks_next: bool | None = None
    _open: set[str] = field(default_factory=set)
    _broken: set[str] = field(default_factory=set)

    def throttle(self) -> None:
        """None."""

    def send(self, entry: EntryId, frame: bytes) -> None:
        """On the wire; it arrives when somebody looks."""
        breaks = self._use("up")
        self.wire.append((entry, frame))
        self._break_in_the_middle(breaks)

    def send_urgent(self, entry: EntryId, frame: bytes) -> None:
        """On the wire of `ctl`."""
        breaks = self._use("ctl")
        self.ctl_wire.append((entry, frame))
        self._break_in_the_middle(breaks)

    def outcomes(self, wait_s: float) -> list[SendOutcome]:  # noqa: ARG002  (nothing to wait for)
        """The answers to all that was sent and not yet asked about."""
        for connection, owed in (("up", self.wire or self.answers), ("ctl", self.ctl_wire)):
            if owed or connection in self._broken:
                breaks = self._use(connection)
                self.arrive()
                self._break_in_the_middle(breaks)
        answers = list(self.answers)
        self.answers.clear()
        return answers

    def ask_length(self) -> None:
        """Answered at once, told by `lengths`."""
        breaks = self._use("ctl")
        if not self.link.control_overtakes:
            self.link.arrive()
        self._break_in_the_middle(breaks)
        self.asked.append(len(self._held.up.entries))

    def lengths(self) -> list[int]:
        """What `ask_length` was answered."""
        found, self.asked = self.asked, []
        return found

    def send_control(self, frame: bytes) -> None:
        """Into `ctl`, behind what is on its wire."""
        breaks = self._use("ctl")
        self.ctl_wire.append((NO_ENTRY, frame))
        if breaks is None:
            self._arrive_ctl()
        self._break_in_the_middle(breaks)

    def read_down(self, after: EntryId, wait_s: float) -> list[tuple[EntryId, bytes]]:  # noqa: ARG002
        """The next entries after `after`."""
        breaks = self._use("down")
        self._break_in_the_middle(breaks)
        later = [one for one in self._held.down.entries.items() if one[0] > after]
        return later[:DOWN_ENTRIES_MAX]

    def delete_down(self, entries: Sequence[EntryId]) -> None:
        """Out of `down`."""
        breaks = self._use("ctl") if entries else None
        if breaks is not False:
            self._held.down.delete(entries)
        self._break_in_the_middle(breaks)

    def close(self) -> None:
        """A clean close: what is on the wire arrives, its answers are never read."""
        self._arrive_ctl()
        self._arrive_up()
        self.answers.clear()
        self.asked.clear()
        self._open.clear()
        self._broken.clear()

    # --- for the link ---------------------------------------------------------------------------

    def arrive(self) -> None:
        """What is on the wires reaches the broker, unless the link is cut: then nothing is on them."""
        self._arrive_ctl()
        if not self.link.up_stalls:
            self._arrive_up()

    def _arrive_up(self) -> None:
        while self.wire:
            entry, frame = self.wire.popleft()
            if entry > self._held.up.last and self.link.is_full(frame):
                self.answers.append(Full(entry))
                continue
            self._held.up.add(entry, frame)  # an id that is not above the last: it is there already
            self.answers.append(Accepted(entry))

    def _arrive_ctl(self) -> None:
        while self.ctl_wire:
            entry, frame = self.ctl_wire.popleft()
            if self.link.is_full(frame):
                self.answers.append(Full(entry))
                continue
            ctl = self._held.ctl
            ctl.add(EntryId(ctl.last.session + 1, 0), frame)
            if entry != NO_ENTRY:
                self.answers.append(Accepted(entry))

    def break_off(self, keep_sent: bool | int) -> None:
        """Every open connection breaks; see `MemoryLink.cut`."""
        for wire in (self.wire, self.ctl_wire):
            kept = len(wire) if keep_sent is True else int(keep_sent)
            while len(wire) > kept:
                wire.pop()
        self._arrive_ctl()
        self._arrive_up()
        self.answers.clear()
        self.asked.clear()
        self._broken |= self._open
        self._open.clear()

    @property
    def _held(self) -> MemoryRegion:
        return self.link.region(self.region)

    def _use(self, connection: str) -> bool | None:
        """Open the connection if need be; returns what `cut_in_next_use` asked for."""
        cut = not self.link.cut_off.isdisjoint({self.region, ALL})
        if cut or self.link.broker_away or connection in self._broken:
            self._broken.discard(connection)
            raise LinkDown(f"the link of {self.region} is cut ({connection})")
        self._open.add(connection)
        breaks, self.breaks_next = self.breaks_next, None
        return breaks

    def _break_in_the_middle(self, breaks: bool | None) -> None:
        if breaks is None:
            return
        self.break_off(breaks)
        self._broken.clear()  # this very call reports it
        raise LinkDown(f"the link of {self.region} was cut in the middle of a call")
