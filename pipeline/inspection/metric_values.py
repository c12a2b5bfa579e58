"""Inspection, pure: one value of a metric, and how what a document says becomes one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Value(NamedTuple):
    """A value of the metric `name` (of `metric_names`). `labels` in the family's order; of a stateset
    the state comes last."""

    name: str
    labels: tuple[str, ...]
    value: float


def value(name: str, labels: tuple[str, ...], said: Any) -> Value | None:
    """`said` as a value; `None` where it is none: not known, or no number."""
    if isinstance(said, int | float) and math.isfinite(said):
        return Value(name, labels, float(said))
    return None


def seconds(ms: Any) -> float | None:
    """Milliseconds in seconds; `None` stays."""
    return ms / 1000 if isinstance(ms, int | float) else None


def days_s(days: Any) -> float | None:
    """Days in seconds; `None` stays."""
    return days * 86_400.0 if isinstance(days, int | float) else None


def each(
    labels: tuple[str, ...], said: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[Value | None]:
    """Of several metrics with the same labels: what `said` has under their names in the document."""
    return (value(metric, labels, said.get(name)) for metric, name in names.items())
