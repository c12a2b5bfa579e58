"""The public notice as JSON and as one page: no script, nothing from elsewhere, under 15 kB."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.inspection.notice_causes import SERVICES
from workers.notice_page import words
from workers.notice_page.words import LANGS, Lang

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent
#: What the page weighs at most, bytes.
PAGE_BYTES_MAX = 14_500
#: So often an open page asks again, seconds.
REFRESH_S = 300


def public(document: dict[str, Any], zone: tzinfo | None = None) -> dict[str, Any]:
    """The document with its words in both languages: the JSON that everybody may read."""
    now_ms = int(document["made_ms"])
    as_of_ms = int(document["looked_ms"] or now_ms)
    entries = {name: [_with_words(one, document, zone, name) for one in document[name]] for name in _LISTS}
    return {
        **document,
        "made": datetime.fromtimestamp(now_ms / 1000, zone).astimezone(zone).isoformat(timespec="seconds"),
        "as_of_ms": as_of_ms,
        "as_of": {lang: _full(as_of_ms, zone, lang) for lang in LANGS},
        **entries,
    }


def to_json(found: dict[str, Any]) -> str:
    """The text of the JSON (of what `public` made)."""
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def to_html(found: dict[str, Any]) -> str:
    """The page (of what `public` made): Indonesian first, English below. What would make it too heavy for the
    lines over which it is read is left out, and that is said: what is over first, then what is to come."""
    text = _render(found, more=False)
    while len(text.encode()) > PAGE_BYTES_MAX:
        name = next(one for one in ("resolved", "planned", "now") if found[one])
        found = {**found, name: _without_last(found[name])}
        text = _render(found, more=True)
    return text


def _without_last(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the last in people's own words, if there is one: what the region itself says stays."""
    at = max((n for n, one in enumerate(entries) if one["by"] == "office"), default=len(entries) - 1)
    return [*entries[:at], *entries[at + 1 :]]


def _render(found: dict[str, Any], *, more: bool) -> str:
    return _template().render(
        more=more,
        found=found,
        entries=sum(len(found[name]) for name in _LISTS),
        langs=LANGS,
        services=[(what, {lang: words.service(what, lang) for lang in LANGS}) for what in SERVICES],
        say={lang: words.page_words(lang) for lang in LANGS},
        style=_style(),
        csp=f"{_BASE}; style-src {style_hash()}",
        refresh_s=REFRESH_S,
    )


def policy() -> str:
    """The Content-Security-Policy of the page."""
    return f"{_BASE}; style-src {style_hash()}; frame-ancestors 'none'"


def style_hash() -> str:
    """The hash by which the page's one style is allowed."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()}'"


def to_text(found: dict[str, Any], lang: Lang) -> str:
    """The same for a terminal; the words of foreign origin are to be cleaned by whoever prints them."""
    say = words.page_words(lang)
    lines = [f"{found['office'] or found['region']}: {say['title']} ({say['as_of']} {found['as_of'][lang]})"]
    if found["all_well"]:
        lines.append(say["well"])
    for one in found["now"]:
        lines += ["", _numbered(one, lang), f"  {one['why'][lang]}"]
        lines += [f"  {one['means'][lang]}"] if one["means"][lang] else []
        lines += [f"  {say['since']}: {one['since'][lang]}", f"  {say['until']}: {one['until'][lang]}"]
    for one in found["planned"]:
        lines += ["", f"{say['planned']}: {_numbered(one, lang)}", f"  {one['why'][lang]}"]
        lines += [f"  {say['from']}: {one['since'][lang]}", f"  {say['to']}: {one['until'][lang]}"]
    for one in found["resolved"]:
        lines += ["", f"{say['resolved']}: {_numbered(one, lang)}"]
        lines += [f"  {say['since']}: {one['since'][lang]}", f"  {say['to']}: {one['ended'][lang]}"]
    return "\n".join(lines)


_LISTS = ("now", "planned", "resolved")
_BASE = "default-src 'none'; base-uri 'none'; form-action 'none'"


def _numbered(one: dict[str, Any], lang: Lang) -> str:
    return f"[{one['n']}] {one['title'][lang]}" if "n" in one else str(one["title"][lang])


def _with_words(
    one: dict[str, Any], document: dict[str, Any], zone: tzinfo | None, among: str
) -> dict[str, Any]:
    heading = words.service if among == "planned" else words.title
    now_ms, disturbed = int(document["made_ms"]), document["disturbed"]
    made: dict[str, Any] = {
        "title": {lang: heading(one["what"], lang) for lang in LANGS},
        "why": {lang: words.why(one, now_ms, zone, lang) for lang in LANGS},
        "means": {lang: words.means(one, disturbed, lang) for lang in LANGS},
        "since": {lang: words.when(one["since_ms"], now_ms, zone, lang) for lang in LANGS},
    }
    if "ended_ms" in one:
        made["ended"] = {lang: words.when(one["ended_ms"], now_ms, zone, lang) for lang in LANGS}
    else:
        made["until"] = {lang: words.until(one, now_ms, zone, lang) for lang in LANGS}
    return {**one, **made}


def _full(at_ms: int, zone: tzinfo | None, lang: Lang) -> str:
    return words.when(at_ms, at_ms - 2 * 86_400_000, zone, lang)  # from another day: with its date


@cache
def _style() -> str:
    return (_HERE / "notice.css").read_text(encoding="utf-8").strip()


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    there = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return there.get_template("notice.html")
