"""Load `relay`: the simulator's relay beside the packet-level link, the same rate, delay and buffer, no loss.

A greedy cubic upload and, ten times a second, a byte to and fro on a connection of its own.

    python -m tests.benchmarks.wan_relay serve ADDRESS PORT
    python -m tests.benchmarks.wan_relay drive ADDRESS PORT SECONDS
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline.linksim import Address, LinkProfile, Relay
from tests.benchmarks.wan_flow import ADDRESS
from tests.benchmarks.wan_link import BITS, figures, link, profile_of, wan_of

PORT = 5003
ECHO, TAKE, COUNT = b"e", b"t", b"c"
taken = 0


def serve(address: str, port: int) -> None:
    """Take, echo, or say how much was taken, as the first byte of a connection asks."""
    with socket.create_server((address, port)) as server:
        print("listening", flush=True)
        while True:
            threading.Thread(target=_serve_one, args=(server.accept()[0],), daemon=True).start()


def _serve_one(ours: socket.socket) -> None:
    global taken
    with ours, contextlib.suppress(OSError):
        what = ours.recv(1)
        if what == COUNT:
            ours.sendall(str(taken).encode())
        while what != COUNT and (data := ours.recv(65_536 if what == TAKE else 1)):
            taken += len(data) if what == TAKE else 0
            if what == ECHO:
                ours.sendall(data)


def drive(address: str, port: int, for_s: float) -> None:
    """Fill the line; prints bytes a second of the last three quarters, and the echoes, idle and then."""

    def opened(what: bytes) -> socket.socket:
        ours = socket.create_connection((address, port))
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ours.sendall(what)
        return ours

    def count() -> int:
        with opened(COUNT) as asks:
            return int(asks.recv(99))

    def echoes(until_s: float) -> list[float]:
        times = []
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            echo.sendall(b"x")
            echo.recv(1)
            times.append(1000 * (time.monotonic() - began_s))
            time.sleep(0.1)
        return sorted(times)

    echo = opened(ECHO)
    idle = echoes(time.monotonic() + 3)
    flow = opened(TAKE)
    flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    threading.Thread(target=_fill, args=(flow,), daemon=True).start()
    echoes(time.monotonic() + for_s / 4)
    before, began_s = count(), time.monotonic()
    beside = echoes(time.monotonic() + 3 * for_s / 4)
    rate = (count() - before) / (time.monotonic() - began_s)
    print(json.dumps({"bytes_s": rate, "idle_ms": figures(idle), "beside_ms": figures(beside)}), flush=True)


def _fill(flow: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            flow.sendall(bytes(65_536))


@contextlib.contextmanager
def served(inside: tuple[str, ...], address: str) -> Iterator[None]:
    own = (*inside, sys.executable, "-m", "tests.benchmarks.wan_relay")
    server = subprocess.Popen([*own, "serve", address, str(PORT)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        yield
    finally:
        server.kill()
        server.wait()


def driven(inside: tuple[str, ...], address: str, port: int, for_s: float, line: float) -> dict[str, Any]:
    own = (*inside, sys.executable, "-m", "tests.benchmarks.wan_relay")
    said = subprocess.run([*own, "drive", address, str(port), str(for_s)], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(said.stdout)
    return {"share": round(found.pop("bytes_s") / line, 3), **found}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Each for half of `--seconds`."""
    rate, delay_ms, _, jitter, queue = profile_of(args.profile)
    wan, for_s = replace(wan_of(args), profile=f"{rate},{delay_ms},0,{jitter},{queue}"), args.seconds / 2
    found: dict[str, Any] = {"profile": wan.profile, "load": args.load}
    with link(wan), served(wan.inside("center"), ADDRESS):
        found["packets"] = driven(wan.inside("region"), ADDRESS, PORT, for_s, wan.rate_bytes_s)
    bits = int(float(rate[:-1]) * BITS[rate[-1]])
    profile = LinkProfile(bits, bits, delay_ms, queue * 1024, jitter)
    here = "127.0.0.1"
    with served((), here), Relay(Address(here, 0), Address(here, PORT), profile) as relay:
        found["relay"] = driven((), here, relay.address.port, for_s, wan.rate_bytes_s)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        drive(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
