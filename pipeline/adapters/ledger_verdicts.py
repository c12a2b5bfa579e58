"""Step 5: what waits for a verdict, out of the ledger; and verdicts, records and claims into it.

Bodies of small packets come with the row that waits, those of large ones are streamed once. Writing checks
that nothing of what was looked at has changed (`moved`), so two validators can neither miss each other's
claims nor overwrite each other's records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select, update

from pipeline.adapters import ledger_pieces as pieces
from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Statement, over_all_regions, upsert
from pipeline.adapters.ledger_leaves import leaves
from pipeline.adapters.ledger_packets import reasons_of, reasons_text
from pipeline.adapters.ledger_tables import BODY, CLAIM, EPOCH, PACKET, RECORD, REGION
from pipeline.center.matching import Claim, Evidence, Held, biometrics
from pipeline.center.rules import MAGIC_BYTES
from pipeline.center.validation import RETRY_MS_LAST, Decided, Decisions, Pending, Work
from schemas.packet import Packet, head_bytes, read_head
from schemas.verdicts import Status

#: Bytes of packets looked at in one batch (at least one packet, however large).
BYTES_A_BATCH = 16 * 1024 * 1024
_IN_MAX = 500

_same = and_(
    PACKET.c.epoch_id == bindparam("of_epoch"),
    PACKET.c.seq == bindparam("of_seq"),
    PACKET.c.status == bindparam("was"),
    PACKET.c.tries == bindparam("tried"),
)
_WORD = Statement(
    update(PACKET)
    .where(_same)
    .values(
        {name: bindparam(name) for name in ("fact_no", "status", "reasons", "due_ms", "tries", "verdict_ms")}
    ),
    ("fact_no", "status", "reasons", "due_ms", "tries", "verdict_ms", "of_epoch", "of_seq", "was", "tried"),
)
_WAIT = Statement(
    update(PACKET).where(_same).values(due_ms=bindparam("due_ms"), tries=bindparam("tries")),
    ("due_ms", "tries", "of_epoch", "of_seq", "was", "tried"),
)
_RECORD_COLUMNS = tuple(column.name for column in RECORD.columns)
_CHANGE = Statement(
    update(RECORD)
    .where(
        RECORD.c.region == bindparam("of_region"),
        RECORD.c.nik == bindparam("of_nik"),
        RECORD.c.version == bindparam("was"),
    )
    .values({name: bindparam(name) for name in _RECORD_COLUMNS[2:]}),
    (*_RECORD_COLUMNS[2:], "of_region", "of_nik", "was"),
)
_NEW: dict[tuple[str, str], Statement] = {}


class Moved(Exception):
    """What was looked at has changed: the transaction is taken back, and the batch is decided again."""


def unverdicted(connection: Connection, limit: int, now_ms: int) -> Work:
    """Packets that are due, oldest first, with what is known of their biometrics and citizens."""
    pending = tuple(_pending(connection, limit, now_ms))
    with_biometrics = [one for one in pending if one.packet.attachments]
    records: dict[tuple[str, str], Held] = {}
    for region in sorted({one.region for one in pending}):
        niks = {one.packet.nik for one in pending if one.region == region}
        records.update(_records(connection, region, niks))
    return Work(pending, _claims(connection, with_biometrics), records)


def give_verdicts(connection: Connection, work: Work, decisions: Decisions, now_ms: int) -> None:
    """Write the decisions; raises `Moved` if what `work` says is no longer so."""
    over_all_regions(connection)
    _write_claims(connection, work, decisions)
    by_region: dict[str, list[Decided]] = {}
    for one in decisions.decided:
        by_region.setdefault(one.pending.region, []).append(one)
    for region, decided in sorted(by_region.items()):
        locked = (
            select(REGION.c.facts_no, REGION.c.records_no).where(REGION.c.code == region).with_for_update()
        )
        row = connection.execute(locked).one()
        books = Books(region, now_ms)
        facts_no = _write_words(connection, books, decided, row.facts_no)
        changes = [(nik, held) for (code, nik), held in decisions.records.items() if code == region]
        records_no = _write_records(connection, region, changes, work, row.records_no)
        books.count("records", sum((region, nik) not in work.records for nik, _ in changes))
        numbered = update(REGION).where(REGION.c.code == region)
        connection.execute(numbered.values(facts_no=facts_no, records_no=records_no))
        books.write(connection)


def next_due_ms(connection: Connection) -> int | None:
    """When the next packet is due (`None`: none waits)."""
    found = connection.execute(select(func.min(PACKET.c.due_ms)).where(PACKET.c.due_ms.is_not(None))).scalar()
    return None if found is None else int(found)


# --- what waits ---------------------------------------------------------------------------------


def _pending(connection: Connection, limit: int, now_ms: int) -> Iterator[Pending]:
    bytes_left = BYTES_A_BATCH
    rows = _due(connection, PACKET.c.due_ms <= now_ms, limit)
    if not rows:  # a time further off than the longest wait was written by a clock that was wrong
        rows = _due(connection, PACKET.c.due_ms > now_ms + RETRY_MS_LAST, limit)
    for place, row in enumerate(rows):
        bytes_left -= row.size
        if place and bytes_left < 0:
            return
        stored, of = row.stored, (row.epoch_id, row.seq)
        prefix = pieces.read_prefix(connection, *of) if stored is None else stored[: head_bytes(stored)]
        packet = read_head(prefix, check=False)
        evidence = (
            look_at(packet, len(prefix), pieces.read(connection, *of))
            if stored is None
            else _small(packet, len(prefix), stored)
        )
        yield Pending(
            row.region,
            row.epoch,
            row.ord,
            row.epoch_id,
            row.seq,
            row.lane,
            Status(row.status),
            reasons_of(row.reasons),
            row.tries,
            packet,
            evidence,
            prefix,
        )


def _due(connection: Connection, due: Any, limit: int) -> Sequence[Any]:
    waits = (
        select(PACKET.c.epoch_id, PACKET.c.seq)
        .where(PACKET.c.due_ms.is_not(None), due)
        .order_by(PACKET.c.due_ms, PACKET.c.epoch_id, PACKET.c.seq)
        .limit(limit)
        .subquery()
    )
    place = and_(PACKET.c.epoch_id == waits.c.epoch_id, PACKET.c.seq == waits.c.seq)
    body = and_(BODY.c.epoch_id == PACKET.c.epoch_id, BODY.c.seq == PACKET.c.seq)
    columns = [
        PACKET.c[name] for name in ("region", "epoch_id", "seq", "lane", "status", "reasons", "tries", "size")
    ]
    return connection.execute(
        select(*columns, EPOCH.c.epoch, EPOCH.c.ord, BODY.c.stored)
        .select_from(waits)
        .join(PACKET, place)
        .join(EPOCH, EPOCH.c.id == PACKET.c.epoch_id)
        .join(BODY, body, isouter=True)
        .order_by(PACKET.c.due_ms, PACKET.c.epoch_id, PACKET.c.seq)
    ).all()


def _small(packet: Packet, prefix_bytes: int, stored: bytes) -> tuple[Evidence, ...]:
    at, evidence = prefix_bytes, []
    for one in packet.attachments:
        data = stored[at : at + one.size]
        at += one.size
        evidence.append(Evidence(one, data[:MAGIC_BYTES], hashlib.sha256(data).digest() == one.digest))
    return tuple(evidence)


def look_at(packet: Packet, prefix_bytes: int, stored: Iterable[bytes]) -> tuple[Evidence, ...]:
    """The evidence of a packet's attachments, from its stored bytes piece by piece."""
    hashes = [hashlib.sha256() for _ in packet.attachments]
    begins = [b""] * len(packet.attachments)
    ends = [prefix_bytes]
    for one in packet.attachments:
        ends.append(ends[-1] + one.size)
    at = index = 0
    for data in stored:
        while index < len(hashes) and at + len(data) > ends[index]:
            part = data[max(ends[index] - at, 0) : ends[index + 1] - at]
            hashes[index].update(part)
            if len(begins[index]) < MAGIC_BYTES:
                begins[index] = (begins[index] + part)[:MAGIC_BYTES]
            if at + len(data) < ends[index + 1]:
                break
            index += 1
        at += len(data)
    return tuple(
        Evidence(one, begin, hashing.digest() == one.digest)
        for one, begin, hashing in zip(packet.attachments, begins, hashes, strict=True)
    )


