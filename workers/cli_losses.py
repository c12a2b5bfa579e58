"""The command over what is lost: `losses`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, Region, Timeout, folder_of, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.adapters.registry_asks import Asked

#: How long nothing of the center's answer may come before a region gives up, and how often it looks, seconds.
PATIENCE_S = 30.0
_POLL_S = 0.05
_Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE|-", help="A table for the office, as CSV.", show_default=False),
]
_Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=0, help="Show at most so many in the table.")
]
_Offline = Annotated[
    bool, typer.Option("--offline", help="At a region: what the center said last, without asking.")
]


def losses(
    data: Data = None,
    as_json: Json = False,
    csv: _Csv = None,
    region: Region = None,
    limit: _Limit = 200,
    offline: _Offline = False,
    timeout: Timeout = None,
) -> None:
    """Which packets were recorded and never came, since a disk died: whom to ask again.

    It holds what the center had heard of: what was recorded in the second before the disk died, or while
    there was no link, is in no list.

    \b
    Examples:
      titian losses --data region
      titian losses --data region --csv losses.csv      (opens in a spreadsheet)
      titian losses --data center --region 1806 --json
    """
    from pipeline.errors import UsageError
    from workers import render
    from workers.cli_losses_csv import write_csv

    if as_json and csv is not None:
        raise UsageError("--json and --csv do not go together: run it twice")
    folder = folder_of(data, "center" if region is not None else None)
    if folder.settings.side == "center" and (offline or timeout is not None):
        raise UsageError("--offline and --timeout are for a region: the center has its own ledger")
    found = _center(folder, region) if folder.settings.side == "center" else _region(folder, offline, timeout)
    if as_json:
        render.print_json(found)
    elif csv is not None:
        rows = write_csv(found["losses"], csv)
        if csv != "-":
            note(f"{rows} lines in {csv}" if rows else f"nothing is lost: {csv} has only its header")
    else:
        _show(found, limit)
    if found["count"]:
        _warn_while_a_mirror_is_sent(folder)


def _warn_while_a_mirror_is_sent(folder: Folder) -> None:
    """What still comes from an old mirror is not lost."""
    from pipeline.inspection.mirror import recovery_json

    mirror = recovery_json(folder) if folder.settings.side == "region" else None
    if mirror is not None and mirror["finished_ms"] is None:
        where = mirror["path"]
        note(f"the old mirror {where} is still being sent (`titian doctor`): look again after that")


def _center(folder: Folder, region: str | None) -> dict[str, Any]:
    from pipeline.adapters.ledger_losses import LedgerLosses
    from pipeline.inspection.losses import center_losses
    from workers.looking import CenterLook, look

    store = look(folder, region)
    assert isinstance(store, CenterLook)
    return center_losses(LedgerLosses.of(store.ledger), region)


# --- a region asks ----------------------------------------------------------------------------------


def _region(folder: Folder, offline: bool, timeout: float | None) -> dict[str, Any]:
    from pipeline.adapters.clock import SystemClock
    from pipeline.errors import NotFound
    from pipeline.inspection.losses import of_registry, region_losses
    from schemas.losses import unpack_losses

    answer, live = _answer(folder, offline, timeout)
    if not answer.payloads:
        raise NotFound("the center does not know loss lists: it has to be updated first")
    said = unpack_losses(answer.payloads)
    citizens = of_registry(folder.path, (loss.nik for loss in said.losses))
    as_of_ms = answer.answered_ms or answer.asked_ms
    return region_losses(folder.settings.region, said, citizens, as_of_ms, SystemClock().now_ms(), live)


def _answer(folder: Folder, offline: bool, timeout_s: float | None) -> tuple[Asked, bool]:
    """The center's answer, and whether it was given just now. Raises `Unreachable` where there is none."""
    from pipeline.errors import Unreachable
    from workers.looking import is_running, link_of

    if offline:
        return _last(folder, "nothing was asked"), False
    if not is_running(folder):
        raise Unreachable(
            "this region does not run, so nobody can ask the center: start `titian up`, or "
            "`titian losses --offline` for what it said last"
        )
    down = link_of(folder).state == "down"
    answer = _ask(folder, 0.0 if down else timeout_s)
    if answer is not None:
        return answer, True
    why = "the link is down" if down else "the center has not answered in time"
    return _last(folder, f"{why} (it is asked as soon as it can be)"), False


