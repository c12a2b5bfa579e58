"""Commands that make sides and let regions in: `init center`, `init region`, `admit`, `regions`, `revoke`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli_common import Data, Json, complete_region, folder_of, no, note

_Rebuild = Annotated[
    bool,
    typer.Option(
        "--rebuild",
        help="The old machine is gone: its records come back from the center, what is urgent first.",
    ),
]
_OldMirror = Annotated[
    Path | None,
    typer.Option(
        "--mirror",
        metavar="PATH",
        help="With --rebuild: the old machine's mirror. What the center lacks of it is sent from there.",
    ),
]
_NewData = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The new side's folder: it must not exist, or be empty.")
]
_Code = Annotated[
    str,
    typer.Argument(
        metavar="CODE",
        help="The region's code, such as 1806.",
        autocompletion=complete_region,
        show_default=False,
    ),
]
_Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="What regions dial, where it is not what the center listens on.",
    ),
]
init = typer.Typer(
    name="init", no_args_is_help=True, rich_markup_mode=None, help="Make a side: a center or a region."
)

#: What to do, and what happens, when a region takes the place of a machine that is gone.
_REBUILD_NEXT = """\
next: titian up --data {data}
The records then come back from the center by themselves: first the cases whose card is not printed, and with
these the office is open for service; then all others, newest first; then photos and signatures.
      titian depth --data {data} --watch              (how far it is, and when it will be done)
      titian records --data {data} --nik N --fetch    (one citizen's record at once, ahead of the others)
      titian losses --data {data}                     (what the old machine had and never sent)
New packets may be recorded from now on. All of this goes on by itself after a power cut or a line that fails.
The join file has done its work here: delete it, it holds a password."""


@init.command("center")
def init_center(
    data: _NewData,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where regions arrive.")
    ] = "127.0.0.1:6380",
    address: _Address = "",
) -> None:
    """Make a center: its folder, keys, settings and an empty ledger.

    \b
    Examples:
      titian init center --data /var/lib/titian --listen 0.0.0.0:6380 --address center.example:6380
      titian init center --data center        (for a try on one machine)
    """
    from workers.making import make_center

    folder = make_center(data, listen, address)
    print(f"made a center in {folder.path}; regions arrive at {folder.settings.link.listen}")
    note(
        f"next: titian admit CODE --data {data} --out CODE.join   (a join file for each region)\n"
        f"      titian up --data {data}"
    )


@init.command("region")
def init_region(
    join: Annotated[
        Path,
        typer.Option("--join", metavar="FILE", help="The join file that the center made for this region."),
    ],
    data: _NewData,
    rebuild: _Rebuild = False,
    mirror: _OldMirror = None,
) -> None:
    """Make a region: its folder, keys, settings, outbox and registry. The key goes to the center by itself.

    \b
    Examples:
      titian init region --join 1806.join --data /var/lib/titian
      titian init region --join 1806-new.join --data /var/lib/titian --rebuild
    """
    from workers.making import make_region

    folder = make_region(data, join, rebuild=rebuild, mirror=mirror)
    to = folder.join_file()
    if rebuild:
        print(f"made region {to.region} anew in {folder.path}; its center is at {to.host}:{to.port}")
        note(_REBUILD_NEXT.format(data=data))
        return
    print(f"made region {to.region} in {folder.path}; its center is at {to.host}:{to.port}")
    note(
        f"next: titian up --data {data}\n"
        f"      titian enqueue --data {data} PACKETS.ndjson\n"
        "The join file has done its work here: delete it, it holds a password."
    )


def admit(
    code: _Code,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the join file goes: a new file.")],
    data: Data = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="For a new machine, or a lost join file: the old machine is locked out."
        ),
    ] = False,
    address: _Address = "",
) -> None:
    """At the center: let a region in. FILE is its join file: carry it there safely, it holds a password.

    It works at once, whether the center is running or not.

    \b
    Examples:
      titian admit 1806 --data /var/lib/titian --out 1806.join
      titian admit 1806 --out 1806-new.join --again
    """
    from workers.making import admit_region

    folder = folder_of(data, "center")
    done = admit_region(folder, code, out, again=again, address=address)
    print(f"region {done.region} is admitted{' again' if done.again else ''}; its join file is {out}")
    if done.only_here:
        note(
            f"it dials {done.address}: that is this machine only. For others give --address HOST:PORT "
            "(and listen there: link.listen in titian.toml)"
        )
    if done.revoked:
        note(
            "it was revoked, and the key in its old folder is over for good: let it begin in a new folder. "
            "Packets that were not sent stay in the old one (`titian depth` there says how many)"
        )
    elif done.again:
        note("the old machine can no longer sign in; its key retires when the new one joins")
    folder_name = "NEWFOLDER" if done.revoked else "DIR"
    note(f"next, at the region: titian init region --join {out} --data {folder_name}")


def regions(data: Data = None, as_json: Json = False) -> None:
    """At the center: every region, whichever needs a look first: its link, lag, version, trouble.

    \b
    Examples:
      titian regions --data /var/lib/titian
    """
    from workers import render
    from workers.cli_regions_text import regions_text
    from workers.looking import look

    depth = look(folder_of(data, "center")).depth()
    if as_json:
        render.print_json({"version": 1, **{name: depth[name] for name in ("side", "at_ms", "regions")}})
    elif not depth["regions"]:
        note("no region is admitted yet: titian admit CODE --out FILE")
    else:
        print(regions_text(depth["regions"]))


def revoke(code: _Code, data: Data = None) -> None:
    """At the center: shut a region out. Its password ends now, and its keys do not verify any more.

    What it has delivered stays. Its keys are over for good: `titian admit CODE --again` lets it in anew, in
    a new folder. Packets that it has not sent stay in its old one.

    \b
    Examples:
      titian revoke 1806 --data /var/lib/titian
    """
    from workers.making import revoke_region

    if not revoke_region(folder_of(data, "center"), code):
        no(f"region {code} was never admitted: `titian regions` lists those that were")
    print(f"region {code} is shut out")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(init)
    app.command()(admit)
    app.command()(regions)
    app.command()(revoke)
