"""Commands for a courier, steps 3 to 7 without the link: `export` and `import`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, Region, complete_lane, folder_of, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.adapters.outbox_bundles import Choice
    from pipeline.bundles import Scanned
    from pipeline.center.export import Begin
    from workers.bundling import Step, Written

_Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.", show_default=False)]
_Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="At a region: recorded since (2026-11-20, 2026-11-20T08:00, 3d, 12h). At the center: above "
        "FACTS:RECORDS, or `known`: above what the region named last.",
        show_default=False,
    ),
]
_Lane = Annotated[
    list[str] | None,
    typer.Option(
        "--lane", metavar="LANE", autocompletion=complete_lane, help="Only this lane; may be repeated."
    ),
]
_All = Annotated[bool, typer.Option("--all", help="Also packets that have their receipt.")]
_Force = Annotated[bool, typer.Option("--force", help="Write FILE anew, whatever it is now.")]
_File = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.", show_default=False)]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Verify all of it, say what would be taken; change nothing.")
]
_Receipt = Annotated[
    Path | None,
    typer.Option(
        "--receipt",
        metavar="FILE",
        help="Where the receipt for the courier goes (FILE.receipt).",
        show_default=False,
    ),
]
_SPAN = re.compile(r"([0-9]{1,6})([mhd])")
_SPAN_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CURSOR = re.compile(r"([0-9]{1,18}):([0-9]{1,18})")


def export(
    out: _Out,
    data: Data = None,
    since: _Since = None,
    lane: _Lane = None,
    everything: _All = False,
    region: Region = None,
    force: _Force = False,
    as_json: Json = False,
) -> None:
    """Write a bundle: at a region its packets for the center, at the center the records of --region for it.

    It is sealed to the other side and signed, as on the link, and changes nothing here: the link may carry
    the same at the same time. Was it interrupted (Ctrl-C, a stick pulled out, a full disk), run the same
    again: it verifies what is there and goes on behind it.

    \b
    Examples:
      titian export --data region --out /media/usb/1806.titian
      titian export --data region --lane urgent --lane record --since 7d --out urgent.titian
      titian export --data center --region 1806 --out /media/usb/to-1806.titian
      titian export --data center --region 1806 --since known --out news.titian
    """
    from workers.cli_bundles_text import show_export

    folder = folder_of(data)
    work: Callable[[Callable[[float], Step]], Written]
    if folder.settings.side == "region":
        work = _packets(folder, out, _choice(folder, since, lane, everything, region), force)
    else:
        work = _records(folder, out, region, since, lane, everything, force)
    with _bars("export") as bar:
        try:
            done = work(bar)
        except KeyboardInterrupt:
            note(f"stopped: {out} is a part of a bundle; run the same again and it goes on behind that")
            raise
    show_export(folder.settings.side, done, as_json)
    if done.damaged or done.left_out.get("damaged"):
        raise typer.Exit(1)


def import_(
    file: _File,
    data: Data = None,
    dry_run: _DryRun = False,
    receipt: _Receipt = None,
    as_json: Json = False,
) -> None:
    """Take in a bundle from the other side. Nothing is taken twice: not if the link brought it too, nor if
    this is run again.

    At the center it also writes a receipt, which the courier takes back: the region imports it. What does not
    verify is said and left out; of a file that is cut off or damaged, what is whole is taken, and the rest
    when the file is copied and imported again. The exit code is 1 if anything was not taken.

    \b
    Examples:
      titian import /media/usb/1806.titian --data center --dry-run
      titian import /media/usb/1806.titian --data center
      titian import /media/usb/1806.titian.receipt --data region
    """
    from pipeline.errors import UsageError

    folder = folder_of(data)
    if receipt is not None and folder.settings.side == "region":
        raise UsageError("a region writes no receipt: it gets one back")
    work = _at_region if folder.settings.side == "region" else _at_center
    try:
        clean = work(folder, file, dry_run, receipt, as_json)
    except KeyboardInterrupt:
        note("stopped: what was taken is kept; run the same again, only the rest is taken")
        raise
    if not clean:
        raise typer.Exit(1)


def _at_region(folder: Folder, file: Path, dry_run: bool, _: Path | None, as_json: bool) -> bool:
    from workers.bundling_region import import_records
    from workers.cli_bundles_text import show_region

    scanned = _read_through(file)
    with _bars("import") as bar:
        taken = import_records(folder, file, scanned, dry_run, bar)
    return show_region(file, taken, dry_run, as_json)


def _at_center(folder: Folder, file: Path, dry_run: bool, receipt: Path | None, as_json: bool) -> bool:
    from workers.bundling_center import import_packets
    from workers.cli_bundles_text import show_center

    scanned = _read_through(file)
    receipt = receipt or file.with_name(f"{file.name}.receipt")
    with _bars("import") as bar:
        taken = import_packets(folder, file, scanned, dry_run, receipt, bar)
    return show_center(file, taken, dry_run, as_json)


def _read_through(file: Path) -> Scanned:
    from workers.bundling import scan_file

    with _bars("read through", file.stat().st_size if file.is_file() else None) as bar:
        return scan_file(file, bar(float("nan")))


# --- what was asked for ---------------------------------------------------------------------------


def _packets(
    folder: Folder, out: Path, choice: Choice, force: bool
) -> Callable[[Callable[[float], Step]], Written]:
    from workers.bundling_region import export_packets

    return lambda bar: export_packets(folder, out, choice, force, bar)


def _records(
    folder: Folder,
    out: Path,
    region: str | None,
    since: str | None,
    lane: list[str] | None,
    everything: bool,
    force: bool,
) -> Callable[[Callable[[float], Step]], Written]:
    from pipeline.errors import UsageError
    from workers.bundling_center import export_records

    if region is None:
        raise UsageError("at the center, say for which region: --region CODE")
    if lane or everything:
        raise UsageError("--lane and --all choose packets at a region; the center exports a region's records")
    begin = _begin(since)
    return lambda bar: export_records(folder, out, region, begin, force, bar)


def _begin(since: str | None) -> Begin | None:
    """Above which cursors; `None`: above those that the region named last."""
    from pipeline.center.export import Begin
    from pipeline.errors import UsageError

    if since is None:
        return Begin()
    if since == "known":
        return None
    found = _CURSOR.fullmatch(since)
    if found is None:
        raise UsageError(
            f"--since {since}: at the center it takes a cursor, as FACTS:RECORDS (the region's own are in "
            "`titian export --json` and `titian import --json`), or `known`"
        )
    return Begin(int(found[1]), int(found[2]))


def _choice(
    folder: Folder, since: str | None, lane: list[str] | None, everything: bool, region: str | None
) -> Choice:
    from pipeline.adapters.outbox_bundles import Choice
    from pipeline.errors import UsageError
    from schemas.lanes import Lane, parse_lane

    if region is not None and region != folder.settings.region:
        raise UsageError(
            f"this folder is that of region {folder.settings.region}: it exports its own packets only"
        )
    lanes = tuple(one for one in Lane if one in {parse_lane(text) for text in lane}) if lane else tuple(Lane)
    return Choice(lanes, everything, None if since is None else since_ms(since, int(time.time() * 1000)))


def since_ms(text: str, now_ms: int) -> int:
    """The time that `text` means, in milliseconds since 1970: a date, a date and time, or so long ago; raises
    `UsageError` that shows the forms."""
    from datetime import datetime

    from pipeline.errors import UsageError

    found = _SPAN.fullmatch(text)
    if found is not None:
        return now_ms - int(found[1]) * _SPAN_MS[found[2]]
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since {text}: at a region it takes a date (2026-11-20), a date and time (2026-11-20T08:00), "
            "or how long ago (90m, 12h, 3d)"
        ) from None


@contextmanager
def _bars(label: str, total: float | None = None) -> Iterator[Callable[[float], Step]]:
    """A progress bar whose whole is said once it is known (not a number: it is not)."""
    from contextlib import ExitStack

    from workers import render

    with ExitStack() as stack:

        def begin(size: float) -> Any:
            whole = size if size == size else total
            return stack.enter_context(render.bar(label, whole))

        yield begin


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(export)
    app.command(name="import")(import_)
