"""A row of figures as a line of blocks, as wide as there is room. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def fit(values: Sequence[float | None], width: int) -> list[float | None]:
    """As many values as there are columns: the mean of those that share one, `None` where none is known.
    Fewer stand at the right, where now is."""
    if width <= 0:
        return []
    if len(values) <= width:
        return [None] * (width - len(values)) + list(values)
    found: list[float | None] = []
    for at in range(width):
        part = values[at * len(values) // width : max((at + 1) * len(values) // width, at + 1)]
        known = [one for one in part if one is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def sparkline(values: Sequence[float | None], width: int) -> str:
    """From 0 (or below, from the least) to the most; a figure that is not known is a blank."""
    fitted = fit(values, width)
    known = [one for one in fitted if one is not None]
    least, most = min([0.0, *known]), max([0.0, *known])
    return "".join(" " if one is None else _BLOCKS[_level(one, least, most)] for one in fitted)


def _level(value: float, least: float, most: float) -> int:
    if most <= least:
        return 0
    share = (value - least) / (most - least)
    return max(int(value > least), min(len(_BLOCKS) - 1, int(share * len(_BLOCKS))))


def timeline(ups: Sequence[float | None], width: int) -> str:
    """Whether the link was up, 1 or 0, or for a part of the column: `█`, `x`, `▒`."""
    return "".join(
        " " if one is None else "█" if one >= 0.999 else "x" if one <= 0.001 else "▒"
        for one in fit(ups, width)
    )
