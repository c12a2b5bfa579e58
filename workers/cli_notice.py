"""The public notice from the command line: what citizens read, own notices, plans, equipment, who waits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli_common import Data, Json, note
from workers.cli_notice_parts import chosen, ends, keep, now, show_equipment, told, words_of, written

notice = typer.Typer(
    name="notice", rich_markup_mode=None, help="What citizens read: what is disturbed, and until when."
)

Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who asks; else your login name.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why, for colleagues; citizens do not read it.")
]
_What = Annotated[
    str | None,
    typer.Option(
        "--what", metavar="WHAT", help="recording, sending, printing or office.", show_default=False
    ),
]
_Id = Annotated[str | None, typer.Option("--id", metavar="TEXT", help="In Indonesian.", show_default=False)]
_En = Annotated[str | None, typer.Option("--en", metavar="TEXT", help="In English.", show_default=False)]
_Template = Annotated[
    str | None, typer.Option("--template", metavar="NAME", help="Words of a template.", show_default=False)
]
_From = Annotated[
    str | None,
    typer.Option("--from", metavar="T", help="14:00, 2026-11-25 14:00, +2h.", show_default=False),
]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="T", help="When it ends by itself.", show_default=False)
]


@notice.callback(invoke_without_command=True)
def show(
    ctx: typer.Context,
    lang: Annotated[str, typer.Option("--lang", metavar="id|en", help="In which language.")] = "id",
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the page there, to print it.", show_default=False),
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What citizens read now; without a running side it is made from the stores.

    \b
    Examples:
      titian notice --data region --lang en
      titian notice --data region --html notice.html
      titian notice write --data region --template power-cut --until +2h
    """
    ctx.obj = data
    if ctx.invoked_subcommand is not None:
        return
    from pipeline.errors import UsageError
    from workers import render
    from workers.notice_page.page import public, to_html, to_text
    from workers.noticing import read_document, write_public

    if lang not in ("id", "en"):
        raise UsageError(f"the notice is in id and en, not in {lang!r}")
    found = public(read_document(chosen(ctx, data), now()))
    if html is not None:
        try:
            write_public(html, to_html(found))
        except OSError as why:
            raise UsageError(f"{html} cannot be written: {why.strerror}") from None
        note(f"the page is in {html}")
    if as_json:
        render.print_json(found)
    elif html is None:
        text = to_text(found, "id" if lang == "id" else "en")
        print("\n".join(render.clean(line) for line in text.split("\n")))


@notice.command("write")
def write(
    ctx: typer.Context,
    what: _What = None,
    text_id: _Id = None,
    text_en: _En = None,
    template: _Template = None,
    from_: _From = None,
    until: _Until = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="NAME", help="Keep the words as a template.", show_default=False),
    ] = None,
    reason: Reason = "",
    who: Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Tell citizens something in your own words, from now (or --from) until --until, or until it is ended.

    \b
    Examples:
      titian notice write --data region --template blank-cards --until "2026-11-27"
      titian notice write --data region --what printing --id "Cetak tutup." --en "No printing."
    """
    folder, now_ms = chosen(ctx, data), now()
    words = words_of(folder, what, text_id, text_en, template)
    keep(folder, save, words, who, reason)
    own = written(folder, words, from_, until, None, who, reason, now_ms)
    told(own, as_json)


@notice.command("plan")
def plan(
    ctx: typer.Context,
    from_: Annotated[str, typer.Option("--from", metavar="T", help="When it begins: 2026-11-25 14:00.")],
    what: _What = None,
    text_id: _Id = None,
    text_en: _En = None,
    template: _Template = None,
    until: _Until = None,
    days: Annotated[
        float, typer.Option("--days", metavar="N", min=0, help="Shown from so many days before it begins.")
    ] = 7,
    reason: Reason = "",
    who: Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Tell citizens of something that is to come: maintenance, a holiday. It begins and ends by itself.

    \b
    Example:
      titian notice plan --data region --template maintenance --from "2026-11-25 14:00" --until +2h
    """
    folder, now_ms = chosen(ctx, data), now()
    words = words_of(folder, what, text_id, text_en, template)
    told(written(folder, words, from_, until, days, who, reason, now_ms), as_json)


