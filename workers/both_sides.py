"""Two sides on one machine and a link between them: for the demo, the journeys and the benchmarks.

Everything is real but the distance: two folders, their Valkeys, Celery workers and SQL stores; between them a
relay that shapes the link. What is counted comes from the two sides' stores and from the relay.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import Folder, open_folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.linksim import PROFILES, Address, Relay
from schemas.identity import PacketId
from workers.looking import ledger_place
from workers.making import admit_region, make_center, make_region

#: How long a side may take to stop when it is asked to, seconds.
STOP_S = 15.0
#: Several pairs of sides may run on one machine: each console takes a port that is free.
ANY_PORT = {"TITIAN_CONSOLE__LISTEN": "127.0.0.1:0"}
NO_CONSOLE = {"TITIAN_CONSOLE__LISTEN": "off"}
REGION = "1806"


@dataclass
class Up:
    """One `titian up` on `folder`, in a process group of its own; it may be killed and started again.
    `inside`: what runs it, such as `ip netns exec NAME`."""

    folder: Folder
    environment: dict[str, str] = field(default_factory=lambda: dict(ANY_PORT))
    inside: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        titian = (sys.executable, "-I", "-m", "workers.cli")
        argv = [*self.inside, *titian, "up", "--data", str(self.folder.path)]
        with (self.folder.logs / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, env={**os.environ, **self.environment}, start_new_session=True
            )

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone; its children follow by themselves."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_S)
            self.process = None

    def ask_to_stop(self) -> None:
        """SIGTERM; returns at once."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> int | None:
        """SIGTERM, then wait (and kill if it takes long); the exit code, `None` where it did not run."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9
        self.process = None
        return code


@dataclass
class BothSides:
    """A center, a region that joins it, and the link between them."""

    center: Folder
    region: Folder
    relay: Relay | None
    join: Path
    center_up: Up
    region_up: Up

    def counts(self) -> dict[str, Any]:
        """How it stands now, from the stores and the relay."""
        with (
            contextlib.closing(LedgerReader.open(ledger_place(self.center))) as ledger,
            contextlib.closing(OutboxReader(self.region.path)) as outbox,
            contextlib.closing(RegistryReader(self.region.path)) as registry,
        ):
            there = ledger.counts()
            lanes = outbox.counts().values()
            recorded = sum(lane.total.packets for lane in lanes)
            returned = recorded - sum(lane.unverdicted.packets for lane in lanes)
            records = registry.count()
        link = self.relay.stats() if self.relay is not None else None
        return {
            "recorded": recorded,
            "received": there.received,
            "validated": there.received - there.unverdicted,
            "returned": min(returned, records),
            "records": records,
            "link_bytes_up": link.up.wire_bytes if link is not None else 0,
            "link_bytes_down": link.down.wire_bytes if link is not None else 0,
        }

    def verdict(self, packets: Iterable[PacketId]) -> dict[str, int]:
        """Packet by packet: `lost` are not in the ledger with the digest that the region has; `duplicated`
        are packets in the ledger beyond those that were recorded."""
        lost = arrived = 0
        with (
            contextlib.closing(LedgerReader.open(ledger_place(self.center))) as ledger,
            contextlib.closing(OutboxReader(self.region.path)) as outbox,
        ):
            for packet in packets:
                here, there = outbox.find(packet), ledger.packet(packet)
                whole = here is not None and there is not None and here.digest == there.digest
                lost, arrived = lost + (not whole), arrived + whole
            return {"lost": lost, "duplicated": max(0, ledger.counts().received - arrived)}


@contextlib.contextmanager
def both_sides(
    place: Path, profile: str | None, started: bool = True, console: bool = True
) -> Iterator[BothSides]:
    """Make both sides in `place` and (`started`) run them; both are stopped at the end, the folders stay.
    Without `console` their pages are not served: they start quicker.

    The link between them is like `profile`; `None`: they speak directly, as fast as this machine can.
    """
    place.mkdir(parents=True, exist_ok=True)
    here = Address("127.0.0.1", free_port())
    center = make_center(place / "center", str(here), "")
    with contextlib.ExitStack() as stack:
        relay = profile and stack.enter_context(Relay(Address("127.0.0.1", 0), here, PROFILES[profile]))
        join = place / f"{REGION}.join"
        admit_region(center, REGION, join, again=False, address=str(relay.address if relay else here))
        region = make_region(place / "region", join)
        center, region = open_folder(center.path), open_folder(region.path)
        environment = ANY_PORT if console else NO_CONSOLE
        ups = Up(region, dict(environment)), Up(center, dict(environment))
        stack.callback(_stop, ups)
        if started:
            for up in reversed(ups):
                up.start()
        yield BothSides(center, region, relay or None, join, ups[1], ups[0])


def _stop(ups: Iterable[Up]) -> None:
    for up in ups:
        up.ask_to_stop()
    for up in ups:
        up.stop()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
