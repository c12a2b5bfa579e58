"""The console's words in Indonesian and English, by key, out of `words.toml`.

Foreign text (reasons, names of people, what the machinery says in English) is shown as it came beside them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

FILE = Path(__file__).with_name("words.toml")
#: The first is what somebody sees whose browser asks for neither.
LANGUAGES = ("id", "en")
#: How each language calls itself.
NAMES = {"id": "Indonesia", "en": "English"}
#: How keys begin that the scripts of the pages use.
_IN_SCRIPTS = (
    *("js.", "lane.", "link.up", "link.down", "link.not running", "link.unknown"),
    *("throttle.down", "throttle.ramp", "throttle.steady", "throttle.yield", "throttle.measure"),
)


def _read() -> dict[str, Mapping[str, str]]:
    found = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {one: MappingProxyType({key: said[one] for key, said in found.items()}) for one in LANGUAGES}


_WORDS = _read()


def words(language: str) -> Mapping[str, str]:
    """Those of that language; the first one's where there is none of that name."""
    return _WORDS.get(language, _WORDS[LANGUAGES[0]])


def script_words(language: str) -> dict[str, str]:
    """Those that the scripts use."""
    return {key: said for key, said in words(language).items() if key.startswith(_IN_SCRIPTS)}


def language_of(accepts: str) -> str:
    """What an `Accept-Language` header asks for first of what there is (`in` is an old name of `id`)."""
    wanted: list[tuple[float, str]] = []
    for part in accepts.lower().split(","):
        name, _, quality = part.strip().partition(";q=")
        code = name.split("-")[0]
        try:
            wanted.append((-float(quality or 1), "id" if code == "in" else code))
        except ValueError:
            continue
    known = [code for _, code in sorted(wanted, key=lambda one: one[0]) if code in LANGUAGES]
    return known[0] if known else LANGUAGES[0]
