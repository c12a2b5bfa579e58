"""Steering a region's lanes: `pause`, `resume`, `cap`, with reason and who. A running side follows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, complete_lane, folder_of

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from schemas.lanes import Lane

WhichLane = Annotated[
    str | None,
    typer.Argument(
        metavar="[LANE]", autocompletion=complete_lane, show_default=False, help="One lane; else every lane."
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; it is shown to whoever asks, and written down.")
]
Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who asks; else your login name.")]


def pause(
    lane: WhichLane = None, reason: Reason = "", who: Who = None, data: Data = None, as_json: Json = False
) -> None:
    """Let a lane, or all, stand still until `resume`. What waits is kept; the center is still heard.

    \b
    Examples:
      titian pause biometric --reason "office hours" --data region
      titian pause --data region
    """
    from workers import acts

    folder = folder_of(data, "region")
    acts.pause(folder, _lane(lane), acts.Actor.at_the_machine(who), reason)
    _show(folder, as_json)


def resume(
    lane: WhichLane = None, reason: Reason = "", who: Who = None, data: Data = None, as_json: Json = False
) -> None:
    """End a pause: of one lane, or (without LANE) every one. Exit code 1 if nothing was paused.

    \b
    Examples:
      titian resume biometric --data region
    """
    from workers import acts

    folder = folder_of(data, "region")
    acts.resume(folder, _lane(lane), acts.Actor.at_the_machine(who), reason)
    _show(folder, as_json)


def cap(
    rate: Annotated[
        str,
        typer.Argument(
            metavar="RATE", help="Bits a second such as 64k or 2M; `closed`: nothing; `off`: the cap goes."
        ),
    ],
    lane: WhichLane = None,
    hours: Annotated[
        str,
        typer.Option("--hours", metavar="FROM-TO", help="Only then, by this machine's clock: 07:00-16:00."),
    ] = "",
    reason: Reason = "",
    who: Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Bound how fast a lane, or each lane, may send: always, or at some hours of the day (the timetable).

    \b
    Examples:
      titian cap 64k biometric --hours 07:00-16:00 --data region
      titian cap closed biometric --hours 05:00-22:00 --reason "line is shared" --data region
      titian cap off biometric --data region
    """
    from workers import acts

    folder, (start, stop) = folder_of(data, "region"), _hours(hours)
    bytes_s = None if rate == "off" else _bytes_s(rate)
    acts.set_cap(folder, _lane(lane), bytes_s, start, stop, acts.Actor.at_the_machine(who), reason)
    _show(folder, as_json)


def _bytes_s(rate: str) -> float:
    from pipeline.linksim.profile import parse_rate

    return 0.0 if rate == "closed" else parse_rate(rate) / 8


def _hours(text: str) -> tuple[int, int]:
    from pipeline.errors import UsageError
    from pipeline.throttle.steering import parse_hours

    try:
        return parse_hours(text)
    except ValueError as why:
        raise UsageError(str(why)) from None


def _lane(text: str | None) -> Lane | None:
    from schemas.lanes import parse_lane

    return None if text is None else parse_lane(text)


def _show(folder: Folder, as_json: bool) -> None:
    from pipeline.adapters.steering_file import minute_of_day, read_steering
    from schemas.lanes import Lane
    from workers import render

    steering, minute = read_steering(folder.path), minute_of_day(int(time.time() * 1000))
    found: dict[str, Any] = {
        "version": 1,
        "lanes": {lane.label: steering.why(lane, minute) for lane in Lane},
    }
    if as_json:
        render.print_json(found)
        return
    for label, why in found["lanes"].items():
        print(f"{label}: {render.clean(why) or 'goes freely'}")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (pause, resume, cap):
        app.command()(command)
