"""Steering a region's lanes: `pause`, `resume`, `cap`, with reason and who. A running side follows."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, complete_lane, folder_of, no

if TYPE_CHECKING:
    from pipeline.throttle.steering import Cap, Steering
    from schemas.lanes import Lane

WhichLane = Annotated[
    str | None,
    typer.Argument(
        metavar="[LANE]", autocompletion=complete_lane, show_default=False, help="One lane; else every lane."
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is shown to whoever asks.")]
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
    from pipeline.throttle.steering import Pause, Steering

    folder = folder_of(data, "region").path
    chosen, now = _lane(lane), _read(folder)
    kept = tuple(one for one in now.pauses if one.lane != chosen)
    added = Pause(chosen, reason, who or getpass.getuser(), int(time.time() * 1000))
    _write(folder, Steering((*kept, added), now.caps), as_json)


def resume(lane: WhichLane = None, data: Data = None, as_json: Json = False) -> None:
    """End a pause: of one lane, or (without LANE) every one. Exit code 1 if nothing was paused.

    \b
    Examples:
      titian resume biometric --data region
    """
    from pipeline.throttle.steering import Steering

    folder = folder_of(data, "region").path
    chosen, now = _lane(lane), _read(folder)
    kept = tuple(one for one in now.pauses if chosen is not None and one.lane != chosen)
    if len(kept) == len(now.pauses):
        if chosen is not None and any(one.lane is None for one in now.pauses):
            no("every lane is paused together: `titian resume` without a lane ends that")
        no("nothing was paused" if chosen is None else f"lane {chosen.label} was not paused")
    _write(folder, Steering(kept, now.caps), as_json)


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
    from pipeline.throttle.steering import Cap, Steering

    folder = folder_of(data, "region").path
    chosen, now = _lane(lane), _read(folder)
    start, stop = _hours(hours)
    if rate == "off":
        kept = tuple(one for one in now.caps if one.lane != chosen)
        if len(kept) == len(now.caps):
            no(_no_such_cap(chosen, now.caps))
    else:
        others = (one for one in now.caps if (one.lane, one.start, one.stop) != (chosen, start, stop))
        kept = (*others, Cap(chosen, _bytes_s(rate), start, stop, reason, who or getpass.getuser()))
    _write(folder, Steering(now.pauses, kept), as_json)


def _no_such_cap(chosen: Lane | None, caps: tuple[Cap, ...]) -> str:
    """Which caps there are instead, and what ends each."""
    from pipeline.throttle.steering import clock_text

    what = "each lane together" if chosen is None else f"lane {chosen.label} alone"
    there = []
    for one in caps:
        lane, ends = (
            ("each lane", "") if one.lane is None else (f"lane {one.lane.label}", f" {one.lane.label}")
        )
        rate = f"{one.bytes_s * 8:,.0f} bit/s" if one.bytes_s else "closed"
        hours = "" if one.start == one.stop else f" {clock_text(one.start)}-{clock_text(one.stop)}"
        there.append(f"{lane} {rate}{hours} (`titian cap off{ends}` ends it)")
    return f"there is no cap of {what}" + (f"; there is: {', '.join(there)}" if there else ", nor any other")


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


def _read(folder: Path) -> Steering:
    from pipeline.adapters.steering_file import read_steering

    return read_steering(folder)


def _write(folder: Path, steering: Steering, as_json: bool) -> None:
    from pipeline.adapters.steering_file import minute_of_day, write_steering
    from schemas.lanes import Lane
    from workers import render

    write_steering(folder, steering)
    minute = minute_of_day(int(time.time() * 1000))
    found: dict[str, Any] = {
        "version": 1,
        "lanes": {lane.label: steering.why(lane, minute) for lane in Lane},
    }
    if as_json:
        render.print_json(found)
        return
    for label, why in found["lanes"].items():
        print(f"{label}: {why or 'goes freely'}")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (pause, resume, cap):
        app.command()(command)
