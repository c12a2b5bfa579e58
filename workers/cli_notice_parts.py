"""What the commands of the public notice have in common: words, times, and what they print."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from workers.cli_common import folder_of

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.inspection.notice_own import Own, Template


def chosen(ctx: typer.Context, data: Path | None) -> Folder:
    """The region's folder: `--data` stands after the subcommand, or before it."""
    return folder_of(data if data is not None else ctx.obj, "region")


def now() -> int:
    """The wall clock, milliseconds since 1970."""
    return int(time.time() * 1000)


def words_of(
    folder: Folder, what: str | None, text_id: str | None, text_en: str | None, name: str | None
) -> Template:
    """A template's words, or those given instead of some of them. Raises `NotFound`, `UsageError`."""
    from pipeline.adapters.notices_file import read_notices
    from pipeline.errors import UsageError
    from pipeline.inspection.notice_own import ABOUT, Template

    base = Template("", "", "") if name is None else read_notices(folder.path).template(name)
    about = what or base.what
    if not about:
        raise UsageError(f"say what it is about: --what {', '.join(ABOUT)}; or take a --template NAME")
    return Template(
        about,
        base.text_id if text_id is None else text_id,
        base.text_en if text_en is None else text_en,
    )


def keep(folder: Folder, name: str | None, words: Template, who: str | None, reason: str) -> None:
    """Keep them as a template, where a name was given."""
    from workers import acts_notice
    from workers.acts import Actor

    if name is not None:
        acts_notice.save_template(folder, name, words, Actor.at_the_machine(who), reason)


def written(
    folder: Folder,
    words: Template,
    begins: str | None,
    until: str | None,
    days: float | None,
    who: str | None,
    reason: str,
    now_ms: int,
) -> Own:
    """The notice, written down; with `days` as a plan."""
    from workers import acts_notice
    from workers.acts import Actor
    from workers.notice_times import parse_when

    from_ms = None if begins is None else parse_when(begins, now_ms)
    until_ms = ends(until, now_ms, from_ms)
    return acts_notice.write(
        folder,
        words,
        Actor.at_the_machine(who),
        now_ms,
        from_ms=from_ms,
        until_ms=until_ms,
        shown_days=days,
        reason=reason,
    )


def ends(until: str | None, now_ms: int, from_ms: int | None = None) -> int | None:
    """When it ends; a time of day is the next such time after it began (or after now)."""
    from workers.notice_times import parse_when

    return None if until is None else parse_when(until, max(now_ms, from_ms or 0), ends=True)


def told(own: Own, as_json: bool) -> None:
    """Say what was written, and how it is ended."""
    from dataclasses import asdict

    from workers import render

    if as_json:
        render.print_json({"version": 1, **asdict(own)})
        return
    until = "until it is ended" if own.until_ms is None else f"until {render.when(own.until_ms)}"
    print(f"notice {own.n} ({own.what}) from {render.when(own.from_ms)} {until}")
    print(f"`titian notice end {own.n}` ends it")


def show_equipment(folder: Folder, as_json: bool) -> None:
    """How everything stands."""
    from dataclasses import asdict

    from pipeline.adapters.notices_file import read_notices
    from pipeline.inspection.notice_own import EQUIPMENT
    from workers import render

    broken = {one.name: one for one in read_notices(folder.path).equipment}
    if as_json:
        listed = {name: asdict(broken[name]) if name in broken else None for name in EQUIPMENT}
        render.print_json({"version": 1, "broken": listed})
        return
    for name, what in EQUIPMENT.items():
        one = broken.get(name)
        if one is None:
            print(f"{name}: ok")
            continue
        until = "" if one.until_ms is None else f", until {render.when(one.until_ms)}"
        why = f" ({render.clean(one.reason)})" if one.reason else ""
        print(f"{name}: broken since {render.when(one.since_ms)}{until}{why}; {what} is disturbed")
