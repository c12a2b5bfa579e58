"""The command that says what to look at: `alarms`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, folder_of, no, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder

Test = Annotated[bool, typer.Option("--test", help="Send a test alarm to the webhook and the command.")]


def alarms(data: Data = None, as_json: Json = False, test: Test = False) -> None:
    """What stands now, since when, what to do about it, and whether it was told.

    Exit code 1 if a test alarm was not taken.

    \b
    Examples:
      titian alarms
      titian alarms --test
      titian alarms --json
    """
    folder = folder_of(data)
    if test:
        _test(folder, as_json)
    else:
        _list(folder, as_json)


def _list(folder: Folder, as_json: bool) -> None:
    from workers import render
    from workers.standing import alarms_document

    found = alarms_document(folder)
    if as_json:
        render.print_json(found)
        return
    if not found["alarms"]:
        print("no alarm stands")
    for one in found["alarms"]:
        lasts_s = None if one["since_ms"] is None else max(0, found["at_ms"] - one["since_ms"]) / 1000
        since = "" if lasts_s is None else f" since {render.when(one['since_ms'])} ({render.span(lasts_s)})"
        print(f"{one['level']:<4}  {one['code']}{since}: {render.clean(one['text'])}")
        print(f"      do: {render.clean(one['do'])}")
        print(f"      {_told(one)}")
    if not found["watching"]:
        note("nobody watches this side now, so nothing is told: `titian up`")


def _told(alarm: dict[str, Any]) -> str:
    """Who was told, in words."""
    from workers import render

    said = []
    for name, at_ms in alarm["told"].items():
        vain = f" ({alarm['failed'][name]} times in vain)" if alarm["failed"][name] else ""
        said.append(f"{name} {'not yet' if at_ms is None else render.when(at_ms)}{vain}")
    return f"told: {', '.join(said)}"


def _test(folder: Folder, as_json: bool) -> None:
    from pipeline.adapters.clock import SystemClock
    from pipeline.errors import UsageError
    from pipeline.inspection.alarms_told import Tell
    from workers import render
    from workers.telling import payload, senders

    settings, now_ms = folder.settings, SystemClock().now_ms()
    outside = senders(settings.alarms)
    if not outside:
        raise UsageError("nothing to test: set alarms.webhook or alarms.command in titian.toml")
    results = {}
    for name, send in outside.items():
        tell = Tell(name, "test", "test", "a test, nothing is wrong", "nothing", "warn", now_ms, None)
        results[name] = send(payload(tell, settings.side, settings.region, now_ms))
    if as_json:
        render.print_json({"version": 1, "results": results})
    else:
        for name, why in results.items():
            print(f"{name}: {render.clean(why) or 'took it'}")
    if any(results.values()):
        no()


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(alarms)
