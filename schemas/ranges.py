"""Sets of whole numbers as sorted, disjoint, half-open ranges `(start, stop)`: seqs and byte positions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from schemas.errors import CodecError
from schemas.limits import INTEGER_MAX, RANGES_MAX

#: Sorted, disjoint and not touching: `((1, 5), (9, 10))` is 1, 2, 3, 4, 9.
Ranges = tuple[tuple[int, int], ...]


def from_numbers(numbers: Iterable[int]) -> Ranges:
    """The ranges that hold exactly `numbers` (any order, doubles allowed)."""
    return merge((n, n + 1) for n in numbers)


def merge(spans: Iterable[tuple[int, int]]) -> Ranges:
    """The union of half-open spans, in any order, overlapping or not; empty spans vanish."""
    out: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if stop <= start:
            continue
        if out and start <= out[-1][1]:
            if stop > out[-1][1]:
                out[-1] = (out[-1][0], stop)
        else:
            out.append((start, stop))
    return tuple(out)


def numbers(ranges: Ranges) -> Iterator[int]:
    """Every number of the ranges, rising."""
    for start, stop in ranges:
        yield from range(start, stop)


def total(ranges: Ranges) -> int:
    """How many numbers the ranges hold."""
    return sum(stop - start for start, stop in ranges)


def contains(ranges: Ranges, number: int) -> bool:
    """Whether `number` is in one of the ranges."""
    at = bisect_right(ranges, (number, INTEGER_MAX)) - 1
    return at >= 0 and ranges[at][0] <= number < ranges[at][1]


def covers(ranges: Ranges, span: tuple[int, int]) -> bool:
    """Whether the whole of the half-open `span` lies in the ranges (an empty span always does)."""
    start, stop = span
    if stop <= start:
        return True
    at = bisect_right(ranges, (start, INTEGER_MAX)) - 1
    return at >= 0 and ranges[at][0] <= start and stop <= ranges[at][1]


def missing(ranges: Ranges, size: int) -> Ranges:
    """What of `[0, size)` the ranges do not hold."""
    out: list[tuple[int, int]] = []
    at = 0
    for start, stop in ranges:
        if start >= size:
            break
        if start > at:
            out.append((at, start))
        at = max(at, stop)
    if at < size:
        out.append((at, size))
    return tuple(out)


def without(ranges: Ranges, gone: Ranges) -> Ranges:
    """`ranges` without the numbers of `gone`."""
    out: list[tuple[int, int]] = []
    at = 0
    for start, stop in ranges:
        while at < len(gone) and gone[at][1] <= start:
            at += 1
        i = at
        while i < len(gone) and gone[i][0] < stop:
            if gone[i][0] > start:
                out.append((start, gone[i][0]))
            start = max(start, gone[i][1])
            i += 1
        if start < stop:
            out.append((start, stop))
    return tuple(out)


def to_wire(ranges: Ranges) -> list[int]:
    """Flat differences: `((1, 5), (9, 10))` becomes `[1, 4, 4, 1]` (gap, length, gap, length)."""
    out: list[int] = []
    at = 0
    for start, stop in ranges:
        out += (start - at, stop - start)
        at = stop
    return out


def from_wire(flat: Sequence[object]) -> Ranges:
    """The ranges of `to_wire`; raises `CodecError` for anything that it cannot have written."""
    if len(flat) % 2 or len(flat) > 2 * RANGES_MAX:
        raise CodecError("a list of ranges has an odd length or is too long", code="bad_ranges")
    out: list[tuple[int, int]] = []
    at = 0
    for gap, length in zip(flat[::2], flat[1::2], strict=True):
        if type(gap) is not int or type(length) is not int or length < 1 or gap < (1 if out else 0):
            raise CodecError("a range is empty, touches its neighbour or is no number", code="bad_ranges")
        start = at + gap
        at = start + length
        if at > INTEGER_MAX:
            raise CodecError("a range is out of bounds", code="bad_ranges")
        out.append((start, at))
    return tuple(out)
