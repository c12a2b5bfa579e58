"""The command line in this process, two sides made by it, and packets carried between them without a link."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder, open_folder
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.adapters.outbox_sqlite import SqliteOutbox
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.center.intake import Intake
from pipeline.center.validation import Validation
from pipeline.ports import Batch, EntryId
from pipeline.testing.memory_link import MemoryLink
from schemas.bodies import pack_batch, pack_chunk
from schemas.feed import FactGroup, Span
from schemas.frame import Header, Kind, seal_frame
from schemas.lanes import Lane
from schemas.messages import Join
from schemas.ranges import Ranges
from schemas.verdicts import Reason, Status
from tests.unit.outbox_rig import SMALL_DISK
from workers.cli import main

REGION = "1806"
#: Where the center would listen. Nothing does, so whatever else runs on this machine or beside is not met.
NOBODY = "127.0.0.1:1"
JPEG = b"\xff\xd8\xff\xe0"


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout (fails if there is anything else)."""
        return json.loads(self.out)


@dataclass
class Titian:
    """`titian("depth", "--json")`: the command line, with what it said."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *args: object, stdin: bytes = b"") -> Said:
        """Run it. `stdin` is what it finds there."""
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        self.capsys.readouterr()
        try:
            code = main([str(one) for one in args])
        except SystemExit as why:  # the completion ends so
            code = int(why.code or 0)
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    def ok(self, *args: object, stdin: bytes = b"") -> Said:
        """The same; it must be done without complaint."""
        said = self(*args, stdin=stdin)
        assert said.code == 0, said
        return said


@dataclass(frozen=True)
class Sides:
    """A center and its region, made by the command line."""

    center: Path
    region: Path

    def take_over(self) -> None:
        """Carry everything from the region to the ledger, validate it, and bring facts and records back."""
        center, region = open_folder(self.center), open_folder(self.region)
        ledger, outbox = SqlLedger(center.path / "ledger.db"), SqliteOutbox(region.path, SMALL_DISK)
        registry = SqliteRegistry(region.path)
        incarnation = ledger.open_incarnation(SystemClock().now_ms())
        self._up(ledger, outbox, center, region)
        while Validation(ledger).step(SystemClock().now_ms(), 500).packets:
            pass
        self._back(ledger, outbox, registry, incarnation)
        for store in (ledger, outbox, registry):
            store.close()

    def _up(self, ledger: SqlLedger, outbox: SqliteOutbox, center: Folder, region: Folder) -> None:
        key, clock, link = region.private_keys()[0], SystemClock(), MemoryLink()
        join = Join(token=region.join_file().token, sign=key.public.raw.sign, seal=key.public.raw.seal)
        ledger.bind(REGION, key.public, join, clock.now_ms())
        intake = Intake(link.center_end(), ledger, clock, center.private_keys())
        end = link.region_end(REGION)
        for entry, kind, lane, seqs, body in _claims(outbox):
            header = Header(
                kind, REGION, outbox.epoch, key.id, region.center_key().id, lane, seqs, dictionary=0
            )
            end.send(entry, seal_frame(header, body, ours=key, theirs=region.center_key(), level=1))
        while intake.step(REGION).frames:
            pass

    def _back(
        self, ledger: SqlLedger, outbox: SqliteOutbox, registry: SqliteRegistry, incarnation: str
    ) -> None:
        now_ms, cursors = SystemClock().now_ms(), registry.cursors()
        groups, to = ledger.facts_after(REGION, cursors.facts, 4_000)
        registry.apply_facts(Span(incarnation, 1, cursors.facts, to), groups, now_ms)
        outbox.settle([(to, group) for group in groups], to, now_ms)
        changes, to = ledger.records_after(REGION, cursors.records, 1_000, 1 << 20, None)
        registry.apply_records(Span(incarnation, 1, cursors.records, to), changes, now_ms)

    def refuse(self, seqs: Ranges, reason: Reason) -> None:
        """The center refuses these packets of the region."""
        outbox = SqliteOutbox(self.region, SMALL_DISK)
        group = FactGroup(outbox.epoch, Status.REFUSED, (reason,), seqs, b"")
        outbox.settle([(1_000, group)], 1_000, SystemClock().now_ms())
        outbox.close()


def _claims(outbox: SqliteOutbox) -> Iterator[tuple[EntryId, Kind, Lane, Ranges, bytes]]:
    n = 0
    while True:
        n += 1
        claim = outbox.claim(EntryId(1, n), list(Lane), 32_768, 65_536, SystemClock().now_ms())
        if claim is None:
            return
        if isinstance(claim, Batch):
            yield claim.entry, Kind.BATCH, claim.lane, claim.seqs, pack_batch(claim.stored)
        else:
            body = pack_chunk(claim.size, claim.digest, claim.offset, claim.data)
            yield claim.entry, Kind.CHUNK, claim.lane, ((claim.seq, claim.seq + 1),), body


def make_sides(titian: Titian, folder: Path) -> Sides:
    """`init center`, `admit 1806`, `init region`."""
    center, region, join = folder / "center", folder / "region", folder / "1806.join"
    titian.ok("init", "center", "--data", center, "--listen", NOBODY)
    titian.ok("admit", REGION, "--data", center, "--out", join)
    titian.ok("init", "region", "--join", join, "--data", region)
    return Sides(center, region)


def nik(number: int) -> str:
    """The NIK of a woman born on 12 January 1990."""
    return f"{REGION}01520190{number:04d}"


def line(number: int, **changes: Any) -> dict[str, Any]:
    """One packet as it stands in an NDJSON file."""
    return {"kind": "enrolment", "payload": {"nik": nik(number), "nama": f"SITI {number}"}, **changes}


def write_lines(path: Path, *lines: object) -> Path:
    """An NDJSON file; text goes in as it is."""
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path