@notice.command("end")
def end(
    ctx: typer.Context,
    n: Annotated[int, typer.Argument(metavar="N", help="Its number, as `titian notice` shows it.")],
    reason: Reason = "",
    who: Who = None,
    data: Data = None,
) -> None:
    """End a notice of your own, or take back a plan; it stays shown as resolved for a while.

    \b
    Examples:
      titian notice end 3 --data region
    """
    from workers import acts_notice
    from workers.acts import Actor

    acts_notice.end(chosen(ctx, data), n, Actor.at_the_machine(who), now(), reason)
    print(f"notice {n} is over")


@notice.command("templates")
def templates(ctx: typer.Context, data: Data = None, as_json: Json = False) -> None:
    """The words for usual cases: those that are built in, and your own (`write --save NAME`).

    \b
    Examples:
      titian notice templates --data region
    """
    from dataclasses import asdict

    from pipeline.adapters.notices_file import read_notices
    from pipeline.inspection.notice_own import BUILT_IN
    from workers import render

    found = {**BUILT_IN, **read_notices(chosen(ctx, data).path).templates}
    if as_json:
        render.print_json({"version": 1, "templates": {name: asdict(one) for name, one in found.items()}})
        return
    for name, one in sorted(found.items()):
        print(f"{name} ({one.what})\n  {render.clean(one.text_id)}\n  {render.clean(one.text_en)}")


@notice.command("equipment")
def equipment(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="camera, fingerprint, iris, signature, printer or network.",
            show_default=False,
        ),
    ] = None,
    state: Annotated[str | None, typer.Argument(metavar="[ok|broken]", show_default=False)] = None,
    until: _Until = None,
    reason: Reason = "",
    who: Who = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say that something is broken, or works again: citizens read at once what that disturbs. Without NAME:
    how everything stands.

    \b
    Examples:
      titian notice equipment printer broken --data region --until "2026-11-25 14:00"
      titian notice equipment printer ok --data region
    """
    from pipeline.errors import UsageError
    from workers import acts_notice
    from workers.acts import Actor

    folder, now_ms = chosen(ctx, data), now()
    if name is not None:
        if state not in ("ok", "broken"):
            raise UsageError(f"say `ok` or `broken` after {name}")
        actor = Actor.at_the_machine(who)
        until_ms, works = ends(until, now_ms), state == "ok"
        acts_notice.set_equipment(folder, name, actor, now_ms, works=works, reason=reason, until_ms=until_ms)
    show_equipment(folder, as_json)


@notice.command("who-waits")
def who_waits(
    ctx: typer.Context,
    csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE|-", help="A table for the office, as CSV.", show_default=False),
    ] = None,
    sent: Annotated[
        bool, typer.Option("--sent", help="Also those that the center has, and has not decided.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="Show at most so many in the table.")
    ] = 200,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Whose packets wait here, and how to reach them (setting notice.contact), to call back when it works.

    \b
    Example:
      titian notice who-waits --data region --csv waits.csv
    """
    from pipeline.errors import UsageError
    from workers import cli_who_waits

    if as_json and csv is not None:
        raise UsageError("--json and --csv do not go together: run it twice")
    rows = cli_who_waits.rows_of(chosen(ctx, data), sent)
    if as_json:
        cli_who_waits.write_json(rows)
    elif csv is None:
        cli_who_waits.show(rows, limit)
    else:
        count = cli_who_waits.write_csv(rows, csv)
        if csv != "-":
            note(f"{count:,} lines in {csv}" if count else f"nobody waits: {csv} has only its header")


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    app.add_typer(notice)
