"""The questions of a reconciliation and their answers: digests over ranges, then what is in a range exactly.

`compare.records`  args: flat [1 where statuses shall be counted, NIK, differences to the next ones...]:
                   boundaries `b0 < b1 < ...`, NIKs as numbers; the ranges are `[b0, b1)`, `[b1, b2)`, ...
                   At 0 the answer begins with a `Tops` (48 bytes); then 20 bytes a range, a `RecordsDigest`.
                   `at` counts ranges.
`list.records`     args: flat ranges of NIKs. 24 bytes a record, rising: NIK, version, leaf. `at` is the NIK
                   from which on it goes on.
`compare.packets`  args: flat [0, epoch, seq, day, differences...]: how many packets of each status there are
                   below `seq`, before the first day (UTC, days since 1970), from each day to the next, and
                   from the last one on. 32 bytes each: eight numbers. The refused stand in the first one, of
                   which day is not known. An answer in parts: the parts are added. `at` is a seq.
                   args: flat [1, epoch, seq, differences...]: ranges as above. 12 bytes a range, a
                   `PacketsDigest`. `at` counts ranges.

The parts of an answer follow each other without anything between them. The digest of records is a sum, so
that a database adds it up itself; that of packets is a hash over what there is of each in the order of seqs.
A range that has no place in an answer (a packet range of more than `SEQS_A_RANGE_MAX`) makes it empty.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from schemas.back import number_of, text_of
from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.identity import check_epoch
from schemas.limits import INTEGER_MAX
from schemas.ranges import Ranges, from_wire, to_wire
from schemas.verdicts import Status

RECORDS, LIST_RECORDS, PACKETS = "compare.records", "list.records", "compare.packets"
#: Ranges that one question names at most, and ranges of NIKs that one asks to be listed.
RANGES_A_QUESTION, RANGES_A_LIST = 64, 40
#: Above every NIK.
NIK_STOP = 10**16
#: Seqs of one range of packets, and those a center looks at for one part of an answer.
SEQS_A_RANGE_MAX = 50_000
DAY_MS = 86_400_000
DAYS, SEQS = 0, 1

_HALF = 31
_LOW = (1 << _HALF) - 1
_WORD = (1 << 32) - 1
_TOPS, _RECORDS, _LISTED = struct.Struct(">QQ8I"), struct.Struct(">5I"), struct.Struct(">3Q")
_PACKETS, _BUCKET, _ROW = struct.Struct(">I8s"), struct.Struct(">8I"), struct.Struct(">QB")


class Tops(NamedTuple):
    """The newest numbers of the region's two sequences, and how many records of the first range have
    each status (from 1 on; zeros where that was not asked)."""

    facts: int
    records: int
    by_status: tuple[int, ...]


class RecordsDigest(NamedTuple):
    """Of a range of records: how many, the sums of the upper and lower 31 bits of their leaves (modulo 2^32),
    of how many the leaf is not known, and the sum of their versions (modulo 2^32)."""

    n: int = 0
    upper: int = 0
    lower: int = 0
    unknown: int = 0
    versions: int = 0

    def plus(self, other: RecordsDigest) -> RecordsDigest:
        """Of both ranges together."""
        return records_digest(*(one + two for one, two in zip(self, other, strict=True)))

    def agrees(self, other: RecordsDigest) -> bool:
        """Whether both may be of the same records; where leaves are not known, as far as versions tell."""
        if self.unknown or other.unknown:
            return (self.n, self.versions) == (other.n, other.versions)
        return self[:3] == other[:3]


class ListedRecord(NamedTuple):
    """One record of a list; `leaf` 0: not known."""

    nik: int
    version: int
    leaf: int

    def agrees(self, other: ListedRecord) -> bool:
        """Whether both say the same, as far as it is known."""
        return self.version == other.version and (self.leaf == other.leaf or 0 in (self.leaf, other.leaf))


class PacketsDigest(NamedTuple):
    """Of a range of packets of which the center has said something: how many, and 8 bytes of their hash."""

    n: int
    hash: bytes

    def agrees(self, other: PacketsDigest) -> bool:
        """Whether both are of the same packets."""
        return self == other


class CompareRecords(NamedTuple):
    """The question `compare.records`: at least two boundaries."""

    bounds: tuple[int, ...]
    statuses: bool = False


class ComparePackets(NamedTuple):
    """The question `compare.packets`: `bounds` are seqs (at least two), or days with `stop`, the first seq
    that does not count."""

    epoch: str
    bounds: tuple[int, ...]
    stop: int | None = None


# --- digests --------------------------------------------------------------------------------------


def records_digest(count: int, upper: int, lower: int, unknown: int, versions: int) -> RecordsDigest:
    """Of sums as a database gives them."""
    return RecordsDigest(count, upper & _WORD, lower & _WORD, unknown, versions & _WORD)


def halves(leaf: int) -> tuple[int, int]:
    """The upper and the lower 31 bits of a leaf."""
    return leaf >> _HALF, leaf & _LOW


def packets_digest(rows: Iterable[tuple[int, int, bytes]]) -> PacketsDigest:
    """Of packets `(seq, status, digest)` in rising seq. What a refused one holds does not count: the center
    may never have seen it."""
    hashed, count = hashlib.sha256(), 0
    for seq, status, digest in rows:
        hashed.update(_ROW.pack(seq, status))
        if status != Status.REFUSED:
            hashed.update(digest)
        count += 1
    return PacketsDigest(count, hashed.digest()[:8])


def bucket_of(days: Sequence[int], day: int, status: int) -> int:
    """Which of the `len(days) + 1` counts a packet belongs to; `days` rising."""
    if status == Status.REFUSED:
        return 0
    return sum(1 for one in days if one <= day)


# --- questions ------------------------------------------------------------------------------------


def pack_compare_records(asked: CompareRecords) -> bytes:
    """The args of `compare.records`."""
    return pack_flat((int(asked.statuses), *_differences(asked.bounds)))


def unpack_compare_records(args: bytes) -> CompareRecords:
    """Raises `CodecError`."""
    flat = unpack_flat(args, items_max=2 + RANGES_A_QUESTION)
    if len(flat) < 3:
        raise CodecError("no range of records")
    return CompareRecords(_rising(flat[1:]), bool(number_of(flat[0], 0, 1)))


def pack_list_records(niks: Ranges) -> bytes:
    """The args of `list.records`."""
    return pack_flat(to_wire(niks))


def unpack_list_records(args: bytes) -> Ranges:
    """Raises `CodecError`."""
    return from_wire(unpack_flat(args, items_max=2 * RANGES_A_LIST))


def pack_compare_packets(asked: ComparePackets) -> bytes:
    """The args of `compare.packets`."""
    bounds = _differences(asked.bounds)
    if asked.stop is None:
        return pack_flat((SEQS, asked.epoch.encode(), *bounds))
    return pack_flat((DAYS, asked.epoch.encode(), asked.stop, *bounds))


def unpack_compare_packets(args: bytes) -> ComparePackets:
    """Raises `CodecError`."""
    flat = unpack_flat(args, items_max=4 + RANGES_A_QUESTION)
    if len(flat) < 4:
        raise CodecError("no range of packets")
    try:
        epoch = check_epoch(text_of(flat[1], 6))
    except ValueError as why:
        raise why if isinstance(why, CodecError) else CodecError(f"not an epoch: {why}") from why
    if number_of(flat[0], 0, 1) == DAYS:
        return ComparePackets(epoch, _rising(flat[3:]), number_of(flat[2]))
    return ComparePackets(epoch, _rising(flat[2:]))


def _differences(bounds: Sequence[int]) -> list[int]:
    return [bounds[0], *(after - before for before, after in pairwise(bounds))]


def _rising(flat: Sequence[int | bytes]) -> tuple[int, ...]:
    bounds = tuple(accumulate([number_of(flat[0]), *(number_of(one, 1) for one in flat[1:])]))
    if bounds[-1] > INTEGER_MAX:
        raise CodecError("a boundary is out of range")
    return bounds


# --- answers --------------------------------------------------------------------------------------


def pack_tops(tops: Tops) -> bytes:
    """How an answer to `compare.records` begins."""
    return _TOPS.pack(tops.facts, tops.records, *tops.by_status)


def pack_records_digests(digests: Iterable[RecordsDigest]) -> bytes:
    """Their part of an answer."""
    return b"".join(_RECORDS.pack(*one) for one in digests)


def unpack_compared_records(answer: bytes, ranges: int) -> tuple[Tops, list[RecordsDigest]]:
    """The whole answer to a question of so many ranges; raises `CodecError`."""
    if len(answer) != _TOPS.size + ranges * _RECORDS.size:
        raise CodecError(f"{len(answer)} bytes about {ranges} ranges of records")
    facts, records, *by_status = _TOPS.unpack_from(answer)
    return Tops(facts, records, tuple(by_status)), [
        RecordsDigest(*row) for row in _RECORDS.iter_unpack(answer[_TOPS.size :])
    ]


def pack_listed(listed: Iterable[ListedRecord]) -> bytes:
    """A part of an answer to `list.records`."""
    return b"".join(_LISTED.pack(*one) for one in listed)


def unpack_listed(answer: bytes) -> Iterator[ListedRecord]:
    """The whole answer; raises `CodecError`."""
    _whole(answer, _LISTED)
    return map(ListedRecord._make, _LISTED.iter_unpack(answer))


def pack_packets_digests(digests: Iterable[PacketsDigest]) -> bytes:
    """A part of an answer to `compare.packets`."""
    return b"".join(_PACKETS.pack(*one) for one in digests)


def unpack_packets_digests(answer: bytes, ranges: int) -> list[PacketsDigest]:
    """The whole answer to a question of so many ranges; raises `CodecError`."""
    if len(answer) != ranges * _PACKETS.size:
        raise CodecError(f"{len(answer)} bytes about {ranges} ranges of packets")
    return [PacketsDigest(*row) for row in _PACKETS.iter_unpack(answer)]


def pack_buckets(buckets: Iterable[Sequence[int]]) -> bytes:
    """A part of an answer to `compare.packets` by days: eight counts each."""
    return b"".join(_BUCKET.pack(*one) for one in buckets)


def unpack_buckets(answer: bytes, buckets: int) -> list[tuple[int, ...]]:
    """The sums of all parts; raises `CodecError`."""
    rows = list(_BUCKET.iter_unpack(_whole(answer, _BUCKET)))
    if not rows or len(rows) % buckets:
        raise CodecError(f"{len(rows)} counts for {buckets} days")
    return [tuple(map(sum, zip(*rows[first::buckets], strict=True))) for first in range(buckets)]


def _whole(answer: bytes, row: struct.Struct) -> bytes:
    if len(answer) % row.size:
        raise CodecError(f"{len(answer)} bytes in rows of {row.size}")
    return answer