def _ask(folder: Folder, timeout_s: float | None) -> Asked | None:
    """Ask, and wait for the whole answer until time is up (`None`: until nothing has come for a while). The
    question stands for a day, whoever waits for it."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.adapters.registry_sqlite import SqliteRegistry
    from schemas.asks import LOSSES
    from workers import render

    registry, pause, at = SqliteRegistry(folder.path), threading.Event(), -1
    try:
        number = registry.ask(LOSSES, b"", SystemClock().now_ms())
        began_s = moved_s = time.monotonic()
        with render.bar("asking the center", None) as step:
            while (answer := registry.asked(number)) is not None and answer.answered_ms is None:
                now_s = time.monotonic()
                at, moved_s = (answer.at, now_s) if answer.at != at else (at, moved_s)
                over_s = now_s - (moved_s if timeout_s is None else began_s)
                if over_s >= (PATIENCE_S if timeout_s is None else timeout_s):
                    return None
                step(now_s - began_s, f"{len(answer.payloads)} parts are here")
                pause.wait(_POLL_S)
        return answer
    finally:
        registry.close()


def _last(folder: Folder, why: str) -> Asked:
    """What the center said last; says that, and why, on stderr."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.errors import Unreachable
    from pipeline.inspection.losses import last_answer
    from workers import render

    answer = last_answer(folder.path)
    if answer is None or answer.answered_ms is None:
        raise Unreachable(
            f"{why}, and the center has said nothing of losses yet: run it again when it is there"
        )
    age_s = max(0.0, (SystemClock().now_ms() - answer.answered_ms) / 1000)
    note(f"{why}: this is what the center said {render.span(age_s)} ago")
    return answer


# --- for people -------------------------------------------------------------------------------------


def _show(found: dict[str, Any], limit: int) -> None:
    from pipeline.inspection.losses import is_range, range_text
    from workers import render

    if not found["count"]:
        print("nothing is lost: all that was recorded before the last new start is at the center")
        return
    listed = found["losses"][:limit]
    known = [_row(one) for one in listed if not is_range(one)]
    if known:
        render.table(["packet", "why", "recorded", "size", "NIK", "nama"], known, right=[3])
    for one in listed:
        if is_range(one):
            print(f"{one['region']}-{one['epoch']} {range_text(one)}")
    if len(found["losses"]) > limit:
        note(f"{len(found['losses']) - limit:,} lines more: --csv FILE has them all, --limit shows more")
    parts = ", ".join(f"{n:,} {why}" for why, n in found["by_why"].items())
    what = "a packet is" if found["count"] == 1 else f"{found['count']:,} packets are"
    print(f"{what} lost ({parts}): these have to be recorded again")
    if found["by_why"].get("never announced"):
        note("of those that were never announced only the numbers are known: look into the office's papers")


def _row(one: dict[str, Any]) -> list[str]:
    from workers import render

    size = "-" if one["size"] is None else render.size(one["size"])
    if one["held_bytes"]:
        size = f"{render.size(one['held_bytes'])} of {size}"
    niks = " / ".join(who["nik"] for who in one["citizens"]) or (
        f"unknown ({one['nik_hash']})" if one["nik_hash"] else "unknown"
    )
    nama = " / ".join(render.clean(who["nama"]) for who in one["citizens"] if who["nama"])
    return [one["id"], one["why"], one["recorded"] or "-", size, niks, nama or "-"]


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(losses)
