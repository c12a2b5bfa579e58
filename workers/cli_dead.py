"""Commands over what was refused or kept aside: `dead list`, `show`, `retry` and `drop`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, Lanes, Region, folder_of, no, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from workers.acts import Done, Every

_Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many.")]

_Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Packets by their ids; at the center frames by their numbers."),
]
_All = Annotated[bool, typer.Option("--all", help="Every one (with --lane: of that lane).")]
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is written down.")]
_Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who asks; else your login name.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

dead = typer.Typer(
    name="dead", no_args_is_help=True, rich_markup_mode=None, help="What was refused or kept aside, and why."
)


@dead.command("list")
def dead_list(
    data: Data = None, as_json: Json = False, limit: _Limit = 100, lane: Lanes = None, region: Region = None
) -> None:
    """Packets that the center refused, and those that are damaged here; at the center also frames kept aside.

    \b
    Examples:
      titian dead list --data region
      titian dead list --data region --lane biometric --json
    """
    from pipeline.inspection.dead import center_dead, region_dead
    from schemas.lanes import parse_lane
    from workers import render
    from workers.looking import CenterLook, look

    side = "center" if region is not None else "region" if lane is not None else None
    wanted = None if lane is None else parse_lane(lane)
    store = look(folder_of(data, side), region)
    if isinstance(store, CenterLook):
        found = center_dead(store.ledger, region, limit)
    else:
        found = region_dead(store.outbox, wanted, limit)
    if as_json:
        render.print_json(found)
    elif isinstance(store, CenterLook):
        _aside_table(found)
    else:
        _dead_table(found)


def _dead_table(found: dict[str, Any]) -> None:
    from workers import render

    if not found["count"] and not found["aside_count"]:
        note("nothing is dead")
        return
    refused = [(one, one["reasons"][0]["en"] if one["reasons"] else "-") for one in found["dead"]]
    damaged = [(one, f"cannot be sent: {one['why']}") for one in found["aside"]]
    rows = [
        [one["id"], one["lane"], one["kind"], render.size(one["size"]), render.clean(why)]
        for one, why in (*refused, *damaged)
    ]
    render.table(["id", "lane", "kind", "size", "why"], rows, right=[3])
    note("titian dead show ID says what to do")


def _aside_table(found: dict[str, Any]) -> None:
    from workers import render

    if not found["refused"]:
        note("no packet is refused")
    else:
        refused = [
            [
                one["id"],
                one["lane"],
                render.when(one["refused_ms"]),
                render.clean(one["reasons"][0]["en"] if one["reasons"] else "-"),
            ]
            for one in found["dead"]
        ]
        render.table(["id", "lane", "refused", "why"], refused)
        note("titian dead show ID says what to do; its region does it")
    if not found["count"]:
        note("no frame is kept aside")
        return
    if found["refused"]:
        print()
    rows = [
        [
            str(one["frame"]),
            one["region"],
            one["stream"],
            render.when(one["at_ms"]),
            render.size(one["bytes"]),
            one["code"],
            render.clean(one["sentence"]),
        ]
        for one in found["quarantine"]
    ]
    render.table(["frame", "region", "stream", "at", "size", "code", "why"], rows, right=[0, 4])


@dead.command("show")
def dead_show(
    which: Annotated[
        str, typer.Argument(metavar="ID", help="A packet's id; at the center also a frame's number.")
    ],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """One of them: why, in both languages, and what to do.

    \b
    Examples:
      titian dead show 1806-k3v9qa-000123 --data region
      titian dead show 17 --data center
    """
    from pipeline.inspection.dead import center_dead_one, region_dead_one
    from workers import render
    from workers.looking import CenterLook, look

    store = look(folder_of(data))
    if isinstance(store, CenterLook):
        found = center_dead_one(store.ledger, which)
    else:
        found = region_dead_one(store.outbox, which)
    if as_json:
        render.print_json(found)
        return
    hidden = ("version", "side", "reasons", "history", "what_to_do", "dropped")
    render.pairs([(key, _shown(key, value)) for key, value in found.items() if key not in hidden])
    if (gone := found.get("dropped")) is not None:
        said = f"{render.when(gone['at_ms'])} by {gone['who']}: {gone['reason']}"
        print(f"dropped    {render.clean(said)}\n           its bytes: {gone['file']}{_damaged(gone)}")
    for reason in found.get("reasons", []):
        print(f"why        {render.clean(reason['en'])}\n           {render.clean(reason['id'])}")
    print(f"what to do {found['what_to_do']}")
    for event in found.get("history", []):
        print(f"  {render.when(event['at_ms'])}  {event['what']}  {render.clean(event['detail'])}")


def _shown(key: str, value: Any) -> str:
    from workers import render

    if key.endswith("_ms"):
        return render.when(value)
    return render.size(value) if key in ("size", "bytes") else render.clean(str(value))


def _damaged(gone: dict[str, Any]) -> str:
    return "" if gone["whole"] else " (damaged: what was there)"


@dead.command("retry")
def dead_retry(
    which: _Ids = None,
    every: _All = False,
    lane: Lanes = None,
    reason: _Reason = "",
    who: _Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Try again: at a region refused packets wait to be sent once more; at the center frames that were kept
    aside are read once more. Do it when what was wrong is mended. Exit code 1 where something was not done.

    \b
    Examples:
      titian dead retry 1806-k3v9qa-000123 --reason "center updated" --data region
      titian dead retry --all --lane biometric --data region
      titian dead retry 17 --data center
    """
    from workers import acts

    folder, chosen = folder_of(data), _which(which, every, lane)
    done = acts.retry(folder, chosen, acts.Actor.at_the_machine(who), reason)
    center = folder.settings.side == "center"
    _report(done, as_json, "taken in" if center else "waiting to be sent again", _what(folder))


