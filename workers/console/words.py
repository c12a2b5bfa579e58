"""The console's words in Indonesian and English, by key; both have the same keys (a test holds that).

Foreign text (reasons, names of people, what the machinery says in English) is shown as it came beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workers.console.words_en import WORDS as _EN
from workers.console.words_id import WORDS as _ID

#: The first is what somebody sees whose browser asks for neither.
LANGUAGES = ("id", "en")
#: How each language calls itself.
NAMES = {"id": "Indonesia", "en": "English"}
#: The first parts of keys that the scripts of the pages use.
_IN_SCRIPTS = (
    *("js.", "lane.", "link.up", "link.down", "link.not running", "link.unknown"),
    *("throttle.down", "throttle.ramp", "throttle.steady", "throttle.yield", "throttle.measure"),
)
_WORDS = {"en": MappingProxyType(_EN), "id": MappingProxyType(_ID)}


def words(language: str) -> Mapping[str, str]:
    """Those of that language; the first one's where there is none of that name."""
    return _WORDS.get(language, _WORDS[LANGUAGES[0]])


def script_words(language: str) -> dict[str, str]:
    """Those that the scripts use."""
    return {key: said for key, said in words(language).items() if key.startswith(_IN_SCRIPTS)}


def language_of(accepts: str) -> str:
    """What an `Accept-Language` header asks for first of what there is."""
    wanted: list[tuple[float, str]] = []
    for part in accepts.lower().split(","):
        name, _, quality = part.strip().partition(";q=")
        code = name.split("-")[0].replace("in", "id") if name in ("in", "in-id") else name.split("-")[0]
        try:
            wanted.append((-float(quality or 1), code))
        except ValueError:
            continue
    known = [code for _, code in sorted(wanted, key=lambda one: one[0]) if code in LANGUAGES]
    return known[0] if known else LANGUAGES[0]
