"""The command that looks after a side's health: `doctor`."""

from __future__ import annotations

import typer

from workers.cli_common import Data, Json, no, note


def doctor(data: Data = None, as_json: Json = False) -> None:
    """Is this side healthy: settings, disk, clock, keys, stores, brokers, link, alarms; each with what to do.

    Exit code 1 if anything fails.

    \b
    Examples:
      titian doctor --data /var/lib/titian
      titian doctor --json
    """
    from pipeline.adapters.clock import SystemClock
    from pipeline.inspection.doctor import document
    from workers import render
    from workers.probing import examine, folder_to_examine

    folder, wrong = folder_to_examine(data)
    if folder.how not in ("--data", "TITIAN_DATA"):
        note(f"using {folder.path} (the {folder.settings.side}; found by {folder.how})")
    checks = []
    for one in examine(folder, wrong):
        checks.append(one)
        if not as_json:
            print(f"{one.level:<4}  {one.name}: {render.clean(one.said)}" + (f"; {one.do}" if one.do else ""))
    found = document(folder.settings.side, SystemClock().now_ms(), checks)
    if as_json:
        render.print_json(found)
    if not found["healthy"]:
        no()


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(doctor)
