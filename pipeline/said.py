"""Inspection, pure: a sentence that the program makes, in English and Indonesian at once.

Both stand side by side where the sentence is made, and the same values go into both, so that neither can say
another number: `say("{n:,} packets wait", "{n:,} paket menunggu", n=1234)`. Indonesian writes `1.234` and
`12,5`; what others wrote (reasons, names) is put into both as it came.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from typing import Any, NamedTuple

_MARKS = str.maketrans({",": ".", ".": ","})
#: What a number of ours looks like in English.
_NUMBER = r"-?\d[\d,.]*%?"


class Said(NamedTuple):
    """The same in English and Indonesian."""

    en: str
    id: str

    def json(self, name: str) -> dict[str, str]:
        """As it stands in the documents: English by `name`, Indonesian by `name_id`."""
        return {name: self.en, f"{name}_id": self.id}


NOTHING = Said("", "")


class _English(string.Formatter):
    """Of a value that is `Said` the English."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        return value.en if isinstance(value, Said) else super().format_field(value, format_spec)


class _Indonesian(string.Formatter):
    """Of a value that is `Said` the Indonesian; numbers with their marks the other way round."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        if isinstance(value, Said):
            return value.id
        shown = super().format_field(value, format_spec)
        return shown.translate(_MARKS) if isinstance(value, int | float) else shown


_ENGLISH, _INDONESIAN = _English(), _Indonesian()


class Saying(NamedTuple):
    """A sentence in both languages with places for values, as `str.format` has them."""

    en: str
    id: str

    def of(self, **values: Any) -> Said:
        """With these values, each in its own language where it is `Said` itself."""
        return Said(_ENGLISH.vformat(self.en, (), values), _INDONESIAN.vformat(self.id, (), values))

    def heard(self, text: str) -> Said | None:
        """The other way: of the English that another process made of it, both; `None`: it is another
        sentence. Its values must be numbers."""
        found = re.fullmatch(_pattern(self.en), text)
        if found is None:
            return None
        numbers = {name: value.translate(_MARKS) for name, value in found.groupdict().items()}
        places = re.sub(r":[^{}]*\}", "}", self.id)
        return Said(text, places.format(**numbers))


def say(en: str, indonesian: str, **values: Any) -> Said:
    """Both with the same values filled in."""
    return Saying(en, indonesian).of(**values)


def heard(text: str, sayings: Iterable[Saying]) -> Said:
    """What another process said in English, in both, where it is one of these sentences; else as it came."""
    found = (one.heard(text) for one in sayings)
    return next((one for one in found if one is not None), as_it_came(text))


def as_it_came(text: str) -> Said:
    """What others wrote, or what has no Indonesian (an error of the system): the same in both."""
    return Said(text, text)


def joined(parts: Iterable[Said], between: str = "; ") -> Said:
    """Clauses one after the other."""
    known = list(parts)
    return Said(between.join(one.en for one in known), between.join(one.id for one in known))


def _pattern(template: str) -> str:
    parts = string.Formatter().parse(template)
    return "".join(re.escape(text) + (f"(?P<{name}>{_NUMBER})" if name else "") for text, name, _, _ in parts)
