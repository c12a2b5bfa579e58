"""Load `rebuild`: an empty machine gets the registry of a region back over the link, while the office works.

The center's ledger holds `--records` records, `--open` of which wait for their card. Measured are the time
until the office is open for service, until everything is there, the bytes on the line for a record, and
meanwhile: how long a record takes that is asked for by its NIK, and a new packet to its receipt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.adapters.folder import open_folder
from pipeline.adapters.ledger_reader import LedgerReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.asks import RECORD, pack_record_args
from tests.benchmarks.big_ledger import fill, heads
from tests.benchmarks.wan_flow import ADDRESS
from tests.benchmarks.wan_link import Wan, figures, idle_pings, link, pinged, pings, wan_of
from workers.both_sides import BothSides, Up
from workers.looking import ledger_place
from workers.making import admit_region, make_center, make_region

#: A record is asked for, and a packet recorded, this often, seconds.
EVERY_S = 20.0
DEADLINE_S = 3_600.0


@contextlib.contextmanager
def sides(wan: Wan, place: Path, records: int, open_count: int) -> Iterator[BothSides]:
    """A center that has long known the region, and the region's new machine, not yet running."""
    center = make_center(place / "center", f"{ADDRESS}:6380", "")
    join = place / "1806.join"
    admit_region(center, "1806", place / "old.join", again=False, address="")
    fill(ledger_place(center), "1806", records, open_count)
    admit_region(center, "1806", join, again=True, address="")
    region = make_region(place / "region", join, rebuild=True)
    center, region = open_folder(center.path), open_folder(region.path)
    ups = Up(center, inside=wan.inside("center")), Up(region, inside=wan.inside("region"))
    try:
        ups[0].start()
        yield BothSides(center, region, None, join, *ups)
    finally:
        for up in ups:
            up.ask_to_stop()
        for up in ups:
            up.stop()


def asked(region: Path, nik: str) -> float:
    """Ask for one record; how long it took to be there, seconds."""
    registry = SqliteRegistry(region)
    began_s = time.monotonic()
    ask = registry.ask(RECORD, pack_record_args(nik), int(time.time() * 1000))
    while registry.answered(ask) is None:
        if time.monotonic() > began_s + 120:
            raise SystemExit("the record that was asked for did not come within two minutes")
        time.sleep(0.01)
    took_s = time.monotonic() - began_s
    registry.close()
    return took_s


def received(ledger: LedgerReader, count: int) -> float:
    """How long until the ledger has so many packets, seconds."""
    began_s = time.monotonic()
    while ledger.counts().received < count:
        time.sleep(0.01)
    return time.monotonic() - began_s


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Rebuild, and look."""
    wan = wan_of(args)
    oldest = [nik for nik, _ in islice(heads(args.records), 200)]
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(link(wan))
        file = stack.enter_context(pings(wan, place))
        both = stack.enter_context(sides(wan, place, args.records, args.open))
        idle = idle_pings(file)
        ledger = LedgerReader.open(ledger_place(both.center))
        outbox = stack.enter_context(open_outbox(both.region.path))
        before = wan.stats()
        both.region_up.start()
        began_s = time.time()
        found = watch(args, both, ledger, outbox, oldest, began_s)
        after = wan.stats()
        found["ping_idle_ms"], found["ping_ms"] = figures(idle), figures(pinged(file, began_s, time.time()))
    found |= {"line_before": before, "line_after": after, "rate_bytes_s": wan.rate_bytes_s}
    return found


def watch(
    args: argparse.Namespace,
    both: BothSides,
    ledger: LedgerReader,
    outbox: Any,
    oldest: list[str],
    began_s: float,
) -> dict[str, Any]:
    """Until the rebuild is done: what came when, and what an office that works meanwhile meets."""
    registry = RegistryReader(both.region.path)
    lines, asks_s, receipts_s, due_s = sample_lines(1_000, seed=5), [], [], began_s
    opened_s = done_s = None
    while done_s is None:
        now_s = time.time()
        if now_s > began_s + DEADLINE_S:
            raise SystemExit("the rebuild did not end within an hour")
        state = registry.rebuild()
        if opened_s is None and state.opened_ms:
            opened_s = state.opened_ms / 1000 - began_s
        if state.rebuilt_ms:
            done_s = state.rebuilt_ms / 1000 - began_s
        elif now_s >= due_s and registry.cursors().records:
            due_s = now_s + EVERY_S
            outbox.enqueue_many(islice(lines, 1))
            receipts_s.append(received(ledger, ledger.counts().received + 1))
            asks_s.append(asked(both.region.path, oldest.pop(0)))
        if args.verbose:
            print(round(now_s - began_s), registry.count(), state, flush=True)
        time.sleep(0.25)
    told = json.loads((both.region.run / "push.json").read_text())
    return {
        "profile": args.profile,
        "records": registry.count(),
        "opened_s": opened_s,
        "done_s": done_s,
        "ask_s": [round(one, 2) for one in asks_s],
        "receipt_s": [round(one, 2) for one in receipts_s],
        "pulled": told["pulled"],
    }
