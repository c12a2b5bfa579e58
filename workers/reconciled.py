"""What a reconciliation found and did: as sentences, as JSON, and as the small file that `depth` reads
(`pipeline.inspection.compared`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import write_private
from pipeline.inspection.compared import NAME
from pipeline.region.comparing import Day
from pipeline.region.reconcile import LEFT, Mend
from schemas.compare import DAY_MS

VERSION = 1
#: Packets and NIKs that are named.
NAMED_MAX = 100


@dataclass
class Reconciled:
    """See the module. `records` and `packets`: how many were compared (at the center, and with a word of it
    here); `unknown`: records of which the center does not know yet what they say, compared by version only.
    `found` and `repaired` count by `Mend`. `went_back`: numbers that the center gave out and no longer knows.
    `statuses`: records by status, theirs and ours, where these differ. `left`: differences that are left.
    `cut`: there were more than one reconciliation repairs. Bytes are on the link, about."""

    at_ms: int
    dry_run: bool
    seconds: float = 0.0
    records: int = 0
    unknown: int = 0
    statuses: dict[str, tuple[int, int]] = field(default_factory=dict)
    packets: int = 0
    epochs: int = 0
    days: list[Day] = field(default_factory=list)
    found: dict[Mend, int] = field(default_factory=dict)
    repaired: dict[Mend, int] = field(default_factory=dict)
    went_back: int = 0
    cut: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    packet_ids: list[str] = field(default_factory=list)
    niks: list[str] = field(default_factory=list)

    @property
    def differences(self) -> int:
        """How many there were."""
        return sum(self.found.values())

    @property
    def left(self) -> int:
        """How many there still are."""
        return self.differences - sum(n for mend, n in self.repaired.items() if mend not in LEFT)

    @property
    def equal(self) -> bool:
        """Whether nothing differed."""
        return not self.differences and not self.went_back and not self.cut

    @property
    def well(self) -> bool:
        """Whether both are equal now, or will be by themselves."""
        return self.left == 0 and not self.cut and not (self.dry_run and self.went_back)

    def to_json(self) -> dict[str, Any]:
        """The document of `titian reconcile --json`."""
        return self.summary() | {
            "dry_run": self.dry_run,
            "statuses": {name: {"center": a, "region": b} for name, (a, b) in self.statuses.items()},
            "days": [
                {
                    "day_ms": day.day * DAY_MS,
                    "center": {status.name: n for status, n in day.theirs.items()},
                    "region": {status.name: n for status, n in day.ours.items()},
                }
                for day in self.days
            ],
            "packet_ids": self.packet_ids,
            "niks": self.niks,
        }

    def summary(self) -> dict[str, Any]:
        """What is kept of it: no names and no NIKs."""
        return {
            "version": VERSION,
            "at_ms": self.at_ms,
            "seconds": round(self.seconds, 3),
            "equal": self.equal,
            "records": self.records,
            "records_by_version_only": self.unknown,
            "packets": self.packets,
            "epochs": self.epochs,
            "differences": self.differences,
            "found": {mend.name.lower(): n for mend, n in self.found.items() if n},
            "repaired": {mend.name.lower(): n for mend, n in self.repaired.items() if n},
            "repaired_n": self.differences - self.left,
            "left": self.left,
            "went_back": self.went_back,
            "cut": self.cut,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
        }

    def sentences(self) -> Iterator[str]:
        """What it compared, what differed, what it did."""
        epochs = f" of {self.epochs} epochs" if self.epochs > 1 else ""
        yield f"compared {self.records:,} records and {self.packets:,} packets{epochs}"
        if self.unknown:
            yield f"of {self.unknown:,} records the center does not know yet what they say: by version only"
        if self.went_back:
            done = "" if self.dry_run else "; what was said above that was taken back"
            yield f"the center has gone back by {self.went_back:,} numbers without saying so{done}"
        for mend, n in self.found.items():
            yield _done(mend, n, self.repaired.get(mend, 0), dry_run=self.dry_run)
        if self.packet_ids or self.niks:
            yield "they are: " + ", ".join([*self.packet_ids, *self.niks][:10])
        if self.cut:
            yield "there are more differences than one reconciliation repairs: run it again"
        if self.equal:
            yield "both are equal"


def write_result(folder: Path, done: Reconciled) -> None:
    """Keep the result of a reconciliation; of a dry run nothing is kept."""
    if not done.dry_run:
        write_private(folder / NAME, json.dumps(done.summary()) + "\n")


_NEW = {
    Mend.FETCH: "records differ from the center's or are missing here",
    Mend.SEND: "packets have a receipt here and are not at the center",
    Mend.SETTLE: "packets have a word of the center that had not come here",
    Mend.SUSPECT: "packets are at the center with other contents",
}


def _done(mend: Mend, n: int, repaired: int, *, dry_run: bool) -> str:
    what = f"{n:,} {_NEW.get(mend, mend.value)}"
    if mend is Mend.SUSPECT:
        return what if dry_run else f"{what}: nothing is sent until that is resolved (`titian depth`)"
    if mend is Mend.DROPPED:
        return f"{what}: left as they are"
    if mend in LEFT:
        return f"{what}: they need a person"
    return f"{what}: not repaired, this is a dry run" if dry_run else f"{what}: {repaired:,} {mend.value}"
