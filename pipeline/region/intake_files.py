"""Step 1: packets from NDJSON files, from stdin and from folders into the outbox.

A file may be run again at any time: what the outbox holds already is recognised by its contents (or by its
`id`), so nothing is taken twice. A bad line is refused with its number and stops no other; so is one whose
`id` was used for another packet, which would be lost if it counted as a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline.adapters.outbox_draft import AlreadyTaken, Refused, Taken
from pipeline.errors import NotFound, UsageError
from pipeline.region.packing import read_line
from pipeline.region.producer import Producer, Said
from schemas.errors import InvalidPacket

#: What a file of packets is called in a folder.
SUFFIXES = (".ndjson", ".jsonl")
_BOM = b"\xef\xbb\xbf"
_READ_BYTES = 1024 * 1024


@dataclass
class Counts:
    """How many packets were taken, were there already, were refused; `bytes` and `lines` that were read."""

    taken: int = 0
    already: int = 0
    refused: int = 0
    lines: int = 0
    bytes: int = 0
    refusals: list[Refused] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Count what another file brought."""
        self.taken += other.taken
        self.already += other.already
        self.refused += other.refused
        self.lines += other.lines
        self.bytes += other.bytes
        self.refusals += other.refusals


#: Called with the counts so far, after each packet.
Progress = Callable[[Counts], None]
#: Refusals that are kept in `Counts.refusals`; all are counted, and all go to `on_refused`.
REFUSALS_MAX = 1_000


def enqueue_file(
    outbox: Producer,
    path: Path,
    *,
    on_refused: Callable[[Refused], None] = lambda _: None,
    progress: Progress = lambda _: None,
) -> Counts:
    """Enqueue a file of packets, one JSON object a line. Raises `NotFound`, `UsageError`, `StoreError`."""
    try:
        with open(path, "rb", buffering=_READ_BYTES) as stream:
            return enqueue_stream(
                outbox, stream, str(path), path.parent, on_refused=on_refused, progress=progress
            )
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as why:
        raise UsageError(f"{path} cannot be read: {why.strerror or why}") from None


def enqueue_stream(
    outbox: Producer,
    stream: IO[bytes],
    source: str,
    folder: Path,
    *,
    on_refused: Callable[[Refused], None] = lambda _: None,
    progress: Progress = lambda _: None,
) -> Counts:
    """The same of an open stream (stdin). `source` stands before refusals, paths are relative to `folder`."""
    counts = Counts()
    said = _objects(outbox, stream, counts)
    for _, outcome in outbox.enqueue_each(said, folder=folder, once=True, source=source):
        match outcome:
            case Taken():
                counts.taken += 1
            case AlreadyTaken():
                counts.already += 1
            case Refused():
                counts.refused += 1
                if len(counts.refusals) < REFUSALS_MAX:
                    counts.refusals.append(outcome)
                on_refused(outcome)
        progress(counts)
    return counts


def files_in(path: Path) -> list[Path]:
    """The files of packets that `path` names: itself, or those in the folder, by name.

    Raises `NotFound` if there is nothing there."""
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if is_packet_file(one))
    if not found:
        raise NotFound(f"the folder {path} holds no file that ends in {' or '.join(SUFFIXES)}")
    return found


def is_packet_file(path: Path) -> bool:
    """Whether a file in a folder is one of packets, complete: not hidden, not still being written."""
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _objects(outbox: Producer, stream: IO[bytes], counts: Counts) -> Iterator[tuple[int, Said]]:
    for number, line in _lines(stream, outbox.limits.line_bytes_max):
        counts.lines = number
        counts.bytes += len(line)
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        try:
            yield number, read_line(text, outbox.limits)
        except InvalidPacket as why:
            yield number, why


def _lines(stream: IO[bytes], bytes_max: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1; of one that is too long, a little more than `bytes_max` bytes."""
    number = 0
    while line := stream.readline(bytes_max + 2):
        number += 1
        if len(line) > bytes_max and not line.endswith(b"\n"):
            yield number, line
            while (rest := stream.readline(_READ_BYTES)) and not rest.endswith(b"\n"):
                pass
            continue
        yield number, line
