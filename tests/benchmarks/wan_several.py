"""Load `several`: what one, two, four and eight plain cubic connections carry, and what the ping sees.

Would several connections pay where a host does not allow BBR?
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.benchmarks.wan_flow import PORT, flowed
from tests.benchmarks.wan_link import figures, idle_pings, link, pinged, pings, wan_of

COUNTS = (1, 2, 4, 8)
BUFFER_BYTES = 256 * 1024


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Each for a quarter of `--seconds`, uploads without Titian; the first quarter of each does not count."""
    wan = wan_of(args)
    for_s = args.seconds / len(COUNTS)
    found: dict[str, Any] = {"profile": args.profile, "load": args.load, "congestion": "cubic"}
    with tempfile.TemporaryDirectory() as name, link(wan), pings(wan, Path(name)) as file:
        found["ping_idle_ms"] = figures(idle_pings(file))
        for count in COUNTS:
            with ThreadPoolExecutor(count) as pool:
                flows = list(pool.map(lambda at: flowed(wan, "region", for_s, port=PORT + at), range(count)))
            rates = [_rate(rows) for rows in flows]
            end_s = min(rows[-1][0] for rows in flows)
            ping = figures(pinged(file, end_s - 0.75 * for_s, end_s))
            found[f"of_{count}"] = {"share": round(sum(rates) / wan.rate_bytes_s, 3), "ping_ms": ping}
            time.sleep(1 + BUFFER_BYTES / wan.rate_bytes_s)
    return found


def _rate(rows: list[tuple[float, int]]) -> float:
    first, last = rows[len(rows) // 4], rows[-1]
    return (last[1] - first[1]) / (last[0] - first[0])
