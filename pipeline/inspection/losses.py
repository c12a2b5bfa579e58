"""Inspection, steps 4 and 7: the loss list: which citizens must be asked again (design, 7).

The center reads it in its ledger; a region asks the center, and keeps the last answer among its questions.
Who a packet was about is said where this side knows a citizen with that hash of a NIK.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.adapters.registry_asks import Asked, asked
from pipeline.adapters.registry_layout import FILE_NAME, LAYOUT
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.sqlite import Database
from schemas.asks import LOSSES
from schemas.errors import SchemaError
from schemas.identity import PacketId
from schemas.losses import Loss, Losses, Why, unpack_losses
from schemas.nik import nik_hash
from schemas.packet import Packet, read_head

if TYPE_CHECKING:
    from pipeline.adapters.ledger_losses import LedgerLosses

VERSION = 1
_PAGE = 20_000


class Citizen(NamedTuple):
    """Who a lost packet is about; `nama` is empty where this side does not know it."""

    nik: str
    nama: str


#: The citizens with that hash (8 bytes) of a NIK.
Citizens = Callable[[bytes], Sequence[Citizen]]


# --- the documents ----------------------------------------------------------------------------------


def center_losses(ledger: LedgerLosses, region: str | None) -> dict[str, Any]:
    """The document of `losses` at the center, of one region or of all that lost any."""
    found: list[dict[str, Any]] = []
    counts = ledger.losses_counts()
    for code in sorted(counts) if region is None else [region]:
        citizens = _of_ledger(ledger, code)
        found += (loss_json(code, loss, citizens) for loss in ledger.losses(code))
    return {"version": VERSION, "side": "center"} | _summary(found)


def region_losses(
    region: str, said: Losses, citizens: Citizens, as_of_ms: int, now_ms: int, live: bool
) -> dict[str, Any]:
    """The same at a region, from what the center said at `as_of_ms`; `live`: it was asked just now."""
    found = [loss_json(region, loss, citizens) for loss in said.losses]
    age_s = max(0.0, round((now_ms - as_of_ms) / 1000, 1))
    head = {"version": VERSION, "side": "region", "live": live, "as_of_ms": as_of_ms, "age_s": age_s}
    return head | _summary(found)


def _summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    why: Counter[str] = Counter()
    for one in found:
        why[one["why"]] += one["packets"]
    return {"count": why.total(), "by_why": dict(sorted(why.items())), "losses": list(found)}


def loss_json(region: str, loss: Loss, citizens: Citizens) -> dict[str, Any]:
    """One loss as `titian losses --json` shows it; null where nobody knows."""
    last = loss.seq + loss.packets - 1
    return {
        "id": str(PacketId(region, loss.epoch, loss.seq)),
        "last_id": str(PacketId(region, loss.epoch, last)),
        "region": region,
        "epoch": loss.epoch,
        "seq": loss.seq,
        "last_seq": last,
        "packets": loss.packets,
        "why": loss.why.label,
        "lane": None if loss.lane is None else loss.lane.label,
        "recorded_ms": loss.from_ms,
        "recorded": local_text(loss.from_ms),
        "recorded_until_ms": loss.until_ms,
        "recorded_until": local_text(loss.until_ms),
        "size": loss.size or None,
        "held_bytes": loss.held,
        "digest": loss.digest.hex() or None,
        "nik_hash": loss.nik.hex() or None,
        "citizens": [one._asdict() for one in citizens(loss.nik)] if loss.nik else [],
    }


def local_text(at_ms: int | None) -> str | None:
    """A time in the local zone; `None` where there is none, or none that a calendar has."""
    if at_ms is None:
        return None
    try:
        return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return None


def range_text(one: dict[str, Any]) -> str:
    """A run of packets of which nothing more is known, in words."""
    n, first, last = one["packets"], one["seq"], one["last_seq"]
    seqs = f"seq {first} to {last}: {n:,} packets were" if n > 1 else f"seq {first}: a packet was"
    since, until = one["recorded"], one["recorded_until"]
    when = f", between {since} and {until}" if since and until and since != until else ""
    when = when or (f", about {since or until}" if since or until else "")
    return f"{seqs} recorded and never announced{when}"


def is_range(one: dict[str, Any]) -> bool:
    """Whether nothing is known of it but that it was recorded."""
    return bool(one["why"] == Why.NEVER_ANNOUNCED.label)


# --- who it is --------------------------------------------------------------------------------------


def of_registry(folder: Path, niks: Iterable[bytes]) -> Citizens:
    """The citizens of a region's registry who have one of these hashes: read through once, in order."""
    wanted = {nik for nik in niks if nik}
    found: dict[bytes, list[Citizen]] = {}
    if wanted:
        registry = RegistryReader(folder)
        try:
            for nik in _niks(folder):
                if (key := nik_hash(nik)[:8]) in wanted:
                    held = registry.record(nik)
                    nama = "" if held is None else _nama(read_head(held.head, check=False))
                    found.setdefault(key, []).append(Citizen(nik, nama))
        finally:
            registry.close()
    return lambda nik: found.get(nik, ())


def _niks(folder: Path) -> Iterator[str]:
    database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
    try:
        after = 0
        while True:
            with database.read() as db:
                rows: list[Any] = db.execute(
                    "SELECT id, nik FROM record WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE)
                ).fetchall()
            for _, nik in rows:
                yield f"{nik:016d}"
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]
    finally:
        database.close()


def _of_ledger(ledger: LedgerLosses, region: str) -> Citizens:
    def of(nik: bytes) -> list[Citizen]:
        names: dict[str, str] = {}
        for head in ledger.heads_of(region, nik):
            names[head.nik] = names.get(head.nik) or _nama(head)
        return [Citizen(*one) for one in sorted(names.items())]

    return of


def _nama(packet: Packet) -> str:
    nama = packet.payload.get("nama", "")
    return nama if isinstance(nama, str) else ""


# --- what the center said last ----------------------------------------------------------------------


def last_answer(folder: Path) -> Asked | None:
    """The newest whole answer to the ask `losses` that this region still has."""
    database = Database(folder / FILE_NAME, LAYOUT, readonly=True)
    try:
        with database.read() as db:
            number = db.execute(
                "SELECT id FROM ask WHERE what = ? AND answered_ms IS NOT NULL "
                "ORDER BY answered_ms DESC, id DESC LIMIT 1",
                (LOSSES,),
            ).get
            return None if number is None else asked(db, int(number))
    finally:
        database.close()


def last_count(folder: Path) -> tuple[int, int] | None:
    """How many packets were lost when the center last said so, and when that was (ms); `None`: it has not, or
    cannot be read."""
    answer = last_answer(folder)
    if answer is None or not answer.payloads:
        return None
    try:
        said = unpack_losses(answer.payloads[:1])
    except SchemaError:
        return None
    return said.packets, answer.answered_ms or answer.asked_ms
