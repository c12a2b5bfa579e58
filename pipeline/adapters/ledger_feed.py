"""Step 6: a region's feed out of the ledger: facts and records by their numbers, and how the region stands.

Everything that changed after a number is found by the number of its *last* change, so a packet or a record
stands in the feed once, wherever a reader was before. The top is read first: what moves above it meanwhile is
found above it later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, func, select

from pipeline.adapters import ledger_was
from pipeline.adapters.ledger_holds import hold_of
from pipeline.adapters.ledger_leaves import Place, epoch_names, prefix_of
from pipeline.adapters.ledger_packets import reasons_of
from pipeline.adapters.ledger_regions import Keys, since_of
from pipeline.adapters.ledger_tables import ANNOUNCED, ASSEMBLING, BODY, EPOCH, PACKET, RECORD, REGION
from pipeline.center.holding import Hold
from schemas.errors import SchemaError
from schemas.feed import FactGroup, RecordChange, digests_hash
from schemas.keys import PublicKey
from schemas.limits import INTEGER_MAX, RANGES_MAX
from schemas.messages import Since, Want, unpack_message
from schemas.ranges import Ranges, from_numbers, from_wire
from schemas.verdicts import Status

#: Groups of one frame of facts, and about how many bytes they may take.
GROUPS_A_FRAME = 1_000
GROUP_BYTES_A_FRAME = 128 * 1024
_GROUP_BYTES = 64


@dataclass(frozen=True)
class Standing:
    """How the center stands with a region, in one read. `want` is its latest word (`None`: never heard).

    `window_bytes` is what all get, `hold` what a person has set for it. `key` is the one to seal to.
    `partly`: byte ranges held of the incomplete packets of the want's epoch; `known_seq`: the highest seq of
    it that anything spoke of, and more where another epoch followed; `renumbered`: how many of its packets
    have an older name. `superseded`: an instance that spoke although another followed it. `refusal` a code
    where the region is not served.
    """

    region: str
    session: int
    instance: str
    grant: int
    epoch: str
    facts_no: int
    records_no: int
    window_bytes: int
    hold: Hold | None = None
    want: Want | None = None
    key: PublicKey | None = None
    since: tuple[Since, ...] = ()
    partly: dict[int, Ranges] = field(default_factory=dict)
    known_seq: int = 0
    renumbered: int = 0
    superseded: str = ""
    refusal: str = ""
    last_seen_ms: int | None = None


def standing(connection: Connection, region: str, keys: Keys, window_bytes: int) -> Standing | None:
    """How the center stands with that region; `None` where it is not admitted."""
    row = connection.execute(select(REGION).where(REGION.c.code == region)).one_or_none()
    if row is None:
        return None
    want = None if row.want is None else _want(row.want)
    known_seq, renumbered = (0, 0) if want is None else _epoch_so_far(connection, region, want)
    return Standing(
        region,
        row.session,
        row.instance,
        row.grant_no,
        row.epoch,
        row.facts_no,
        row.records_no,
        window_bytes,
        hold_of(connection, row),
        want,
        keys.current_of(region),
        since_of(connection, region),
        {} if want is None else partly(connection, region, want.epoch),
        known_seq,
        renumbered,
        row.superseded,
        "" if row.revoked_ms is None else "revoked",
        row.last_seen_ms,
    )


def facts_after(
    connection: Connection, region: str, position: int, packets_max: int
) -> tuple[tuple[FactGroup, ...], int]:
    """Facts numbered above `position`, grouped by what they say, and the number up to which that is all."""
    top = connection.execute(select(REGION.c.facts_no).where(REGION.c.code == region)).scalar() or 0
    if position >= top:
        return (), position
    rows = connection.execute(
        select(
            PACKET.c.fact_no,
            PACKET.c.epoch_id,
            PACKET.c.status,
            PACKET.c.reasons,
            PACKET.c.seq,
            PACKET.c.digest,
        )
        .where(PACKET.c.region == region, PACKET.c.fact_no > position, PACKET.c.fact_no <= top)
        .order_by(PACKET.c.fact_no)
        .limit(packets_max)
    ).all()
    groups: dict[tuple[int, int, str], list[tuple[int, bytes]]] = {}
    to, bytes_left = top if len(rows) < packets_max else rows[-1].fact_no, GROUP_BYTES_A_FRAME
    last = position
    for fact_no, epoch, status, reasons, seq, digest in rows:
        group = groups.get((epoch, status, reasons))
        if group is None:
            bytes_left -= _GROUP_BYTES + len(reasons)
            if groups and (len(groups) >= GROUPS_A_FRAME or bytes_left < 0):
                to = last
                break
            group = groups[epoch, status, reasons] = []
        group.append((seq, digest))
        last = fact_no
    names = epoch_names(connection, {key[0] for key in groups})
    return tuple(_group(names[key[0]], *key[1:], listed) for key, listed in groups.items()), to


def records_after(
    connection: Connection,
    region: str,
    position: int,
    records_max: int,
    bytes_max: int,
    by_reference_epoch: str | None,
) -> tuple[tuple[RecordChange, ...], int, tuple[Place, ...]]:
    """Records numbered above `position`, as they are now, and the number up to which that is all.

    Those made from a packet of `by_reference_epoch` come without a head. One whose packet cannot be read is
    left out; the packet's epoch (id) and seq are named last.
    """
    top = connection.execute(select(REGION.c.records_no).where(REGION.c.code == region)).scalar() or 0
    if position >= top:
        return (), position, ()
    rows = connection.execute(
        select(RECORD.c.record_no, RECORD.c.version, RECORD.c.status, RECORD.c.epoch_id, RECORD.c.seq)
        .where(RECORD.c.region == region, RECORD.c.record_no > position, RECORD.c.record_no <= top)
        .order_by(RECORD.c.record_no)
        .limit(records_max)
    ).all()
    to = top if len(rows) < records_max else rows[-1].record_no
    names = epoch_names(connection, {row.epoch_id for row in rows})
    reference = next((id_ for id_, name in names.items() if name == by_reference_epoch), None)
    referred = all(row.epoch_id == reference for row in rows)
    heads = iter(()) if referred else _heads(connection, region, position, to, reference)
    changes: list[RecordChange] = []
    unreadable, bytes_left, last = list[Place](), bytes_max, position
    for number, version, status, epoch, seq in rows:
        head = None if epoch == reference else next(heads)
        if head is None and epoch != reference:
            unreadable.append((epoch, seq))
        else:
            bytes_left -= 24 + len(head or b"")
            if changes and bytes_left < 0:
                return tuple(changes), last, tuple(unreadable)
            changes.append(RecordChange(version, Status(status), names[epoch], seq, head))
        last = number
    return tuple(changes), to, tuple(unreadable)


def partly(connection: Connection, region: str, epoch: str) -> dict[int, Ranges]:
    """The byte ranges held of that epoch's incomplete packets, the oldest first."""
    rows = connection.execute(
        select(ASSEMBLING.c.seq, ASSEMBLING.c.ranges)
        .join(EPOCH, EPOCH.c.id == ASSEMBLING.c.epoch_id)
        .where(EPOCH.c.region == region, EPOCH.c.epoch == epoch)
        .order_by(ASSEMBLING.c.seq)
        .limit(RANGES_MAX)
    ).all()
    held = {row.seq: from_wire(json.loads(row.ranges)) for row in rows}
    return {seq: ranges for seq, ranges in held.items() if ranges}


