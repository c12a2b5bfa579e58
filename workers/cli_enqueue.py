"""Commands that bring packets, steps 1 and 2: `enqueue` and `sample`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, complete_region, folder_of, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.adapters.outbox_draft import Refused
    from pipeline.region.intake_files import Counts
    from pipeline.region.producer import Producer
    from pipeline.region.spool import Spooled

#: Refusals that the JSON names one by one; all are counted, and all stand on stderr.
_REFUSALS_SHOWN = 1_000


_Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...", help="NDJSON files, folders of them, or - for stdin.", show_default=False
    ),
]
_Spool = Annotated[
    Path | None,
    typer.Option(
        "--spool",
        metavar="DIR",
        help="Then keep taking what is renamed into this folder.",
        show_default=False,
    ),
]


def enqueue(paths: _Paths = None, data: Data = None, spool: _Spool = None, as_json: Json = False) -> None:
    """Put packets into the region's outbox. What this says it took is on the disk.

    A line that is wrong is named on stderr as FILE:LINE: field: what is wrong; the others go through, and the
    exit code is 1. Run the same file again at any time: nothing is taken twice, since the outbox recognises a
    packet by its contents (or by an "id" in its line). An "id" that was used for other contents is refused.

    \b
    Examples:
      titian enqueue --data region packets.ndjson
      my-export | titian enqueue --data region -
      titian enqueue --data region --spool /srv/outgoing
    """
    from pipeline.errors import UsageError
    from pipeline.region.intake_files import Counts

    folder = folder_of(data, "region")
    if not paths and spool is None:
        raise UsageError("nothing to enqueue: give files, folders or - for stdin, or --spool DIR")
    work = _work(paths or [])
    total = Counts()
    with _outbox_of(folder) as outbox:
        try:
            _take_all(outbox, work, total)
            interrupted = spool is not None and _watch(outbox, spool, total)
        except BaseException:
            if total.lines:
                note(f"stopped: {_sentence(total)}; run it again, nothing is taken twice")
            raise
    _report(total, as_json)
    if interrupted:
        raise typer.Exit(130)
    if total.refused:
        raise typer.Exit(1)


def _outbox_of(folder: Folder) -> Producer:
    """The region's outbox, with the limits of its settings."""
    from pipeline.adapters.outbox_sqlite import OutboxSettings
    from pipeline.region.attachments import PackingLimits
    from pipeline.region.producer import open_outbox

    limits = folder.settings.outbox
    return open_outbox(
        folder.path,
        settings=OutboxSettings(limits.low_water_bytes, limits.ballast_bytes),
        limits=PackingLimits(limits.attachment_bytes_max),
    )


def _work(paths: list[str]) -> list[Path | None]:
    """The files to read (None: stdin), all of them there; raises `NotFound` before anything is taken."""
    from pipeline.errors import NotFound
    from pipeline.region.intake_files import files_in

    work: list[Path | None] = []
    for text in paths:
        if text == "-":
            work.append(None)
            continue
        found = files_in(Path(text))
        for path in found:
            if not path.exists():
                raise NotFound(f"there is no file {path}: nothing was taken")
        work += found
    return work


def _take_all(outbox: Producer, work: list[Path | None], total: Counts) -> None:
    """Enqueue the files, adding to `total` also if it breaks off half-way."""
    from pipeline.region.intake_files import Counts, enqueue_file, enqueue_stream
    from workers import render

    sizes = [path.stat().st_size for path in work if path is not None]
    known = float(sum(sizes)) if len(sizes) == len(work) else None
    with render.bar("enqueue", known) as step:
        for path in work:
            before, seen = total.bytes, Counts()

            def progress(counts: Counts, before: int = before) -> None:
                nonlocal seen
                seen = counts
                step(before + counts.bytes, f"{render.number(total.taken + counts.taken)} packets")

            try:
                if path is None:
                    if sys.stdin.isatty():
                        note("packets, one a line; Ctrl-D ends")
                    enqueue_stream(
                        outbox, sys.stdin.buffer, "stdin", Path(), on_refused=_say_refused, progress=progress
                    )
                else:
                    seen = enqueue_file(outbox, path, on_refused=_say_refused, progress=progress)
            finally:
                total.add(seen)


def _watch(outbox: Producer, spool: Path, total: Counts) -> bool:
    """Take from the spool until a signal comes; True if that was Ctrl-C."""
    from pipeline.region.spool import watch_spool

    stop = threading.Event()
    came: list[int] = []

    def on_signal(number: int, _: object) -> None:
        came.append(number)
        stop.set()

    def on_file(one: Spooled) -> None:
        if one.counts is not None:
            total.add(one.counts)
            for refused in one.counts.refusals:
                _say_refused(refused)
        if one.put is None:
            note(f"{one.path} waits: {one.waits}")
        elif one.counts is not None:
            note(f"{one.path.name}: {_sentence(one.counts)}; now {one.put}")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        note(f"watching {spool}; Ctrl-C ends it")
        watch_spool(outbox, spool, stop, on_file)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return signal.SIGINT in came


def _say_refused(one: Refused) -> None:
    from workers import render

    note(render.clean(str(one)))


def _sentence(counts: Counts) -> str:
    from workers.render import number

    parts = [f"{number(counts.taken)} taken"]
    if counts.already:
        parts.append(f"{number(counts.already)} were there already")
    if counts.refused:
        parts.append(f"{number(counts.refused)} refused")
    return ", ".join(parts)


def _report(total: Counts, as_json: bool) -> None:
    if not as_json:
        print(_sentence(total))
        return
    from workers.render import print_json

    refusals: list[dict[str, Any]] = [
        {"source": one.source, "line": one.line, "field": one.field, "message": one.message}
        for one in total.refusals[:_REFUSALS_SHOWN]
    ]
    print_json(
        {
            "version": 1,
            "side": "region",
            "taken": total.taken,
            "already": total.already,
            "refused": total.refused,
            "refusals": refusals,
        }
    )


def sample(
    n: Annotated[int, typer.Option("-n", metavar="N", min=0, help="How many packets.")],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="An NDJSON file (written anew), - for stdout.")
    ],
    biometrics: Annotated[
        int, typer.Option("--biometrics", metavar="K", min=0, help="How many of them carry attachments.")
    ] = 0,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="S", help="Another seed, other citizens; the same seed, the same."),
    ] = 1,
    region: Annotated[
        str, typer.Option("--region", metavar="CODE", help="Whose.", autocompletion=complete_region)
    ] = "1806",
) -> None:
    """Realistic packets to try with: enrolments of citizens who do not exist.

    \b
    Examples:
      titian sample -n 500 --biometrics 20 --out packets.ndjson
      titian sample -n 10 --out - | titian enqueue --data region -
    """
    from pipeline.errors import UsageError
    from pipeline.sample import write_sample
    from schemas.identity import check_region
    from workers.render import number

    check_region(region)
    if biometrics > n:
        raise UsageError(f"--biometrics {biometrics} is more than the {n} packets")
    if out == "-":
        write_sample(n, sys.stdout, seed=seed, region=region, biometrics=biometrics)
        return
    try:
        with open(out, "w", encoding="utf-8") as stream:
            write_sample(n, stream, seed=seed, region=region, biometrics=biometrics)
    except OSError as why:
        raise UsageError(f"{out} cannot be written: {why.strerror}") from None
    print(f"{number(n)} packets in {out}")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(enqueue)
    app.command()(sample)
