"""What comes back: facts (one per packet) and records (one per NIK), each numbered at its last change.

A `down` frame names `(incarnation, session, from, to]`. Its facts stand in groups: all packets of one epoch
with the same status and reasons, their seqs as ranges, and the hash of their digests in that order, which
the region recomputes from its own rows before it settles any (rule 14). A record carries the head of the
packet that it was made from, or nothing where the region itself holds that packet: then it is read there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from schemas.codec import leading, pack, pack_flat, unpack, unpack_flat
from schemas.errors import CodecError
from schemas.identity import check_epoch
from schemas.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX, INTEGER_MAX, RANGES_MAX
from schemas.ranges import Ranges, from_wire, to_wire, total
from schemas.verdicts import Reason, Status

#: Bytes of a facts frame before compression.
FACTS_BYTES_MAX = 256 * 1024
#: Fact groups in a frame, and records in a frame.
GROUPS_MAX = 2_000
RECORDS_MAX = 5_000
#: Packets that one frame's facts may be about.
FACTS_MAX = 100_000
#: Reasons of one group, and characters of a reason's code and detail.
REASONS_MAX = 16
CODE_CHARS_MAX = 64
DETAIL_CHARS_MAX = 300


class FactGroup(NamedTuple):
    """What the center says of the packets `seqs` of `epoch`: one status, the same reasons.

    `hash` (32 bytes) is the SHA-256 of their digests in rising order of seq; empty for a refusal, since the
    center may never have seen what it refuses.
    """

    epoch: str
    status: Status
    reasons: tuple[Reason, ...]
    seqs: Ranges
    hash: bytes


class Span(NamedTuple):
    """Which part of a sequence a `down` frame carries: everything in `(start, to]`, as of its making."""

    incarnation: str
    session: int
    start: int
    to: int


class RecordChange(NamedTuple):
    """A record as it now is: `source` is `(epoch, seq)` of its packet, `head` the beginning of that packet's
    stored bytes (`schemas.packet`), or `None` where the region has it in its own outbox."""

    version: int
    status: Status
    epoch: str
    seq: int
    head: bytes | None


def digests_hash(digests: Iterable[bytes]) -> bytes:
    """The hash of a group: SHA-256 over its packets' digests (32 bytes each) in rising order of seq."""
    return hashlib.sha256(b"".join(digests)).digest()


def pack_facts(span: Span, groups: Sequence[FactGroup]) -> bytes:
    """The body of a `facts` frame."""
    return pack(
        [
            list(span),
            [[g.epoch, int(g.status), _reasons(g.reasons), to_wire(g.seqs), g.hash] for g in groups],
        ]
    )


def record_leaf(change: RecordChange, nik: str) -> int:
    """62 bits of a hash over everything that a record says, by which both sides compare what they hold; sums
    of them (of the upper and lower 31 bits) are the digest of a range. `change` has its head."""
    assert change.head is not None
    said = pack_flat(
        (nik.encode(), change.version, int(change.status), change.epoch.encode(), change.seq, change.head)
    )
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big") >> 2


def _reasons(reasons: Sequence[Reason]) -> list[list[str]]:
    """Reasons cut to what a reader takes: a rule that says too much must not stop the facts of a region."""
    return [[r.code[:CODE_CHARS_MAX], r.detail[:DETAIL_CHARS_MAX]] for r in reasons[:REASONS_MAX]]


def unpack_facts(body: bytes) -> tuple[Span, tuple[FactGroup, ...]]:
    """Span and groups of a `facts` body; raises `CodecError`."""
    value = unpack(body, bytes_max=FACTS_BYTES_MAX, items_max=2 * RANGES_MAX, depth_max=6)
    try:
        span, listed = value
        if len(listed) > GROUPS_MAX:
            raise CodecError("too many groups", code="too_many")
        groups = tuple(_group(item) for item in listed)
        if sum(total(group.seqs) for group in groups) > FACTS_MAX:
            raise CodecError(f"facts about more than {FACTS_MAX} packets", code="too_many")
        return _span(span), groups
    except (TypeError, ValueError) as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not a facts body: {why}") from why


def pack_records(span: Span, changes: Sequence[RecordChange]) -> bytes:
    """The body of a `records` frame."""
    flat: list[int | bytes] = [span.incarnation.encode(), span.session, span.start, span.to]
    for one in changes:
        flat += (
            one.version,
            int(one.status),
            one.epoch.encode(),
            one.seq,
            b"" if one.head is None else one.head,
        )
    return pack_flat(flat)


def unpack_records(body: bytes) -> tuple[Span, tuple[RecordChange, ...]]:
    """Span and changes of a `records` body; raises `CodecError`."""
    flat = unpack_flat(body, items_max=4 + 5 * RECORDS_MAX, bytes_max=BODY_BYTES_MAX)
    if len(flat) < 4 or (len(flat) - 4) % 5:
        raise CodecError("not a records body")
    try:
        span = _span([_text(flat[0]), *flat[1:4]])
        fields = iter(flat[4:])
        changes = tuple(_change(*item) for item in zip(fields, fields, fields, fields, fields, strict=True))
    except (TypeError, ValueError) as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not a records body: {why}") from why
    return span, changes


def span_of(body: bytes) -> Span | None:
    """The span of a facts or records body whose contents this version does not understand, if it has one."""
    try:
        items = leading(body)
        first = next(items)
        return _span(first if isinstance(first, list) else [_text(first), *islice(items, 3)])
    except (TypeError, ValueError, StopIteration):
        return None


def _text(value: object) -> str:
    if not isinstance(value, bytes) or len(value) > 64:
        raise CodecError("a short text is missing")
    return value.decode("ascii")


def _number(value: object, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= INTEGER_MAX:
        raise CodecError("a number is missing or out of range")
    return value


def _span(value: Sequence[object]) -> Span:
    incarnation, session, start, to = value
    if type(incarnation) is not str or not 1 <= len(incarnation) <= 64:
        raise CodecError("no incarnation")
    span = Span(incarnation, _number(session, 1), _number(start), _number(to))
    if span.to < span.start:
        raise CodecError("a span that ends before it starts")
    return span


def _group(item: Sequence[object]) -> FactGroup:
    epoch, status, reasons, seqs, digest = item
    if type(epoch) is not str or not isinstance(reasons, list) or not isinstance(seqs, list):
        raise CodecError("a group of facts has a wrong form")
    if type(digest) is not bytes or len(digest) not in (0, 32) or len(reasons) > REASONS_MAX:
        raise CodecError("a group of facts has a wrong form")
    ranges = from_wire(seqs)
    if not ranges or ranges[0][0] < 1:
        raise CodecError("a group of facts without packets")
    return FactGroup(
        check_epoch(epoch), Status(_number(status)), tuple(_reason(r) for r in reasons), ranges, digest
    )


def _reason(item: Sequence[object]) -> Reason:
    code, detail = item
    if (
        type(code) is not str
        or type(detail) is not str
        or len(code) > CODE_CHARS_MAX
        or len(detail) > DETAIL_CHARS_MAX
    ):
        raise CodecError("a reason has a wrong form")
    return Reason(code, detail)


def _change(version: object, status: object, epoch: object, seq: object, head: object) -> RecordChange:
    if not isinstance(head, bytes) or len(head) > HEAD_BYTES_MAX + 4:
        raise CodecError("a record's head is missing or too large")
    return RecordChange(
        _number(version, 1), Status(_number(status)), check_epoch(_text(epoch)), _number(seq, 1), head or None
    )
