"""The command over what came out: `records`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, Region, Timeout, folder_of, no, note, said
from workers.cli_dead import dead

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.errors import StoreDamaged
    from pipeline.inspection.records import OneRecord
    from workers.looking import CenterLook, RegionLook

_Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many.")]
_Count = Annotated[bool, typer.Option("--count", help="Only how many there are.")]
_Nik = Annotated[
    str | None,
    typer.Option("--nik", metavar="NIK", help="One citizen's; - reads it from stdin.", show_default=False),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="With --nik: write record.json and the attachments there.",
        show_default=False,
    ),
]
_Fetch = Annotated[
    bool,
    typer.Option(
        "--fetch",
        help="With --nik, at a region: ask the center for it now, ahead of all else; with --out also for "
        "attachments that are not here.",
    ),
]


def records(
    data: Data = None,
    as_json: Json = False,
    count: _Count = False,
    limit: _Limit = 100,
    region: Region = None,
    nik: _Nik = None,
    out: _Out = None,
    fetch: _Fetch = False,
    timeout: Timeout = None,
) -> None:
    """What the registry (at a region) or the ledger (at the center) holds to be true.

    \b
    Examples:
      titian records --data region --count
      titian records --data region --limit 10 --json
      titian records --data center --nik - --out citizen < nik.txt
      titian records --data region --nik 1806011708920001 --fetch --timeout 30
    """
    from workers.looking import look

    if wrong := _wrong(nik is not None, count, out is not None, fetch, timeout is not None):
        from pipeline.errors import UsageError

        raise UsageError(wrong)
    folder = folder_of(data, "region" if fetch else "center" if region is not None else None)
    store = look(folder, region)
    if nik is None:
        _list(store, folder, region, count, limit, as_json)
        return
    nik = _checked(said(nik, "NIK"))
    if fetch:
        _fetch(store, nik, out, timeout)
    _one(store, nik, region, out, as_json)


def _wrong(one: bool, count: bool, out: bool, fetch: bool, timeout: bool) -> str:
    """What is wrong with a call with these options, in words; `one`: with a NIK."""
    if not one and (out or fetch):
        return f"{'--out writes' if out else '--fetch asks for'} one citizen's record: say whose with --nik"
    if count and one:
        return "--count and --nik do not go together"
    return "--timeout goes with --fetch" if timeout and not fetch else ""


def _list(
    store: RegionLook | CenterLook,
    folder: Folder,
    region: str | None,
    count: bool,
    limit: int,
    as_json: bool,
) -> None:
    from workers import render

    total = _count(store, region)
    if count and not as_json:
        print(total)
        return
    damaged: list[str] = []
    found = [] if count else list(_some(store, folder, region, limit, lambda why: damaged.append(str(why))))
    if as_json:
        document: dict[str, Any] = {"version": 1, "side": folder.settings.side, "count": total}
        render.print_json(document if count else document | {"records": [one.to_json() for one in found]})
    else:
        _table(found, total)
    for why in damaged:
        note(f"titian: {render.clean(why)}")
    if damaged:
        no()


def _fetch(store: RegionLook | CenterLook, nik: str, out: Path | None, timeout_s: float | None) -> None:
    from workers.fetching import fetch_record
    from workers.looking import RegionLook

    assert isinstance(store, RegionLook)
    if not fetch_record(store, nik, whole=out is not None, timeout_s=timeout_s):
        no("the center has no record of that NIK from this region")


def _count(store: RegionLook | CenterLook, region: str | None) -> int:
    from workers.looking import CenterLook

    return store.ledger.record_count(region) if isinstance(store, CenterLook) else store.registry.count()


def _some(
    store: RegionLook | CenterLook,
    folder: Folder,
    region: str | None,
    limit: int,
    damaged: Callable[[StoreDamaged], object],
) -> Iterable[OneRecord]:
    from pipeline.inspection.records import center_records, region_records
    from workers.looking import CenterLook

    if isinstance(store, CenterLook):
        return center_records(store.ledger, region=region, limit=limit)
    return region_records(store.registry, folder.settings.region, limit, damaged)


def _table(found: list[OneRecord], total: int) -> None:
    from workers import render

    if not total:
        note("there are no records yet")
        return
    rows = [
        [
            one.nik,
            render.clean(str(one.packet.payload.get("nama", ""))),
            one.status.name,
            str(one.version),
            str(one.source),
            str(len(one.packet.attachments)),
        ]
        for one in found
    ]
    render.table(["nik", "nama", "status", "version", "from", "attachments"], rows, right=[3, 5])
    if len(found) < total:
        note(f"{len(found):,} of {total:,}; --limit N shows more")


def _one(
    store: RegionLook | CenterLook, nik: str, region: str | None, out: Path | None, as_json: bool
) -> None:
    from workers import render
    from workers.looking import CenterLook
    from workers.record_files import write_records

    found = _of_citizen(store, nik, region)
    if not found:
        no("there is no record of that NIK here")
    written = write_records(found, out) if out is not None else {}
    if as_json:
        shown = [one.to_json() | ({"files": written[one.region].files} if written else {}) for one in found]
        side = "center" if isinstance(store, CenterLook) else "region"
        render.print_json({"version": 1, "side": side, "count": len(found), "records": shown})
    elif out is None:
        for one in found:
            _show_one(one)
    else:
        print(f"{sum(len(one.files) for one in written.values())} files in {out}")
    for one in found:
        if out is not None and one.missing:
            names, fetch = render.clean(", ".join(one.missing)), "the same command with --fetch brings them"
            note(f"without {names}: {one.absent}; {fetch}, the center has them")
    differ = [name for one in written.values() for name in one.differ]
    if differ:
        no(f"written as they are stored, but not what the record says they are: {', '.join(differ)}")


def _show_one(one: OneRecord) -> None:
    from workers import render

    rows = [("source", str(one.source)), ("status", one.status.name), ("version", str(one.version))]
    rows += [(render.clean(name), render.clean(str(value))) for name, value in one.packet.payload.items()]
    rows += [(a.name, f"{a.media_type}, {render.size(a.size)}") for a in one.packet.attachments]
    render.pairs(rows)


def _of_citizen(store: RegionLook | CenterLook, nik: str, region: str | None) -> list[OneRecord]:
    from pipeline.inspection.records import center_records, region_record
    from workers.looking import CenterLook

    if isinstance(store, CenterLook):
        return center_records(store.ledger, nik=nik, region=region)
    folder = store.folder
    one = region_record(store.registry, store.outbox, folder.path, folder.settings.region, nik)
    return [] if one is None else [one]


def _checked(nik: str) -> str:
    """The NIK; raises `UsageError` where it is none."""
    from pipeline.errors import UsageError
    from schemas.errors import SchemaError
    from schemas.nik import parse_nik

    try:
        parse_nik(nik)
    except SchemaError as why:
        raise UsageError(f"that is no NIK: {why}") from None
    return nik


def register(app: typer.Typer) -> None:
    """Add these commands, and those of `dead`."""
    app.command()(records)
    app.add_typer(dead)
