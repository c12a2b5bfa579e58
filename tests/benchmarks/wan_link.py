"""The rig of the benchmarks over the packet-level link: namespaces, link, both sides, an office's ping."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.region import Producer, open_outbox
from pipeline.sample import sample_lines
from tests.benchmarks.wan_flow import ADDRESS
from workers.both_sides import BothSides, Up
from workers.looking import ledger_place
from workers.making import admit_region, make_center, make_region

#: name -> (rate, one-way delay in ms, loss).
PROFILES = {
    "2m": ("2M", 50, 0.001),
    "10m": ("10M", 50, 0.01),
    "512k": ("512k", 300, 0.01),
    "128k": ("128k", 100, 0.02),
}


def profile_of(text: str) -> tuple[str, int, float, int, int]:
    """A profile's rate, one-way delay (ms), loss, jitter (ms) and queue (KiB) by its name, or as
    `RATE,DELAY,LOSS[,JITTER[,QUEUE]]` (`1M,20,0.001`)."""
    if text in PROFILES:
        return *PROFILES[text], 0, 256
    rate, delay, loss, *more = text.split(",")
    jitter, queue = (*map(int, more), *(0, 256)[len(more) :])
    return rate, int(delay), float(loss), jitter, queue


BITS = {"k": 1_000, "M": 1_000_000}
PLAIN_KERNEL = '\n[throttle]\ncongestion = ""\nlower_effort = false\n'
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


@dataclass(frozen=True)
class Wan:
    """The link of `profile` between the namespaces `region` and `center` (`tag`: `region-TAG`, ...)."""

    profile: str
    tag: str = ""

    @property
    def rate_bytes_s(self) -> float:
        """What the line carries, headers counted."""
        text = profile_of(self.profile)[0]
        return float(text[:-1]) * BITS[text[-1]] / 8

    def inside(self, side: str) -> tuple[str, ...]:
        """What runs a command on a side."""
        return ("ip", "netns", "exec", f"{side}-{self.tag}" if self.tag else side)

    def up(self) -> None:
        """Make it; what was left of one with the same tag goes first."""
        rate, delay, loss, jitter, queue = profile_of(self.profile)
        self.down()
        line = ("--rate", rate, "--delay", str(delay), "--loss", str(loss))
        self._call("up", *line, "--jitter", str(jitter), "--queue", str(queue * 1024))

    def down(self) -> None:
        """Take it away; nothing if it is not there."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._call("down")

    def toggle_outage(self) -> float:
        """Cut the link, or mend it; when that was (`time.time`, at the latest 0.1 s before it holds)."""
        now_s = time.time()
        self._call("outage")
        return now_s

    def stats(self) -> dict[str, Any]:
        """The emulator's counters."""
        found: dict[str, Any] = json.loads(self._call("stats"))
        return found

    def _call(self, command: str, *options: str) -> str:
        tagged = ("--tag", self.tag) if self.tag else ()
        argv = [os.environ["WAN"], command, *tagged, *options]
        return subprocess.run(
            argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ).stdout


@dataclass(frozen=True)
class Bench:
    """Both sides at work over the link; `place` is a folder for what the benchmark writes."""

    args: argparse.Namespace
    wan: Wan
    place: Path
    both: BothSides
    ledger: LedgerReader
    outbox: Producer
    pings: Path

    def counter(self, what: str) -> int:
        """What the ledger counted of `bytes`, `duplicates`, ... so far."""
        return self.ledger.counts().counters.get(what, 0)

    def push_state(self) -> dict[str, Any]:
        """What the region's `push` says of itself."""
        found: dict[str, Any] = json.loads((self.both.region.run / "push.json").read_text())
        return found

    def say(self, *what: object) -> None:
        """Where `--verbose` asks for it."""
        if self.args.verbose:
            print(*what, flush=True)


def wan_of(args: argparse.Namespace) -> Wan:
    """The link that the command line asks for."""
    return Wan(args.profile, args.tag)


@contextlib.contextmanager
def link(wan: Wan) -> Iterator[None]:
    """The namespaces and the link."""
    wan.up()
    try:
        yield
    finally:
        wan.down()


@contextlib.contextmanager
def sides(wan: Wan, place: Path, settings: str = "") -> Iterator[BothSides]:
    """Center and region in their namespaces, running."""
    center = make_center(place / "center", f"{ADDRESS}:6380", "")
    join = place / "1806.join"
    admit_region(center, "1806", join, again=False, address="")
    region = make_region(place / "region", join)
    toml = region.path / "titian.toml"
    toml.write_text(toml.read_text() + settings)
    center, region = open_folder(center.path), open_folder(region.path)
    ups = Up(center, inside=wan.inside("center")), Up(region, inside=wan.inside("region"))
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
def pings(wan: Wan, place: Path) -> Iterator[Path]:
    """A ping ten times a second; the file has lines of time and milliseconds."""
    file = place / "pings"
    with file.open("w") as out:
        echo = subprocess.Popen([*wan.inside("center"), sys.executable, "-c", ECHO])
        ping = subprocess.Popen([*wan.inside("region"), sys.executable, "-c", PING, ADDRESS], stdout=out)
        try:
            yield file
        finally:
            ping.kill()
            echo.kill()
            ping.wait()
            echo.wait()


@contextlib.contextmanager
def running(args: argparse.Namespace) -> Iterator[Bench]:
    """Everything up, and one packet in the ledger."""
    wan = wan_of(args)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(link(wan))
        file = stack.enter_context(pings(wan, place))
        both = stack.enter_context(sides(wan, place, PLAIN_KERNEL if args.plain_kernel else ""))
        ledger = LedgerReader.open(ledger_place(both.center))
        outbox = stack.enter_context(open_outbox(both.region.path))
        outbox.enqueue_many(sample_lines(1, seed=5))
        while ledger.counts().received < 1:
            time.sleep(0.1)
        yield Bench(args, wan, place, both, ledger, outbox, file)


def idle_pings(file: Path, for_s: float = 5.0) -> list[float]:
    """Wait, and say what the ping saw meanwhile."""
    began_s = time.time()
    time.sleep(for_s)
    return pinged(file, began_s, time.time())


def pinged(file: Path, from_s: float, to_s: float) -> list[float]:
    """The pings of a time, sorted, milliseconds."""
    rows = [line.split() for line in file.read_text().splitlines()]
    return sorted(float(row[1]) for row in rows if len(row) == 2 and from_s <= float(row[0]) <= to_s)


def figures(times: list[float]) -> str:
    """Median and 95th percentile."""
    if not times:
        return "-"
    return f"{times[len(times) // 2]:.0f}/{times[int(len(times) * 0.95)]:.0f}"