def _records(connection: Connection, region: str, niks: Iterable[str]) -> dict[tuple[str, str], Held]:
    held: dict[tuple[str, str], Held] = {}
    columns = [RECORD.c[name] for name in ("nik", "version", "status", "epoch_ord", "epoch_id", "seq")]
    for part in _parts(sorted(niks)):
        rows = connection.execute(select(*columns).where(RECORD.c.region == region, RECORD.c.nik.in_(part)))
        held.update({(region, nik): Held(*rest) for nik, *rest in rows})
    return held


def _claims(connection: Connection, pending: Sequence[Pending]) -> tuple[Claim, ...]:
    """The claims on these packets' biometrics, and all claims of their NIKs."""
    found: dict[bytes, Claim] = {}
    niks = sorted({one.packet.nik for one in pending})
    digests = sorted({attachment.digest for one in pending for attachment in biometrics(one.packet)})
    columns = (CLAIM.c.digest, CLAIM.c.nik, CLAIM.c.name, CLAIM.c.settled)
    for column, values in ((CLAIM.c.digest, digests), (CLAIM.c.nik, niks)):
        for part in _parts(values):
            for digest, nik, name, settled in connection.execute(select(*columns).where(column.in_(part))):
                found[digest] = Claim(bytes(digest), nik, name, bool(settled))
    return tuple(found[digest] for digest in sorted(found))


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _IN_MAX):
        yield values[start : start + _IN_MAX]


