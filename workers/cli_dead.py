"""Commands over what was refused or kept aside: `dead list` and `dead show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli_common import Data, Json, Lanes, Region, folder_of, note

_Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many.")]

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
    hidden = ("version", "side", "reasons", "history", "what_to_do")
    render.pairs([(key, render.clean(str(value))) for key, value in found.items() if key not in hidden])
    for reason in found.get("reasons", []):
        print(f"why        {render.clean(reason['en'])}\n           {render.clean(reason['id'])}")
    print(f"what to do {found['what_to_do']}")
    for event in found.get("history", []):
        print(f"  {render.when(event['at_ms'])}  {event['what']}  {render.clean(event['detail'])}")
