"""`titian demo`: the whole way on one machine: a center, a region, 500 packets, a link that dies half-way.

Everything is real but the distance: two folders, their Valkeys, Celery workers and SQL stores; between them a
relay that shapes the link. What the summary says is counted from the two sides' stores and from the relay.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json as jsonlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.adapters.folder import Folder, open_folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.linksim import PROFILES, Address, Relay
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.identity import PacketId
from workers.looking import ledger_place
from workers.making import admit_region, make_center, make_region
from workers.stop_signal import StopSignal

PROFILE = "regency-2m"
WITH_ATTACHMENTS = 20
CUT_S = 5.0
DEADLINE_S = 300.0


@dataclasses.dataclass
class _Demo:
    """The two sides and the link between them."""

    center: Folder
    region: Folder
    relay: Relay
    packets: list[PacketId]
    started_s: float

    def counts(self) -> dict[str, Any]:
        """How it stands now, from the stores and the relay."""
        ledger, outbox = LedgerReader.open(ledger_place(self.center)), OutboxReader(self.region.path)
        registry = RegistryReader(self.region.path)
        try:
            there = ledger.counts()
            final = there.received - there.unverdicted
            lanes = outbox.counts().values()
            recorded = sum(lane.total.packets for lane in lanes)
            returned = recorded - sum(lane.unverdicted.packets for lane in lanes)
            records = registry.count()
        finally:
            outbox.close()
            registry.close()
        link = self.relay.stats()
        return {
            "version": 1,
            "recorded": recorded,
            "received": there.received,
            "validated": final,
            "returned": min(returned, records),
            "records": records,
            "seconds": round(time.monotonic() - self.started_s, 1),
            "link_bytes_up": link.up.wire_bytes,
            "link_bytes_down": link.down.wire_bytes,
        }

    def verdict(self) -> dict[str, int]:
        """Packet by packet: `lost` are not in the ledger with the digest that the region has; `duplicated`
        are packets in the ledger beyond those that were recorded."""
        ledger, outbox = LedgerReader.open(ledger_place(self.center)), OutboxReader(self.region.path)
        try:
            lost = 0
            for packet in self.packets:
                here, there = outbox.find(packet), ledger.packet(packet)
                lost += here is None or there is None or here.digest != there.digest
            return {
                "lost": lost,
                "duplicated": max(0, ledger.counts().received - (len(self.packets) - lost)),
            }
        finally:
            outbox.close()


def run_demo(json: bool, packets: int, keep: Path | None) -> int:
    """Run the demo; returns the exit code: 0 if every packet arrived once and came back."""
    with contextlib.ExitStack() as stack:
        place = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="titian-demo-")))
        demo = stack.enter_context(_two_sides(place))
        outbox = stack.enter_context(open_outbox(demo.region.path))
        for line in sample_lines(packets, biometrics=min(WITH_ATTACHMENTS, packets)):
            demo.packets.append(outbox.enqueue(line))
        whole = _watch(demo, packets, quiet=json)
        summary = {**demo.counts(), **demo.verdict(), "complete": whole}
    if json:
        print(jsonlib.dumps(summary))
    else:
        Console().print(_table(summary, "summary"))
    return 0 if whole and not summary["lost"] and not summary["duplicated"] else 1


@contextlib.contextmanager
def _two_sides(place: Path) -> Iterator[_Demo]:
    place.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    center = make_center(place / "center", f"127.0.0.1:{port}", "")
    with Relay(Address("127.0.0.1", 0), Address("127.0.0.1", port), PROFILES[PROFILE]) as relay:
        join = place / "1806.join"
        admit_region(center, "1806", join, again=False, address=str(relay.address))
        region = make_region(place / "region", join)
        started_s = time.monotonic()
        sides = [_up(center), _up(region)]
        try:
            yield _Demo(open_folder(center.path), open_folder(region.path), relay, [], started_s)
        finally:
            for side in sides:
                side.terminate()
            for side in sides:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    side.wait(15)


def _up(folder: Folder) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-m", "workers.cli", "up", "--data", str(folder.path)]
    with (folder.logs / "up.log").open("ab") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log, env=dict(os.environ), start_new_session=True)


def _watch(demo: _Demo, packets: int, *, quiet: bool) -> bool:
    """Look on until everything is back (True) or time is up; the link dies once, half-way."""
    pause, cut = StopSignal(), False
    console = Console(quiet=quiet, stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            now = demo.counts()
            if not cut and now["received"] >= packets // 2:
                demo.relay.cut_for(CUT_S)
                cut = True
            if not quiet:
                live.update(_table(now, "link cut" if demo.relay.stats().cut else "link up"), refresh=True)
            if now["validated"] >= packets and now["returned"] >= packets:
                return True
            if now["seconds"] > DEADLINE_S:
                return False
            pause.wait(0.25)


def _table(counts: dict[str, Any], title: str) -> Table:
    table = Table("what", "count", title=title)
    for name, value in counts.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    return table


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
