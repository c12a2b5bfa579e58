"""At the center, one region at a time: `hold` and `release`, with reason and who."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, complete_region, folder_of

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder

_Code = Annotated[
    str,
    typer.Argument(
        metavar="CODE", help="The region's code.", autocompletion=complete_region, show_default=False
    ),
]
_Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the region is shown it.")]
_Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who asks; else your login name.")]
_SIZES = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SPANS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}


def hold(
    code: _Code,
    reason: _Why,
    window: Annotated[
        str,
        typer.Option(
            "--window",
            metavar="BYTES",
            help="It may send, but so much at a time: 512K, 1M. Else nothing but what is urgent goes.",
        ),
    ] = "",
    lasts: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="It ends by itself: 90s, 30min, 2h, 1d. Else: release."),
    ] = "",
    who: _Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """At the center: let a region wait, or send only a little at a time. Its packets are kept there.

    What is urgent goes nevertheless. The region hears of it within 30 s, and says who holds it and why.

    \b
    Examples:
      titian hold 1806 --reason "the night's backup" --for 2h --data /var/lib/titian
      titian hold 1806 --window 512K --reason "its line is shared today"
    """
    from workers import acts_center
    from workers.acts import Actor

    folder = folder_of(data, "center")
    window_bytes = _bytes(window) if window else None
    seconds = _seconds(lasts) if lasts else None
    acts_center.hold(folder, code, window_bytes, seconds, Actor.at_the_machine(who), reason)
    _show(folder, code, as_json)


def release(
    code: _Code,
    reason: _Why = "",
    who: _Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """At the center: end what `hold` asked of a region. Exit code 1 if nobody holds it.

    \b
    Examples:
      titian release 1806 --data /var/lib/titian
    """
    from workers import acts_center
    from workers.acts import Actor

    folder = folder_of(data, "center")
    acts_center.release(folder, code, Actor.at_the_machine(who), reason)
    _show(folder, code, as_json)


def _bytes(text: str) -> int:
    from pipeline.errors import UsageError

    found = re.fullmatch(r"(\d{1,12})\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} is no size: bytes, or such as 512K or 1M")
    return int(found[1]) * _SIZES[found[2].upper()]


def _seconds(text: str) -> float:
    from pipeline.errors import UsageError

    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|m|min|h|d)", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no time: such as 90s, 30min, 2h or 1d")
    return float(found[1]) * _SPANS[found[2]]


def _show(folder: Folder, code: str, as_json: bool) -> None:
    from pipeline.adapters.clock import SystemClock
    from pipeline.adapters.ledger_reader import LedgerReader
    from pipeline.inspection.regions import held_json
    from workers import render
    from workers.looking import ledger_place

    reader, now_ms = LedgerReader.open(ledger_place(folder)), SystemClock().now_ms()
    held = held_json(reader.holds().get(code), now_ms)
    reader.close()
    if as_json:
        found: dict[str, Any] = {
            "version": 1,
            "side": "center",
            "at_ms": now_ms,
            "region": code,
            "held": held,
        }
        render.print_json(found)
    else:
        print(f"region {code}: {held_text(held)}")


def held_text(held: dict[str, Any] | None) -> str:
    """What holds for a region, for people."""
    from workers import render

    if held is None:
        return "sends as all others may"
    what = "held, but for what is urgent"
    if held["window_bytes"] is not None:
        what = f"sends at most {render.size(held['window_bytes'])} at a time"
    until = "until it is released" if held["until_ms"] is None else f"until {render.when(held['until_ms'])}"
    why = f": {render.clean(held['reason'])}" if held["reason"] else ""
    who = f" ({render.clean(held['who'])})" if held["who"] else ""
    return f"{what}, {until}{why}{who}"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(hold)
    app.command()(release)
