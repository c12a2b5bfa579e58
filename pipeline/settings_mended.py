"""Settings as far as they can be understood, for `titian doctor`: what is wrong is said, and a default stands
in its place, so that everything else can still be looked at. No other command reads them so."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from pipeline.errors import UsageError
from pipeline.settings import SETTINGS_VERSION, Settings, complaint, errors_of, read_settings, settings_of

#: Variables of ours that are no settings.
OURS = ("TITIAN_DATA", "TITIAN_DEBUG")
_ROUNDS = 100
_ELSEWHERE = "the environment"


class Mended(NamedTuple):
    """The settings, and what is wrong with the file and the environment, one sentence each."""

    settings: Settings
    wrong: list[str]


def mended_settings(path: Path, side: str, region: str) -> Mended:
    """The settings of that file. `side` and `region` stand where it does not say."""
    try:
        return Mended(read_settings(path), [])
    except UsageError as why:
        wrong = [str(why)]
    values: dict[str, Any] = {"version": SETTINGS_VERSION, "side": side, "region": region}
    try:
        values |= tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # which is said already
        return _without_environment(values, wrong)
    values["version"] = SETTINGS_VERSION
    found: list[str] = []
    for _ in range(_ROUNDS):
        try:
            return Mended(settings_of(values), _once(found) or wrong)
        except ValidationError as why:
            taken = [(one, _take_out(values, one["loc"])) for one in errors_of(why)]
            found += [f"{path if here else _ELSEWHERE}: {complaint(one)}" for one, here in taken]
            if not any(here for _, here in taken):
                break
        except UsageError:
            break
        values = {"side": side, "region": region} | values
    return _without_environment(values, _once(found) or wrong)


def _without_environment(values: dict[str, Any], wrong: list[str]) -> Mended:
    for _ in range(_ROUNDS):
        try:
            return Mended(Settings(**values), wrong)
        except ValidationError as why:
            if not sum(_take_out(values, one["loc"]) for one in errors_of(why)):
                break
    return Mended(Settings(version=1, side=values["side"]), wrong)


def _take_out(values: dict[str, Any], place: Iterable[int | str]) -> bool:
    """Whether it was there."""
    *parts, name = [str(one) for one in place]
    inner: Any = values
    for part in parts:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or name not in inner:
        return False
    del inner[name]
    return True


def _once(sentences: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(sentences))


def known_variables() -> list[str]:
    """Every variable that sets something, in capitals."""
    found = []
    for name, field in Settings.model_fields.items():
        found.append(f"TITIAN_{name.upper()}")
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            found += [f"TITIAN_{name.upper()}__{key.upper()}" for key in part.model_fields]
    return found


def unknown_variables(names: Iterable[str]) -> list[tuple[str, str]]:
    """Those that look like ours and set nothing, each with the nearest known one (empty: none is near)."""
    known = [name.removeprefix("TITIAN_") for name in (*known_variables(), *OURS)]
    ours = [(name, name.upper().removeprefix("TITIAN_")) for name in sorted(names)]
    unknown = [(name, key) for name, key in ours if key != name.upper() and key not in known]
    near = [(name, difflib.get_close_matches(key, known, 1, 0.5)) for name, key in unknown]
    return [(name, f"TITIAN_{found[0]}" if found else "") for name, found in near]
