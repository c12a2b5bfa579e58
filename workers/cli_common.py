"""The command line's shared parts: options that mean the same everywhere, the folder, completion."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The side's folder. Else TITIAN_DATA, a titian.toml here or above, /var/lib/titian.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="S", min=0.0, help="Give up after so many seconds.")
]


def complete_lane(incomplete: str) -> Iterable[str]:
    """Names of lanes that begin so."""
    from schemas.lanes import Lane

    return [lane.label for lane in Lane if lane.label.startswith(incomplete)]


def complete_region(incomplete: str) -> Iterable[str]:
    """Codes of the regions that the center in reach has admitted; a region's folder knows its own."""
    from pipeline.adapters.folder import find_folder
    from pipeline.errors import TitianError
    from workers.looking import ledger_place

    try:
        folder = find_folder(None)
        if folder.settings.side == "region":
            known = [folder.settings.region]
        else:
            from pipeline.adapters.ledger_reader import LedgerReader

            reader = LedgerReader.open(ledger_place(folder))
            known = [row.code for row in reader.regions()]
            reader.close()
    except (TitianError, OSError):
        known = []
    return [code for code in known if code.startswith(incomplete)]


Lanes = Annotated[
    str | None,
    typer.Option("--lane", metavar="LANE", autocompletion=complete_lane, help="Only this lane."),
]
Region = Annotated[
    str | None,
    typer.Option("--region", metavar="CODE", autocompletion=complete_region, help="Only this region."),
]


def folder_of(data: Path | None, side: str | None = None) -> Folder:
    """The side's folder; says on stderr where it was found if nobody named it.

    Raises `UsageError` where there is none, `WrongSide` where it is the other side's.
    """
    from pipeline.adapters.folder import find_folder

    found = find_folder(data)
    if found.how not in ("--data", "TITIAN_DATA"):
        note(f"using {found.path} (the {found.settings.side}; found by {found.how})")
    return found if side is None else found.need(side)


def note(text: str) -> None:
    """Something that is good to know, on stderr."""
    print(text, file=sys.stderr)


def no(text: str = "") -> NoReturn:
    """The answer is "no": exit code 1."""
    if text:
        note(f"titian: {text}")
    raise typer.Exit(1)


def said(value: str, what: str) -> str:
    """`value`, or for `-` the first line of stdin, so that it stays out of the shell's history."""
    from pipeline.errors import UsageError

    if value == "-" and sys.stdin.isatty():
        note(f"{what}, then Enter:")
    text = sys.stdin.readline().strip() if value == "-" else value.strip()
    if not text:
        raise UsageError(f"no {what} was given: as an argument, or on stdin with -")
    return text
