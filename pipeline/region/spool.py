"""Step 1: a spool folder: whatever file of packets is renamed into it is enqueued and put away.

    SPOOL/name.ndjson           taken when it appears: write it elsewhere (or as `name.part`), then rename it
    SPOOL/done/name.ndjson      every line of it is in the outbox
    SPOOL/refused/name.ndjson   some lines were refused (the others are in the outbox), and
    SPOOL/refused/name.ndjson.txt   which, and why, a line each

A crash between the enqueue and the move does no harm: the file is run again and nothing is taken twice.
Attachments that a file names are left where they are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import watchfiles

from pipeline.errors import StoreError, TitianError, UsageError
from pipeline.region.intake_files import Counts, enqueue_file, is_packet_file
from pipeline.region.producer import Producer

DONE, REFUSED = "done", "refused"
#: How often the folder is looked at when no change was seen (network folders tell nothing), in ms.
LOOK_EVERY_MS = 5_000


@dataclass(frozen=True)
class Spooled:
    """A file was enqueued and put away at `put`; or it was not, for the reason `waits`, and stays."""

    path: Path
    counts: Counts | None
    put: Path | None
    waits: str = ""


def watch_spool(
    outbox: Producer,
    folder: Path,
    stop: threading.Event,
    on_file: Callable[[Spooled], None] = lambda _: None,
    look_every_ms: int = LOOK_EVERY_MS,
) -> None:
    """Take files from `folder` until `stop` is set. On a full disk the file waits and is tried again.

    Raises `UsageError` if the folder cannot be used."""
    prepare(folder)
    for one in look(outbox, folder, stop):
        on_file(one)
    for _ in watchfiles.watch(
        folder,
        stop_event=stop,
        recursive=False,
        debounce=200,
        step=20,
        rust_timeout=look_every_ms,
        yield_on_timeout=True,
        watch_filter=lambda _, path: is_packet_file(Path(path)),
        raise_interrupt=False,
    ):
        for one in look(outbox, folder, stop):
            on_file(one)


def prepare(folder: Path) -> None:
    """Make the folders of a spool; raises `UsageError` if they cannot be made."""
    try:
        for one in (folder, folder / DONE, folder / REFUSED):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as why:
        raise UsageError(f"the spool {folder} cannot be used: {why.strerror}") from None


def look(outbox: Producer, folder: Path, stop: threading.Event) -> Iterator[Spooled]:
    """Enqueue and put away what lies in the folder now, oldest name first."""
    for path in sorted(one for one in folder.iterdir() if is_packet_file(one)):
        if stop.is_set():
            return
        yield _take(outbox, folder, path)


def _take(outbox: Producer, folder: Path, path: Path) -> Spooled:
    try:
        before = _stamp(path)
        counts = enqueue_file(outbox, path)
        if _stamp(path) != before:  # it is still being written; what was taken is not taken twice
            return Spooled(path, counts, None, "it changed while it was read")
        if not counts.refused:
            return Spooled(path, counts, _put_away(path, folder / DONE))
        put = _put_away(path, folder / REFUSED, report="".join(f"{one}\n" for one in counts.refusals))
        return Spooled(path, counts, put)
    except (TitianError, OSError) as why:
        if isinstance(why, TitianError) and not isinstance(why, StoreError | UsageError) and path.exists():
            raise
        return Spooled(path, None, None, str(why))


def _put_away(path: Path, folder: Path, report: str = "") -> Path:
    """Move a file, beside an older one of the same name if need be; its report is there before it is."""
    to, n = folder / path.name, 1
    while to.exists():
        n += 1
        to = folder / f"{path.stem}-{n}{path.suffix}"
    if report:
        to.with_name(f"{to.name}.txt").write_text(report, encoding="utf-8")
    os.rename(path, to)
    return to


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
