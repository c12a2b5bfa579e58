"""One end of a plain TCP connection, as fast as TCP lets it go: an office's own download or upload.

    python -m tests.benchmarks.wan_flow take|give listen|dial ADDRESS PORT SECONDS [FILE]

`give` sends zeros (or FILE, once); `take` reads, and prints lines of time and bytes so far, four a second.
Both use cubic. Either side ends after SECONDS, without waiting for what is still in the sender's buffer.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the ends are started often, and need nothing of it
    from tests.benchmarks.wan_link import Wan

#: Where the center's end listens.
ADDRESS, PORT = "198.18.0.2", 5001
_ABORT = struct.pack("ii", 1, 0)  # l_onoff, l_linger: close with a reset, what is buffered goes
_LOOK_S = 0.25


def connected(how: str, address: str, port: int) -> socket.socket:
    """The connection, made by listening or by dialling (for ten seconds)."""
    if how == "listen":
        with socket.create_server((address, port)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
            return server.accept()[0]
    end_s = time.monotonic() + 10
    while True:
        flow = socket.socket()
        flow.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        try:
            flow.connect((address, port))
        except ConnectionRefusedError:
            flow.close()
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
        else:
            return flow


def give(flow: socket.socket, for_s: float, file: Path | None) -> None:
    """Send until the time is over, the file ends or the other side has enough."""
    data = memoryview(file.read_bytes() if file is not None else bytes(65_536))
    end_s, at = time.monotonic() + for_s, 0
    while time.monotonic() < end_s:
        flow.settimeout(max(0.01, end_s - time.monotonic()))
        try:
            at += flow.send(data[at : at + 65_536])
        except OSError:
            return
        if at == len(data) and file is not None:
            flow.shutdown(socket.SHUT_WR)
            flow.settimeout(None)
            flow.recv(1)  # a reset would take what is on the way
            return
        at %= len(data)


def take(flow: socket.socket, for_s: float) -> None:
    """Read until the time is over; prints what came."""
    began_s, got, due_s = time.monotonic(), 0, 0.0
    print(time.time(), 0, flush=True)
    while (now_s := time.monotonic() - began_s) < for_s:
        if now_s >= due_s:
            print(time.time(), got, flush=True)
            due_s += _LOOK_S
        flow.settimeout(max(0.01, min(due_s, for_s) - now_s))
        try:
            part = flow.recv(65_536)
        except TimeoutError:
            continue
        if not part:
            break
        got += len(part)
    print(time.time(), got, flush=True)


def flowed(
    wan: Wan, giver: str, for_s: float, file: Path | None = None, port: int = PORT
) -> list[tuple[float, int]]:
    """Let a connection flow from `giver` (`region` or `center`); the times, and the bytes arrived by then."""
    ends = {}
    for side, how in (("center", "listen"), ("region", "dial")):
        what = "give" if side == giver else "take"
        argv = [*wan.inside(side), sys.executable, "-m", "tests.benchmarks.wan_flow", what, how, ADDRESS]
        argv += [str(port), str(for_s), *([str(file)] if file is not None and what == "give" else [])]
        ends[what] = subprocess.Popen(argv, stdout=subprocess.PIPE if what == "take" else None, text=True)
    try:
        said = ends["take"].communicate(timeout=for_s + 60)[0]
    finally:
        for end in ends.values():
            end.kill()
            end.wait()
    return [(float(at), int(got)) for at, got in (line.split() for line in said.splitlines())]


def main(what: str, how: str, address: str, port: str, for_s: str, file: str = "") -> None:
    with connected(how, address, int(port)) as flow:
        flow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        if what == "take":
            take(flow, float(for_s))
        else:
            give(flow, float(for_s) + 5, Path(file) if file else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