# --- what is written ----------------------------------------------------------------------------


def _write_claims(connection: Connection, work: Work, decisions: Decisions) -> None:
    with_biometrics = [one for one in work.pending if one.packet.attachments]
    if with_biometrics and _claims(connection, with_biometrics) != work.claims:
        raise Moved
    rows = [
        (one.claim.digest, one.claim.nik, one.claim.name, int(one.claim.settled), one.epoch_id, one.seq)
        for one in decisions.claims
    ]
    if rows and _insert_new(connection, "claim").many(connection, rows) != len(rows):
        raise Moved


def _write_words(connection: Connection, books: Books, decided: Sequence[Decided], facts_no: int) -> int:
    words, waits = [], []
    for one in decided:
        pending, status = one.pending, int(one.status)
        tries = pending.tries + (one.due_ms is not None)
        place = (pending.epoch_id, pending.seq, int(pending.status), pending.tries)
        if one.status is pending.status and one.reasons == pending.reasons:
            waits.append((one.due_ms, tries, *place))  # nothing new to say
            continue
        facts_no += 1
        words.append((facts_no, status, reasons_text(one.reasons), one.due_ms, tries, books.now_ms, *place))
        books.moved(pending.lane, int(pending.status), status)
        books.count(one.status.name)
        if one.status is not Status.PRINT_READY_RECORD:
            detail = "; ".join(f"{reason.code}: {reason.detail}" for reason in one.reasons)
            books.event(one.status.name, pending.epoch_id, pending.seq, pending.seq, detail)
    if _WORD.many(connection, words) != len(words) or _WAIT.many(connection, waits) != len(waits):
        raise Moved
    return facts_no


def _write_records(
    connection: Connection, region: str, changes: Sequence[tuple[str, Held]], work: Work, records_no: int
) -> int:
    made, changed = [], []
    for (nik, held), leaf in zip(changes, leaves(connection, work.pending, changes), strict=True):
        records_no += 1
        values = (held.version, records_no, held.status, held.epoch_ord, held.epoch_id, held.seq, leaf)
        before = work.records.get((region, nik))
        if before is None:
            made.append((region, nik, *values))
        else:
            changed.append((*values, region, nik, before.version))
    if made and _insert_new(connection, "record").many(connection, made) != len(made):
        raise Moved
    if _CHANGE.many(connection, changed) != len(changed):
        raise Moved
    return records_no


def _insert_new(connection: Connection, name: str) -> Statement:
    """Insert rows where there are none; those that are there already are not counted."""
    found = _NEW.get((connection.dialect.name, name))
    if found is None:
        table = {"claim": CLAIM, "record": RECORD}[name]
        names = [column.name for column in table.columns]
        inserting = upsert(connection, table).values({one: bindparam(one) for one in names})
        made = inserting.on_conflict_do_nothing(index_elements=list(table.primary_key.columns))
        found = _NEW[connection.dialect.name, name] = Statement(made, names)
    return found
