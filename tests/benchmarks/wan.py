"""Both sides in two network namespaces with a packet-level link between them (root).

    WAN=path/to/wan.sh python -m tests.benchmarks.wan PROFILE large|records [--seconds S] [--plain-kernel]

`wan.sh up OPTIONS` must make the namespaces `region` (198.18.0.1) and `center` (198.18.0.2) and the link,
and `wan.sh down` take them away. Meanwhile a small UDP packet goes to and fro ten times a second: what an
office's ping sees. `--plain-kernel`: without the congestion control and marking that Titian asks for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from workers.both_sides import BothSides, Up
from workers.looking import ledger_place
from workers.making import admit_region, make_center, make_region

PROFILES = {
    "2m": ("2M", 50, 0.001),
    "10m": ("10M", 50, 0.01),
    "512k": ("512k", 300, 0.01),
    "128k": ("128k", 100, 0.02),
}
CENTER = "198.18.0.2"
BITS = {"k": 1_000, "M": 1_000_000}
PING = """
import select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7))
sent, n, due = {}, 0, time.monotonic()
while True:
    if time.monotonic() >= due:
        sent[n], due = time.monotonic(), due + 0.1
        try:
            s.send(n.to_bytes(8, "big") + bytes(48))
        except OSError:
            pass
        n += 1
    if select.select([s], [], [], max(0, due - time.monotonic()))[0]:
        try:
            got = int.from_bytes(s.recv(99)[:8], "big")
        except OSError:
            continue
        if got in sent:
            took_ms = 1000 * (time.monotonic() - sent.pop(got))
            print(round(time.time(), 3), round(took_ms, 2), flush=True)
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("198.18.0.2", 7))
while True:
    data, who = s.recvfrom(99); s.sendto(data, who)
"""


def inside(name: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", name)


@contextlib.contextmanager
def link(profile: str) -> Iterator[None]:
    """The namespaces and the link."""
    rate, delay, loss = PROFILES[profile]
    wan = os.environ["WAN"]
    subprocess.run([wan, "down"], check=False, capture_output=True)
    subprocess.run([wan, "up", "--rate", rate, "--delay", str(delay), "--loss", str(loss)], check=True)
    try:
        yield
    finally:
        subprocess.run([wan, "down"], check=False, capture_output=True)


@contextlib.contextmanager
def sides(place: Path, settings: str = "") -> Iterator[BothSides]:
    """Center and region in their namespaces, running."""
    center = make_center(place / "center", f"{CENTER}:6380", "")
    join = place / "1806.join"
    admit_region(center, "1806", join, again=False, address="")
    region = make_region(place / "region", join)
    toml = region.path / "titian.toml"
    toml.write_text(toml.read_text() + settings)
    center, region = open_folder(center.path), open_folder(region.path)
    ups = Up(center, inside=inside("center")), Up(region, inside=inside("region"))
    try:
        for up in ups:
            up.start()
        yield BothSides(center, region, None, join, *ups)
    finally:
        for up in ups:
            up.ask_to_stop()
        for up in ups:
            up.stop()


@contextlib.contextmanager
def pings(place: Path) -> Iterator[Path]:
    """A ping ten times a second; the file has lines of time and milliseconds."""
    file = place / "pings"
    with file.open("w") as out:
        echo = subprocess.Popen([*inside("center"), sys.executable, "-c", ECHO])
        ping = subprocess.Popen([*inside("region"), sys.executable, "-c", PING, CENTER], stdout=out)
        try:
            yield file
        finally:
            ping.kill()
            echo.kill()
            ping.wait()
            echo.wait()


def pinged(file: Path, from_s: float, to_s: float) -> list[float]:
    """The pings of a time, sorted, milliseconds."""
    rows = [line.split() for line in file.read_text().splitlines()]
    return sorted(float(row[1]) for row in rows if len(row) == 2 and from_s <= float(row[0]) <= to_s)


def figures(times: list[float]) -> str:
    if not times:
        return "-"
    return f"{times[len(times) // 2]:.0f}/{times[int(len(times) * 0.95)]:.0f}"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Drain for so many seconds, and look."""
    rate_text = PROFILES[args.profile][0]
    rate = float(rate_text[:-1]) * BITS[rate_text[-1]]
    settings = '\n[throttle]\ncongestion = ""\nlower_effort = false\n' if args.plain_kernel else ""
    with tempfile.TemporaryDirectory() as name, link(args.profile), pings(Path(name)) as file:
        with sides(Path(name), settings) as both:
            ledger = LedgerReader.open(ledger_place(both.center))
            with open_outbox(both.region.path) as outbox:
                outbox.enqueue_many(sample_lines(1, seed=5))
                while ledger.counts().received < 1:
                    time.sleep(0.1)
                began_idle_s = time.time()
                time.sleep(5)
                idle = pinged(file, began_idle_s, time.time())
                count = int(rate / 8 * args.seconds / (150_000 if args.load == "large" else 60)) + 20
                large = count if args.load == "large" else 0
                if args.load != "idle":
                    outbox.enqueue_many(sample_lines(count, seed=77, biometrics=large))
            began_s = time.time()
            rows = []
            while time.time() < began_s + args.seconds:
                time.sleep(1)
                counts = ledger.counts()
                rows.append((time.time(), counts.counters.get("bytes", 0), counts.received))
                if args.verbose:
                    state = json.loads((both.region.run / "push.json").read_text())
                    print(round(time.time() - began_s), rows[-1][1:], state["waits"], state["throttle"])
        skip = len(rows) // 4
        took_s = rows[-1][0] - rows[skip][0]
        loaded = pinged(file, rows[skip][0], rows[-1][0])
    return {
        "profile": args.profile,
        "share": round((rows[-1][1] - rows[skip][1]) * 8 / took_s / rate, 3),
        "packets_s": round((rows[-1][2] - rows[skip][2]) / took_s, 1),
        "ping_idle_ms": figures(idle),
        "ping_ms": figures(loaded),
    }


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("profile", choices=PROFILES)
    parser.add_argument("load", choices=("large", "records", "idle"))
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--plain-kernel", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    print(json.dumps(run(parser.parse_args())), flush=True)


if __name__ == "__main__":
    main()
