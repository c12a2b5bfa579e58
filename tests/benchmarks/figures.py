"""What benchmarks read of processes, and how they print what they found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from workers.both_sides import BothSides
from workers.supervisor_state import running

_TICKS_S = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """CPU seconds of a process and its children that ended; the most memory it ever held, MiB."""

    cpu_s: float
    peak_mib: float


def usage(pid: int) -> Usage:
    """What process `pid` has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = sum(int(field) for field in fields[11:15]) / _TICKS_S
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line)
    return Usage(cpu_s, int(peak.split()[1]) / 1024)


def processes(sides: BothSides) -> dict[str, Usage]:
    """Every process of both sides by name: "region/up", "center/intake", ..."""
    return {name: usage(pid) for name, pid in _pids(sides)}


def _pids(sides: BothSides) -> Iterator[tuple[str, int]]:
    for side, folder in (("region", sides.region), ("center", sides.center)):
        state = running(folder.run)
        if state is None:
            continue
        yield f"{side}/up", state.pid
        for child in state.children:
            if child.pid is not None:
                yield f"{side}/{child.name}", child.pid


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def percentiles_ms(times_s: Sequence[float]) -> Mapping[str, float]:
    """Median and p99 of durations, milliseconds."""
    ordered = sorted(times_s)
    return {
        "median": ordered[len(ordered) // 2] * 1e3,
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3,
    }
