"""What the mirror costs an enqueue: with and without one, in turns in the same run, as the disk is just then.

`python -m tests.benchmarks.mirror [DISK]`. DISK: a folder on the second disk; without it the mirror lies on
the disk of the outbox, where both wait for the same one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.mirror_files import MirrorFolder
from pipeline.adapters.mirror_notes import MirrorNotes
from pipeline.adapters.outbox_sqlite import create_outbox
from pipeline.region import Producer, open_outbox
from pipeline.region.intake_files import enqueue_file
from pipeline.region.mirroring import Mirror
from pipeline.sample import sample_lines
from schemas.keys import PrivateKey
from tests.benchmarks.figures import percentiles_ms, table

ONE_BY_ONE = 1_000
FULL = 60
FILE_LINES = 10_000
FILES = 4

Pair = tuple[list[float], list[float]]


@contextmanager
def outbox(folder: Path, disk: Path | None) -> Iterator[Producer]:
    """An outbox in `folder`, mirrored on `disk` if there is one."""
    create_outbox(folder, "1806")
    with open_outbox(folder) as made:
        if disk is not None:
            keys = [PrivateKey.generate("1806")]
            center, notes = PrivateKey.generate().public, MirrorNotes(folder, disk)
            made.store.mirror = Mirror(MirrorFolder(disk, "1806"), notes, keys, center, SystemClock())
        yield made


def in_turns(times: int, without: Callable[[int], object], with_it: Callable[[int], object]) -> Pair:
    """How long each of `times` calls took, seconds; who begins changes with every turn."""
    took: Pair = ([], [])
    for n in range(times):
        for which in (0, 1) if n % 2 else (1, 0):
            began_s = time.perf_counter()
            (without, with_it)[which](n)
            took[which].append(time.perf_counter() - began_s)
    return took


def report(disk: Path | None) -> str:
    """The table of this module."""
    rows = []

    def row(what: str, took: Pair) -> None:
        bare, mirrored = map(percentiles_ms, took)
        ratio = mirrored["median"] / bare["median"]
        said = [f"{one['median']:.2f} ms, {one['p99']:.2f} ms" for one in (bare, mirrored)]
        rows.append((what, *said, f"{ratio:.2f}"))

    with tempfile.TemporaryDirectory(dir=".") as name, tempfile.TemporaryDirectory(dir=disk or ".") as other:
        folder, second = Path(name), Path(other)
        with outbox(folder / "a", None) as bare, outbox(folder / "b", second / "mirror") as mirrored:
            lines = list(sample_lines(ONE_BY_ONE, seed=1))
            row(
                "a record",
                in_turns(ONE_BY_ONE, lambda n: bare.enqueue(lines[n]), lambda n: mirrored.enqueue(lines[n])),
            )
            full = list(sample_lines(FULL, seed=2, biometrics=FULL))
            row(
                "with biometrics",
                in_turns(FULL, lambda n: bare.enqueue(full[n]), lambda n: mirrored.enqueue(full[n])),
            )
            files = []
            for n in range(FILES):
                files.append(folder / f"{n}.ndjson")
                with files[n].open("w", encoding="utf-8") as out:
                    out.writelines(json.dumps(one) + "\n" for one in sample_lines(FILE_LINES, seed=10 + n))
            row(
                f"a file of {FILE_LINES:,} lines",
                in_turns(
                    FILES, lambda n: enqueue_file(bare, files[n]), lambda n: enqueue_file(mirrored, files[n])
                ),
            )
            size = sum(one.stat().st_size for one in (second / "mirror").glob("*.titian"))
            waits = sum(1 for _ in (second / "mirror").glob("*.titian"))
        state = json.loads((folder / "b" / "mirror.json").read_text())
        assert not state["since_ms"], state
    head = ("enqueue (median, p99)", "without", "with the mirror", "ratio")
    return f"{table(head, rows)}\n\n{size / 1e6:.1f} MB in {waits} segments"


if __name__ == "__main__":
    print(report(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
