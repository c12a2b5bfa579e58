"""The console's acts on the public notice of a region: own words, their end, and what is broken."""

from __future__ import annotations

from starlette.routing import BaseRoute

from pipeline.adapters.notices_file import read_notices
from pipeline.errors import UsageError
from pipeline.inspection.notice_own import ABOUT, EQUIPMENT, Template
from workers import acts_notice
from workers.acts import Done
from workers.console.acting import Asked, act_route
from workers.console.answers import Answers
from workers.console.documents import now_ms
from workers.notice_times import parse_when


def routes(answers: Answers) -> list[BaseRoute]:
    """Those of a region; a center has no notice."""
    if answers.side.kind != "region":
        return []
    return [
        act_route(answers, "notice", write),
        act_route(answers, "notice-end", end, done="notice"),
        act_route(answers, "equipment", equipment),
    ]


def write(asked: Asked) -> Done:
    """A notice in own words or a template's: from then (else now) until then (else until it is ended); with
    `days` a plan that is shown so long before it begins."""
    at_ms, begins = now_ms(), asked.text("from")
    from_ms = parse_when(begins, at_ms) if begins else None
    days = asked.text("days")
    acts_notice.write(
        asked.folder,
        _words(asked),
        asked.actor,
        at_ms,
        from_ms=from_ms,
        until_ms=_until(asked, max(at_ms, from_ms or 0)),
        shown_days=_number(days, "days") if days else None,
        reason=asked.text("reason"),
    )
    return Done(1)


def end(asked: Asked) -> Done:
    """One of them is over."""
    n = _number(asked.needed("n"), "n")
    return acts_notice.end(asked.folder, n, asked.actor, now_ms(), asked.text("reason"))


def equipment(asked: Asked) -> Done:
    """Something is broken, or works again."""
    name, state, at_ms = asked.needed("name"), asked.needed("state"), now_ms()
    if name not in EQUIPMENT or state not in ("ok", "broken"):
        raise UsageError(f"name is one of {', '.join(EQUIPMENT)}, and state ok or broken")
    return acts_notice.set_equipment(
        asked.folder,
        name,
        asked.actor,
        at_ms,
        works=state == "ok",
        reason=asked.text("reason"),
        until_ms=_until(asked, at_ms),
    )


def _words(asked: Asked) -> Template:
    name, what = asked.text("template"), asked.text("what")
    base = read_notices(asked.folder.path).template(name) if name else Template("", "", "")
    about = what or base.what
    if about not in ABOUT:
        raise UsageError(f"what is one of {', '.join(ABOUT)}")
    return Template(about, asked.text("text_id") or base.text_id, asked.text("text_en") or base.text_en)


def _until(asked: Asked, after_ms: int) -> int | None:
    until = asked.text("until")
    return parse_when(until, after_ms, ends=True) if until else None


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise UsageError(f"{name} is a number")
    return int(text)
