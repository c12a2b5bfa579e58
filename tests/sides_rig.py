"""Two real sides for tests: what may be killed, wiped and cut, and the question whether all arrived once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.adapters.folder import Folder
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.identity import PacketId
from workers.both_sides import BothSides, both_sides
from workers.making import link_server
from workers.supervisor_state import running
from workers.wiring import nudge_server

#: A wide link with hardly any delay: what is tested is what happens, not how slow it is.
WIDE = "fiber"

#: A stream: a packet every so many seconds, one in twenty with attachments of 60 to 300 kB; at least so many.
EVERY_S = 0.02
STREAM_MIN, STREAM_MAX = 300, 5_000


def until(done: Callable[[], object], deadline_s: float = 60.0, what: str = "it") -> None:
    """Look every 50 ms until `done()` is true; AssertionError when that takes longer than `deadline_s`."""
    end_s = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end_s, f"{what} did not happen within {deadline_s:.0f} s"
        time.sleep(0.05)


@contextmanager
def two_sides(place: Path, profile: str = WIDE, started: bool = True) -> Iterator[BothSides]:
    """Both sides in `place`, without consoles; their logs stay there for whoever looks at a failure."""
    with both_sides(place, profile, started=started, console=False) as sides:
        yield sides


def enqueue(sides: BothSides, packets: int, biometrics: int = 0, seed: int = 1) -> list[PacketId]:
    """Record sample packets at the region, as a producer does, and return their identities."""
    with open_outbox(sides.region.path) as outbox:
        return [outbox.enqueue(one) for one in sample_lines(packets, biometrics=biometrics, seed=seed)]


@contextmanager
def stream(sides: BothSides) -> Iterator[list[PacketId]]:
    """A producer goes on during the body, and until it has recorded STREAM_MIN; what it has recorded."""
    packets: list[PacketId] = []
    over = threading.Event()

    def produce() -> None:
        with open_outbox(sides.region.path) as outbox:
            for line in sample_lines(STREAM_MAX, biometrics=STREAM_MAX // 20, seed=3):
                packets.append(outbox.enqueue(line))
                if over.wait(EVERY_S) and len(packets) >= STREAM_MIN:
                    break

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        yield packets
    finally:
        over.set()
        producer.join()


def something_is_under_way(sides: BothSides) -> bool:
    """Whether not every recorded packet has come back."""
    now = sides.counts()
    return bool(now["returned"] < now["recorded"])


def child_pid(folder: Folder, role: str) -> int | None:
    """The process that plays `role` ("region", "intake", "valkey", ...) on this side now."""
    state = running(folder.run)
    children = state.children if state is not None else ()
    return next((child.pid for child in children if child.name == role), None)


def kill_child(folder: Folder, role: str) -> int:
    """`kill -9` one process of a side (waiting until there is one); returns its number."""
    until(lambda: child_pid(folder, role), what=f"a process for {role}")
    pid = child_pid(folder, role)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def wipe_link(sides: BothSides) -> None:
    """Everything that the link's broker holds is gone at once, as after a lost disk."""
    with closing(link_server(sides.center).client()) as client:
        client.flushall()


def wipe_nudges(folder: Folder) -> None:
    """Every nudge of this side is gone."""
    with closing(nudge_server(folder).client()) as client:
        client.flushall()


def everything_is_back(sides: BothSides, packets: list[PacketId], deadline_s: float = 90.0) -> None:
    """Wait until all have their verdict and record at the region; then each must be there exactly once."""

    def back() -> bool:
        now = sides.counts()
        return bool(min(now["validated"], now["returned"]) >= len(packets))

    until(back, deadline_s, f"the return of {len(packets)} packets")
    assert sides.verdict(packets) == {"lost": 0, "duplicated": 0}