@dead.command("drop")
def dead_drop(
    which: _Ids = None,
    every: _All = False,
    lane: Lanes = None,
    reason: _Reason = "",
    yes: _Yes = False,
    who: _Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Give dead letters up, for good: their bytes go into files in DATA/dropped, and they are dead no longer.
    A citizen whose packet is dropped must be recorded again. It asks first.

    \b
    Examples:
      titian dead drop 1806-k3v9qa-000123 --reason "recorded again as 000130" --data region
      titian dead drop 17 18 --reason "noise" --yes --data center
    """
    from pipeline.errors import UsageError
    from workers import acts

    folder, chosen = folder_of(data), _which(which, every, lane)
    if not reason.strip():
        raise UsageError("say why it is given up: --reason TEXT")
    if not yes:
        _ask(folder, chosen)
    done = acts.drop(folder, chosen, acts.Actor.at_the_machine(who), reason)
    _report(done, as_json, f"dropped; what they held is in {folder.path / 'dropped'}", _what(folder))


def _which(which: list[str] | None, every: bool, lane: str | None) -> list[str] | Every:
    from pipeline.errors import UsageError
    from schemas.lanes import parse_lane
    from workers.acts import Every

    if which and (every or lane is not None):
        raise UsageError("name them, or --all (or a --lane), not both")
    if not which and not every and lane is None:
        raise UsageError("which? Name them (`titian dead list` shows them), or --all, or all of a --lane")
    return which or Every(None if lane is None else parse_lane(lane))


def _ask(folder: Folder, chosen: list[str] | Every) -> None:
    """Ask whoever sits at the terminal; raises `UsageError` where nobody does."""
    from pipeline.errors import UsageError
    from workers import render

    if not render.on_terminal(sys.stdin):
        raise UsageError("a drop is for good, and nobody is there to be asked: --yes does it without asking")
    named = chosen if isinstance(chosen, list) else []
    count = len(named) or _how_many(folder, chosen)
    for one in named[:10]:
        note(f"  {render.clean(one)}")
    if len(named) > 10:
        note(f"  and {len(named) - 10:,} more")
    if not count:
        no("nothing is dead")
    again = "" if folder.settings.side == "center" else " Their citizens must be recorded again."
    what = f"This dead {_what(folder)}" if count == 1 else f"These {count:,} dead {_what(folder)}s"
    note(f"{what} will be given up for good.{again}")
    if not typer.confirm("Drop?", err=True):
        no("nothing was dropped")


def _how_many(folder: Folder, chosen: list[str] | Every) -> int:
    """How many are dead, of the lane that is meant."""
    from pipeline.inspection.dead import center_dead, region_dead
    from workers.looking import CenterLook, look

    store = look(folder)
    if isinstance(store, CenterLook):
        return int(center_dead(store.ledger, None, 0)["count"])
    found = region_dead(store.outbox, None if isinstance(chosen, list) else chosen.lane, 0)
    return int(found["count"] + found["aside_count"])


def _what(folder: Folder) -> str:
    return "frame" if folder.settings.side == "center" else "packet"


def _report(done: Done, as_json: bool, became: str, what: str) -> None:
    from workers import render

    if as_json:
        failed = [{"id": one, "why": why} for one, why in done.failed]
        render.print_json({"version": 1, "done": done.count, "failed": failed})
    elif done.count or not done.failed:
        amount = f"1 {what}" if done.count == 1 else f"{done.count:,} {what}s"
        print(f"{amount} {became}" if done.count else "nothing is dead")
    if not as_json:
        for one, why in done.failed:
            note(render.clean(f"titian: {one}: {why}"))
    if done.failed or not done.count:
        no()
