"""What a scrape of a whole center costs: `python -m tests.benchmarks.scrape [--regions 514] [--keep FOLDER]`.

A center's ledger is filled by SQL (`center_depth.fill`). Measured are the steps by themselves: the document
of `depth`, its values, their text in both forms, gzip; then scrapes of a center that runs (`titian up`), over
HTTP as Prometheus asks, while the process that answers looks at the ledger every 5 s. Milliseconds of time,
and of the thread's CPU (which says more while others use the machine).
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import Folder, open_folder
from tests.benchmarks.center_depth import fill
from tests.benchmarks.figures import percentiles_ms
from workers.both_sides import free_port
from workers.exposition import exposed
from workers.looking import ledger_place
from workers.making import make_center
from workers.measured import depth_of, metrics_of

#: Its processes have so long to start and to come to rest, seconds.
REST_S = 8.0
#: As Prometheus 2 asks.
PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}
OPEN = PROMETHEUS["Accept"]


def timed(times: int, step: Callable[[], Any]) -> dict[str, float]:
    """Median and worst of `times` runs, milliseconds; the first, which fills caches, not counted."""
    step()
    took_s, used_s = [], []
    for _ in range(times):
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        step()
        took_s.append(time.perf_counter() - began_s)
        used_s.append(time.thread_time() - began_cpu_s)
    return {
        "median_ms": round(percentiles_ms(took_s)["median"], 1),
        "max_ms": round(max(took_s) * 1e3, 1),
        "cpu_ms": round(percentiles_ms(used_s)["median"], 1),
    }


def steps(folder: Folder, times: int) -> dict[str, Any]:
    """Each step by itself, in this process."""
    document = depth_of(folder)
    values = metrics_of(folder, document)
    plain, (text, _) = exposed(values)[0].encode(), exposed(values, OPEN)
    return {
        "values": len(values),
        "bytes": len(plain),
        "gzip_bytes": len(gzip.compress(text.encode(), 1)),
        "document": timed(times, lambda: depth_of(folder)),
        "to_values": timed(times, lambda: metrics_of(folder, document)),
        "text": timed(times, lambda: exposed(values)),
        "open_metrics": timed(times, lambda: exposed(values, OPEN)),
        "gzip": timed(times, lambda: gzip.compress(text.encode(), 1)),
    }


def scrapes(folder: Folder, times: int, every_s: float) -> dict[str, Any]:
    """Scrapes of that side while it runs."""
    argv = [sys.executable, "-I", "-m", "workers.cli", "up", "--data", str(folder.path)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as up:
        try:
            url, pause = f"http://{_served(folder)}/metrics", threading.Event()
            pause.wait(REST_S)
            took_s = []
            for _ in range(times + 1):
                began_s = time.perf_counter()
                _get(url)
                took_s.append(time.perf_counter() - began_s)
                pause.wait(every_s)
        finally:
            up.terminate()
    worst = sorted(round(one * 1e3, 1) for one in took_s[1:])
    return {"median_ms": worst[len(worst) // 2], "worst_ms": worst[-3:], "scrapes": times}


def _served(folder: Folder) -> str:
    end_s, pause, at = time.monotonic() + 60, threading.Event(), folder.run / "console.json"
    while time.monotonic() < end_s:
        pause.wait(0.2)
        if at.exists() and (folder.run / "watch.tick").exists():
            where = json.loads(at.read_text())["listen"]
            if where:
                return str(where)
    raise SystemExit("the console is not served: see run/logs/watch.log of the folder (--keep)")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=PROMETHEUS), timeout=30) as said:
        return bytes(said.read())


def make(place: Path, asked: argparse.Namespace) -> Folder:
    """A center with that many regions, whose console listens at any free port."""
    if not (place / "titian.toml").exists():
        made = make_center(place, f"127.0.0.1:{free_port()}", "")
        fill(ledger_place(made), asked)
        toml = place / "titian.toml"
        toml.write_text(toml.read_text().replace("[console]", '[console]\nlisten = "127.0.0.1:0"', 1))
    return open_folder(place)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=514)
    parser.add_argument("--packets", type=int, default=400_000)
    parser.add_argument("--waiting", type=int, default=50_000, help="of them without a verdict")
    parser.add_argument("--announced", type=int, default=50_000)
    parser.add_argument("--lost-disks", type=int, default=20)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--every", type=float, default=0.7, metavar="S", help="between scrapes")
    parser.add_argument("--keep", type=Path, default=None, help="the center's folder, which stays")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = make(asked.keep or Path(name) / "center", asked)
        found = {"steps": steps(folder, asked.times), "scrapes": scrapes(folder, asked.times, asked.every)}
        print(json.dumps({"regions": asked.regions, **found}, indent=1))


if __name__ == "__main__":
    main()
