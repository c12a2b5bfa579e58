"""Commands that run something: `demo`, `up`, `status`, `stop`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli_common import Data, Json, folder_of, no


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON document and nothing else.")
    ] = False,
    packets: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many packets to send.")] = 500,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Keep both sides' folders there to look at.", show_default=False
        ),
    ] = None,
) -> None:
    """The whole way on one machine: a center, a region, a bad link between them, and an outage in the middle.

    \b
    Examples:
      titian demo
      titian demo -n 100 --json
      titian demo --keep /tmp/titian-demo
    """
    from workers.demo import run_demo

    raise typer.Exit(run_demo(json=as_json, packets=packets, keep=keep))


def up(
    data: Data = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Speak as this region though another machine does: that one stops."),
    ] = False,
) -> None:
    """Run this side: its servers and workers. Ctrl-C or SIGTERM ends it cleanly; `kill -9` does no harm.

    \b
    Examples:
      titian up --data /var/lib/titian
    """
    folder = folder_of(data)
    from workers.running import run_up

    raise typer.Exit(run_up(folder, take_over))


def status(data: Data = None, as_json: Json = False) -> None:
    """Is this side running, and since when. Exit code 1 if it is not.

    \b
    Examples:
      titian status --data /var/lib/titian
    """
    folder = folder_of(data)
    from workers import render
    from workers.running import status as status_of

    found = status_of(folder)
    if as_json:
        render.print_json(found)
    else:
        for key, value in found.items():
            if isinstance(value, list) and all(isinstance(one, dict) for one in value):
                for one in value:
                    print("  " + "  ".join(f"{name} {said}" for name, said in one.items()))
            elif value is not None:
                print(f"{key}: {value}")
    if not found.get("running"):
        no()


def stop(
    data: Data = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.0, help="Give up waiting after so many seconds.")
    ] = 20.0,
) -> None:
    """Stop this side cleanly and wait until it has ended. One that does not run is no error.

    \b
    Examples:
      titian stop --data /var/lib/titian
    """
    folder = folder_of(data)
    from workers.running import stop as stop_side
    from workers.supervisor_state import running

    if running(folder.path / "run") is None:
        print("was not running")
        return
    if not stop_side(folder, timeout):
        no(f"it has not ended within {timeout:g} s: run it again, or end its process (`titian status`)")
    print("stopped")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (demo, up, status, stop):
        app.command()(command)
