"""The command line's output: tables and bars on a terminal, plain aligned lines anywhere else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TextIO

#: A bar appears when work takes longer than this, seconds.
BAR_AFTER_S = 0.7
_UNITS = ("kB", "MB", "GB", "TB")
#: Called with how much is done, and what to say beside the bar.
Step = Callable[[float, str], None]


def on_terminal(stream: TextIO) -> bool:
    """Whether a person looks at the stream (and not a file or a pipe)."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def size(count: float) -> str:
    """Bytes for people, in decimal units: `812 B`, `1.3 MB`."""
    if abs(count) < 1000:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1000
        if abs(count) < 999.5 or unit == _UNITS[-1]:
            return f"{count:.3g} {unit}"
    raise AssertionError("unreachable")


def number(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,}"


def many(count: int, one: str, more: str = "") -> str:
    """A count and its noun: `1 packet`, `1,200 packets`; `more` where the plural is no `s`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def rate(per_second: float) -> str:
    """So many a second, to three digits: `0.25/s`, `1,230/s`."""
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.3g}/s"


def span(seconds: float | None) -> str:
    """A time for people: `0.4 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`; `-` for none."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for unit, below, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= below:
            rest = whole % below // part
            return f"{whole // below} {unit} {rest} {smaller}" if rest else f"{whole // below} {unit}"
    return f"{whole} s"


def when(at_ms: int | None) -> str:
    """A wall-clock time in the local zone."""
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table; `right` are the columns whose values stand at the right edge."""
    if on_terminal(sys.stdout):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        shown = Table(box=None, pad_edge=False, header_style="bold")
        for at, header in enumerate(headers):
            shown.add_column(header, justify="right" if at in right else "left", overflow="fold")
        for row in rows:
            shown.add_row(*(Text(value) for value in row))
        Console().print(shown)
        return
    print(plain_table(headers, rows, right))


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """The same as text: columns two spaces apart, nothing wrapped."""
    lines = [list(headers), *[list(row) for row in rows]]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headers))]
    return "\n".join(
        "  ".join(
            value.rjust(widths[at]) if at in right else value.ljust(widths[at])
            for at, value in enumerate(line)
        ).rstrip()
        for line in lines
    )


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name.ljust(width)}  {value}")


def clean(text: str) -> str:
    """Text of foreign origin without what a terminal would obey."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _no_step(_: float, __: str) -> None:
    """Nobody looks."""


@contextmanager
def bar(label: str, total: float | None) -> Iterator[Step]:
    """A progress bar on stderr while the work takes long, on a terminal only; `total` None: unknown."""
    if not on_terminal(sys.stderr):
        yield _no_step
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[beside]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task(label, total=total, beside="")
    began_s, shown_s = time.monotonic(), 0.0
    started = False

    def step(done: float, beside: str) -> None:
        nonlocal started, shown_s
        now_s = time.monotonic()
        if now_s - began_s < BAR_AFTER_S or now_s - shown_s < 0.1:
            return
        shown_s = now_s
        if not started:
            progress.start()
            started = True
        progress.update(task, completed=done, beside=beside)

    try:
        yield step
    finally:
        if started:
            progress.stop()
