"""The console's pages out of templates: all escaped, in one of two languages, figures as people write them.

A figure that moves is written once, in the template, by its path in the document and how it is shown;
`static/live.js` finds both beside it (`data-live`, `data-as`) and goes on with the next document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pipeline.inspection.trouble import worst_first
from workers.console.figures import NONE, Figures
from workers.console.headline import headline, is_kept
from workers.console.words import LANGUAGES, NAMES, script_words, words

#: What an element gets whose text is English in a page that is not.
ENGLISH_HERE = Markup(' lang="en"')
TEMPLATES = Path(__file__).with_name("templates")
_DAY_MS = 86_400_000


class Stretch(NamedTuple):
    """The link was in `state` (`up`, `down`, or empty: not known) from `at_ms` until `to_ms`; `x` and `width`
    are thousandths of the time shown."""

    state: str
    at_ms: int
    to_ms: int
    x: float
    width: float


def make_environment() -> Environment:
    """Templates of ours alone; what is put into them is escaped wherever it stands."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    made.globals.update(languages=LANGUAGES, language_names=NAMES, at=value_at, stretches=stretches)
    made.globals |= {"worst_first": worst_first, "is_kept": is_kept}
    return made


def _shown(value: Any) -> Any:
    """Foreign text without what nobody sees: controls, and marks that turn the order of text round."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in value)


def page(environment: Environment, name: str, language: str, **variables: Any) -> str:
    """That template with those variables, in that language."""
    lang = language if language in LANGUAGES else LANGUAGES[0]
    said, show = words(lang), Figures(lang)
    helpers = {
        "t": teller(said),
        "word": lambda group, key: said.get(f"{group}.{key}", str(key)),
        "show": show,
        "figure": lambda document, path, how: figure(document, path, how, show, said),
        "phrase": lambda key, value: said[key] if "{" not in said[key] else _filled(said[key], value),
        "script_words": lambda: json.dumps(script_words(lang), ensure_ascii=False),
        "headline": lambda document: headline(document, lang),
        "told": lambda found, name: told(found, name, lang),
        "by_lang": "" if lang == "en" else f"_{lang}",
        "mark": lambda found, name: ENGLISH_HERE if is_only_english(found, name, lang) else "",
    }
    return environment.get_template(name).render({**helpers, **variables, "lang": lang})


def teller(said: Mapping[str, str]) -> Callable[..., str]:
    """`t("key", n=3)`: a word with its figures filled in; raises `KeyError` for one that nobody wrote."""

    def tell(key: str, **values: Any) -> str:
        return said[key].format(**values) if values else said[key]

    return tell


def told(found: Mapping[str, Any], name: str, language: str) -> str:
    """A sentence of the program in a document, in that language: `NAME` is English, `NAME_id` Indonesian."""
    return str((found.get(f"{name}_{language}") if language != "en" else None) or found.get(name) or "")


def is_only_english(found: Mapping[str, Any], name: str, language: str) -> bool:
    """Whether `told` has English to say in a page of another language (of an older document)."""
    return language != "en" and bool(found.get(name)) and not found.get(f"{name}_{language}")


def value_at(document: Any, path: str) -> Any:
    """`lanes.urgent.waiting` of a document; `None` where there is no such thing."""
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def figure(document: Mapping[str, Any], path: str, how: str, show: Figures, said: Mapping[str, str]) -> str:
    """A figure of the document as text. `how`: a method of `Figures`; `since` (for how long, of a time),
    `after` (the time after so many seconds), `clock`, `word.GROUP`, `text`."""
    value = value_at(document, path)
    if value is None or value == "":
        return NONE
    if how.startswith("word."):
        return said.get(f"{how[5:]}.{value}", str(value))
    match how:
        case "text":
            return str(value)
        case "since":
            return show.span(max(0, document["at_ms"] - value) / 1000)
        case "clock":
            return show.clock(value, document["at_ms"])
        case "after":
            return show.clock(document["at_ms"] + value * 1000, document["at_ms"])
    return str(getattr(show, how)(value))


def _filled(said: str, value: str) -> str:
    before, _, rest = said.partition("{")
    return before + value + rest.partition("}")[2]


def stretches(turns: Sequence[Mapping[str, Any]], link: Mapping[str, Any], now_ms: int) -> list[Stretch]:
    """The last 24 hours of the link, oldest first, from its turns (newest first; one from before says how it
    was at first). Nothing is known before the very first turn, nor since a worker fell silent."""
    began_ms, known_ms = now_ms - _DAY_MS, now_ms
    if link["state"] not in ("up", "down"):
        age_s = link.get("age_s")
        known_ms = began_ms if age_s is None else max(began_ms, now_ms - int(age_s * 1000))
    found = [_stretch("", known_ms, now_ms, began_ms)]
    until_ms, state = known_ms, link["state"] if known_ms == now_ms else ""
    for turn in turns:
        if turn["what"] not in ("link up", "link down"):
            continue
        state = str(turn["what"]).removeprefix("link ")
        since_ms = min(until_ms, max(began_ms, int(turn["at_ms"])))
        found.append(_stretch(state, since_ms, until_ms, began_ms))
        until_ms, state = since_ms, ""
    found.append(_stretch(state, began_ms, until_ms, began_ms))
    return [one for one in reversed(found) if one.width > 0]


def _stretch(state: str, at_ms: int, to_ms: int, began_ms: int) -> Stretch:
    scale = 1000 / _DAY_MS
    return Stretch(
        state, at_ms, to_ms, round((at_ms - began_ms) * scale, 2), round((to_ms - at_ms) * scale, 2)
    )
