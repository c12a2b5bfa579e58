"""The first and only program of a guest whose power is cut: a region's outbox at work on a disk of its own.

It is given one file (JSON) and says what it does on its console, a line each:

    UP                     it runs
    HELD highest lost      what the product found when it opened the outbox, and how many it says are lost
    GONE seq / WRONG seq   a packet of the host's list that is not there, or has other bytes
    READY                  the check is over, the work begins
    ACK epoch seq digest   `take` returned: this packet is promised (or several: one line each)
    FAILED words           it cannot go on

The host kills the guest (`uml_rig.py`). What the guest's kernel had not written to its disk by then is gone.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the code beside this test, as pytest has it

from pipeline.adapters.outbox_draft import Draft, Taken
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox, create_outbox
from pipeline.adapters.sqlite import Database
from pipeline.errors import StoreDamaged
from pipeline.ports import EntryId
from schemas.lanes import Lane

DEVICE, TYPE = b"/dev/ubda", b"ext4"
SETTINGS = OutboxSettings(low_water_bytes=0, ballast_bytes=0)
SIZES = (200, 600, 600, 3_000, 30_000)
LARGE_BYTES = 400_000
#: Of so many of the newest packets all bytes are read; of the older ones, which no cut touches, the rows.
NEWEST = 1_000
_POWER_OFF = 0x4321FEDC

_libc = ctypes.CDLL(None, use_errno=True)
_console = threading.Lock()


def say(*words: object) -> None:
    """One line on the console, at once."""
    with _console:
        os.write(1, (" ".join(map(str, words)) + "\n").encode())


def mount(folder: Path) -> None:
    """Mount the disk on a folder of the host's, which is read-only itself."""
    if _libc.mount(DEVICE, os.fsencode(folder), TYPE, 0, b"") != 0:
        raise OSError(ctypes.get_errno(), "the disk cannot be mounted")


def without_full_sync() -> None:
    """The control: what the product would be with `synchronous=NORMAL`."""
    opened: Callable[[Database], Any] = Database._open

    def open_normal(self: Database) -> Any:
        db = opened(self)
        db.execute("PRAGMA synchronous=NORMAL")
        return db

    Database._open = open_normal  # type: ignore[method-assign]


def check(outbox: SqliteOutbox, acknowledged: Path) -> None:
    """Hold the outbox against the host's list: a line a packet, `epoch seq digest`."""
    highest = outbox.highest_seq()
    outbox.check(1)
    lost = outbox.connection.execute("SELECT n FROM tally WHERE what = 'lost'").get or 0
    say("HELD", highest, lost)
    rows: Any = outbox.connection.execute("SELECT seq, digest FROM packet").fetchall()
    held = {seq: digest.hex() for seq, digest in rows}
    listed = [line.split() for line in acknowledged.read_text().splitlines()]
    for n, (epoch, seq, digest) in enumerate(listed):
        if epoch != outbox.epoch or int(seq) not in held:
            say("GONE", seq)
        elif held[int(seq)] != digest or (n >= len(listed) - NEWEST and _read(outbox, int(seq)) != digest):
            say("WRONG", seq)


def _read(outbox: SqliteOutbox, seq: int) -> str:
    try:
        return hashlib.sha256(outbox.read(seq)).hexdigest()
    except StoreDamaged as why:
        return str(why)


def draft(rng: random.Random, size: int) -> Draft:
    """A packet of random bytes."""
    stored = rng.randbytes(size)
    large = size > 256 * 1024
    return Draft(
        lane=rng.choice(tuple(Lane)),
        kind="enrolment",
        size=size,
        digest=hashlib.sha256(stored).digest(),
        nik_hash=stored[:16],
        key=stored[16:32],
        at_ms=1_000,
        once=False,
        stored=None if large else stored,
        stream=(lambda: iter([stored])) if large else None,
    )


def produce(outbox: SqliteOutbox, rng: random.Random) -> None:
    """Take packets in, for ever, and say of each that it is promised."""
    while True:
        if rng.random() < 0.02:
            drafts = [draft(rng, LARGE_BYTES)]
            outcomes = [outbox.take_large(drafts[0], 1_000)]
        else:
            drafts = [draft(rng, rng.choice(SIZES)) for _ in range(rng.choice((1, 1, 1, 5)))]
            outcomes = outbox.take(drafts, 1_000)
        for one, outcome in zip(drafts, outcomes, strict=True):
            assert isinstance(outcome, Taken)
            say("ACK", outcome.id.epoch, outcome.id.seq, one.digest.hex())


def send(outbox: SqliteOutbox, session: int) -> None:
    """Claim what waits, and let it wait again: the other writer that a region has."""
    n = 0
    while True:
        n += 1
        outbox.claim(EntryId(session, n), tuple(Lane), 20_000, 100_000, 1_000)
        if n % 5 == 0:
            outbox.requeue(outbox.in_flight(), 1_000)


def guarded(work: Callable[..., None], *arguments: object) -> None:
    """Say why a thread ended: none should."""
    try:
        work(*arguments)
    except Exception:
        say("FAILED", traceback.format_exc().replace("\n", " | "))


def main() -> None:
    """See the module."""
    say("UP")
    told = json.loads(Path(sys.argv[1]).read_text())
    mount(Path(told["disk"]))
    if not told["full"]:
        without_full_sync()
    folder = Path(told["disk"]) / "region"
    if not folder.exists():
        create_outbox(folder, "1806", 1_000)
    outbox = SqliteOutbox(folder, SETTINGS)
    check(outbox, Path(told["acknowledged"]))
    say("READY")
    session = int(told["session"])
    threads = [threading.Thread(target=guarded, args=(send, outbox, session), daemon=True)]
    for n in range(2):
        rng = random.Random(f"{session} {n}")
        threads.append(threading.Thread(target=guarded, args=(produce, outbox, rng), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    try:
        guarded(main)
    finally:
        _libc.reboot(_POWER_OFF)