def _epoch_so_far(connection: Connection, region: str, want: Want) -> tuple[int, int]:
    """The highest seq of the want's epoch that was named, received or announced, and how many of its packets
    were numbered anew. A region never said of more than it had, so its own highest seq is at least that.

    Where another epoch followed, the outbox is older than what it has promised, whatever its highest seq is:
    one more is named, so that it begins a new epoch, and what it records from now on ranks behind the others.
    """
    newest = select(func.max(EPOCH.c.ord)).where(EPOCH.c.region == region).scalar_subquery()
    of = (EPOCH.c.region == region, EPOCH.c.epoch == want.epoch)
    row = connection.execute(
        select(EPOCH.c.id, EPOCH.c.highest_seq, (EPOCH.c.ord < newest).label("followed")).where(*of)
    ).one_or_none()
    if row is None:
        return 0, 0
    known = [row.highest_seq, want.highest_seq + 1 if row.followed else 0]
    for table in (PACKET, ASSEMBLING, ANNOUNCED):
        top = select(table.c.seq).where(table.c.epoch_id == row.id).order_by(table.c.seq.desc()).limit(1)
        if table is PACKET:  # of what was refused nobody knows whether it was one
            top = top.where(PACKET.c.status != int(Status.REFUSED))
        known.append(connection.execute(top).scalar() or 0)
    return min(max(known), INTEGER_MAX), ledger_was.known(connection, row.id)


def _want(packed: bytes) -> Want | None:
    """The stored want; `None` if another version wrote it (it is repeated within seconds)."""
    try:
        return unpack_message(Want, packed)
    except SchemaError:
        return None


def _group(epoch: str, status: int, reasons: str, listed: list[tuple[int, bytes]]) -> FactGroup:
    listed.sort()
    refused = status == Status.REFUSED
    digests = b"" if refused else digests_hash(digest for _, digest in listed)
    return FactGroup(
        epoch, Status(status), reasons_of(reasons), from_numbers(seq for seq, _ in listed), digests
    )


def _heads(
    connection: Connection, region: str, position: int, to: int, reference: int | None
) -> Iterator[bytes | None]:
    """The heads of the records' packets in order, but for those of the epoch `reference` (`None`: one that
    cannot be read)."""
    source = and_(BODY.c.epoch_id == RECORD.c.epoch_id, BODY.c.seq == RECORD.c.seq)
    wanted = [RECORD.c.region == region, RECORD.c.record_no > position, RECORD.c.record_no <= to]
    if reference is not None:
        wanted.append(RECORD.c.epoch_id != reference)
    rows: Any = connection.execute(
        select(RECORD.c.epoch_id, RECORD.c.seq, BODY.c.stored)
        .join_from(RECORD, BODY, source, isouter=True)
        .where(*wanted)
        .order_by(RECORD.c.record_no)
    )
    for epoch, seq, stored in rows:
        yield prefix_of(connection, epoch, seq, stored)
