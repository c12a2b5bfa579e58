"""The command that compares a region with the center and repairs what differs: `reconcile`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli_common import Data, Json, Region, Timeout, folder_of, no

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from workers.reconciled import Reconciled

_PAUSE_S = 0.05


def reconcile(
    data: Data = None,
    as_json: Json = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only compare and say what differs; repair nothing.")
    ] = False,
    region: Region = None,
    timeout: Timeout = None,
) -> None:
    """Does this region hold what the center holds? Compare in little traffic, and repair what differs.

    Run at the region, whose side must be running (`titian up`). Counts by day and by state first, then
    digests over ranges, then exactly. A packet whose receipt the center has forgotten is sent again, a word
    that never came is settled, a record that differs is fetched again. It also runs by itself once a night.

    --timeout: give up when the center has answered nothing for so many seconds (60).
    Exit code 0: equal, or all is repaired; 1: differences are left; 3: the center is not reached.

    \b
    Examples:
      titian reconcile --data region
      titian reconcile --data region --dry-run --json
    """
    from workers import render

    done = _run(_region_folder(folder_of(data), region), timeout, dry_run=dry_run)
    if as_json:
        render.print_json(done.to_json())
    else:
        for sentence in done.sentences():
            print(sentence)
        up, down = render.size(done.bytes_up), render.size(done.bytes_down)
        print(f"it took {done.seconds:.1f} s, about {up} up and {down} down")
    if not done.well:
        no()


def _run(folder: Folder, timeout: float | None, *, dry_run: bool) -> Reconciled:
    from workers import render
    from workers.reconciling import TIMEOUT_S, reconcile_folder

    pause = threading.Event()
    with render.bar("reconcile", None) as step:
        return reconcile_folder(
            folder,
            lambda: pause.wait(_PAUSE_S),
            timeout_s=TIMEOUT_S if timeout is None else timeout,
            progress=lambda answers, beside: step(float(answers), f"{beside}, {answers} answers"),
            dry_run=dry_run,
        )


def _region_folder(folder: Folder, region: str | None) -> Folder:
    """The region's folder, if its side runs; raises `WrongSide`, `UsageError` or `Unreachable`."""
    from pipeline.errors import Unreachable, UsageError, WrongSide
    from workers.looking import check_heard, is_running

    settings = folder.settings
    if settings.side == "center":
        of = f"of region {region}" if region is not None else "of the region"
        raise WrongSide(
            f"{folder.path} is the center's folder; a reconciliation is run at the region, which asks the "
            f"center and repairs itself: titian reconcile --data DIR, with the folder {of}, on its machine"
        )
    if region is not None and region != settings.region:
        raise UsageError(f"{folder.path} is the folder of region {settings.region}, not of {region}")
    if not is_running(folder):
        raise Unreachable(
            f"the side of {folder.path} does not run, and it is what carries the questions: titian up"
        )
    check_heard(folder)
    return folder


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(reconcile)
