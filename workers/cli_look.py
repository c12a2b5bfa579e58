"""Commands that look: `depth` and `trace`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, Region, Timeout, folder_of, no, said

if TYPE_CHECKING:
    from workers.looking import CenterLook, RegionLook

_POLL_S = 0.2


def depth(
    data: Data = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it, until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="S", min=0.1, help="With --watch: look so often, seconds.")
    ] = 2.0,
    until_empty: Annotated[
        bool,
        typer.Option(
            "--until-empty", help="Return when nothing waits for its receipt or verdict; 1 if time is up."
        ),
    ] = False,
    timeout: Timeout = None,
    region: Region = None,
) -> None:
    """How much waits where, since when, how fast it moves and when it will be done. Works while nothing runs.

    \b
    Examples:
      titian depth --data region
      titian depth --data region --json
      titian depth --watch
      titian depth --until-empty --timeout 600 && echo all there
      titian depth --data center --region 1806
    """
    from pipeline.errors import UsageError
    from workers.looking import look

    if watch and (as_json or until_empty):
        raise UsageError("--watch is for people: it goes neither with --json nor with --until-empty")
    if timeout is not None and not until_empty:
        raise UsageError("--timeout belongs to --until-empty")
    folder = folder_of(data, "center" if region is not None else None)
    store = look(folder, region)
    if watch:
        _watch(store, every)
    empty = _wait_until_empty(store, timeout) if until_empty else True
    found = store.depth()
    _show(found, as_json)
    if not empty:
        no(f"time is up: {found['waiting']} wait for a receipt, {found['unverdicted']} for a verdict")


def _show(found: dict[str, Any], as_json: bool) -> None:
    from workers import render
    from workers.cli_depth_text import depth_text

    if as_json:
        render.print_json(found)
    else:
        print(depth_text(found))


def _wait_until_empty(store: RegionLook | CenterLook, timeout_s: float | None) -> bool:
    """Poll until nothing waits; False when time is up."""
    from workers import render

    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    waiting, unverdicted = store.left()
    most = waiting + unverdicted
    with render.bar("until empty", most) as step:
        while waiting or unverdicted:
            if end_s is not None and time.monotonic() >= end_s:
                return False
            most = max(most, waiting + unverdicted)
            step(most - waiting - unverdicted, f"{waiting} wait for a receipt, {unverdicted} for a verdict")
            left_s = _POLL_S if end_s is None else max(0.0, min(_POLL_S, end_s - time.monotonic()))
            time.sleep(left_s)
            waiting, unverdicted = store.left()
    return True


def _watch(store: RegionLook | CenterLook, every_s: float) -> None:
    """Show it again and again; Ctrl-C ends it (exit code 130)."""
    from workers import render
    from workers.cli_depth_text import depth_text

    if not render.on_terminal(sys.stdout):
        while True:
            print(depth_text(store.depth()) + "\n", flush=True)
            time.sleep(every_s)
    from workers.cli_depth_live import watch_live

    watch_live(store, lambda: time.sleep(every_s))


def trace(
    which: Annotated[
        str,
        typer.Argument(metavar="ID|NIK|-", help="A packet's id, or a citizen's NIK; - reads it from stdin."),
    ],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """A packet's history, and why it waits: by its id, or all of a citizen's by NIK. 1 if not found.

    \b
    Examples:
      titian trace 1806-k3v9qa-000123
      titian trace - < nik.txt        (a NIK stays out of the shell's history)
    """
    from pipeline.inspection.trace import parse_query
    from workers import render
    from workers.cli_trace_text import trace_text
    from workers.looking import look

    query = parse_query(said(which, "id or NIK"))
    folder = folder_of(data)
    store = look(folder)
    found = store.trace(query)
    if as_json:
        render.print_json(found)
    else:
        for line in trace_text(found):
            print(line)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(depth)
    app.command()(trace)
