"""Beside the way, the link simulator: recorded links, in the trace format of mahimahi.

Each line of a trace is a whole millisecond since its start at which one packet of 1500 bytes may leave (an
opportunity); several in one millisecond are several lines. The last line is also the trace's length: there
it begins anew. An opportunity that nobody uses is gone, as a mobile link's slot is. `Trace` is the
recording, `TraceClock` its arithmetic on a clock that is passed in; only `read_trace` touches the disk.

Source: R. Netravali et al., "Mahimahi: Accurate Record-and-Replay for HTTP", USENIX ATC 2015; mm-link(1).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError

OPPORTUNITY_BYTES = 1500
"""What may leave at one opportunity, headers included: one full packet on Ethernet."""

TRACE_BYTES_MAX = 32 * 1024 * 1024
TRACE_LINES_MAX = 4_000_000
TRACE_MS_MAX = 24 * 3600 * 1000

_OPPORTUNITY_BITS = 8 * OPPORTUNITY_BYTES


@dataclass(frozen=True)
class Trace:
    """A recorded direction: `times_ms` never falls, and ends above 0; see `parse_trace`."""

    name: str
    times_ms: array[int]

    @property
    def seconds(self) -> float:
        """After which it repeats."""
        return self.times_ms[-1] / 1000

    @property
    def rate_bit_s(self) -> float:
        """The mean over the whole recording, headers included."""
        return len(self.times_ms) * _OPPORTUNITY_BITS / self.seconds

    def opportunities_before(self, at_s: float) -> int:
        """How many there are before `at_s` (seconds since the start, repeats included)."""
        if at_s <= 0:
            return 0
        period_ms = self.times_ms[-1]
        # to 0.1 us: `opportunity_s` of a number must not count as before itself
        at_ms = round(at_s * 1000, 4)
        rounds = max(0, math.ceil(at_ms / period_ms) - 1)
        return rounds * len(self.times_ms) + bisect_left(self.times_ms, at_ms - rounds * period_ms)

    def opportunity_s(self, number: int) -> float:
        """When opportunity `number` (from 0, without end) is, in seconds since the start."""
        rounds, index = divmod(number, len(self.times_ms))
        return (rounds * self.times_ms[-1] + self.times_ms[index]) / 1000


class TraceClock:
    """When bits leave a line that follows `trace` from `origin_s` on; `spent_bits` of it are used up.

    Bits are counted on the trace's own scale: all that could have left since its start.
    """

    def __init__(self, trace: Trace, origin_s: float) -> None:
        self.trace, self._origin_s = trace, origin_s
        self._spent_bits = 0.0

    def done_at(self, begin_s: float, bits: float) -> float:
        """When `bits` that may begin at `begin_s` have left."""
        end = math.ceil((self._begin_bits(begin_s) + bits) / _OPPORTUNITY_BITS)
        return max(begin_s, self._origin_s + self.trace.opportunity_s(max(0, end - 1)))

    def spend(self, begin_s: float, bits: float) -> None:
        """Those bits have left; what is over of their last opportunity is the next item's."""
        self._spent_bits = self._begin_bits(begin_s) + bits

    def left_by(self, begin_s: float, now_s: float) -> float:
        """How many bits that began at `begin_s` have left before `now_s`."""
        return max(0.0, self._bits_before(now_s) - self._begin_bits(begin_s))

    def _begin_bits(self, begin_s: float) -> float:
        return max(self._spent_bits, self._bits_before(begin_s))

    def _bits_before(self, at_s: float) -> float:
        return float(self.trace.opportunities_before(at_s - self._origin_s) * _OPPORTUNITY_BITS)


def parse_trace(lines: Iterable[str], name: str = "trace") -> Trace:
    """A trace from its lines. UsageError names the line that is wrong; empty lines are skipped."""
    times_ms: array[int] = array("q")
    last_ms = 0
    for number, line in enumerate(lines, start=1):
        if not (text := line.strip()):
            continue
        if not (text.isascii() and text.isdigit()) or len(text) > 12:
            raise _wrong(name, number, f"'{text[:20]}' is not a whole number of milliseconds")
        at_ms = int(text)
        if at_ms < last_ms:
            raise _wrong(name, number, f"{at_ms} ms comes after {last_ms} ms; times must not fall")
        if at_ms > TRACE_MS_MAX:
            raise _wrong(name, number, f"{at_ms} ms is beyond a day; cut the trace")
        if len(times_ms) >= TRACE_LINES_MAX:
            raise _wrong(name, number, f"a trace has at most {TRACE_LINES_MAX:,} lines; cut it")
        times_ms.append(at_ms)
        last_ms = at_ms
    if last_ms == 0:
        raise UsageError(f"{name}: a trace needs at least one line above 0 (its last line is its length)")
    return Trace(name, times_ms)


def read_trace(path: Path) -> Trace:
    """The trace in a file of at most `TRACE_BYTES_MAX`. UsageError when it cannot be read or is none."""
    try:
        # read, not stat: a device or a pipe tells no size
        with path.open("rb") as file:
            data = file.read(TRACE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read the trace {path} ({error.strerror}): name a readable file") from error
    if len(data) > TRACE_BYTES_MAX:
        raise UsageError(f"{path}: a trace has at most {TRACE_BYTES_MAX // 1024**2} MiB; cut it")
    return parse_trace(data.decode("ascii", errors="replace").split("\n"), path.name)


def _wrong(name: str, number: int, what: str) -> UsageError:
    return UsageError(f"{name}, line {number}: {what}")
