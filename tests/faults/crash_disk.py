"""For crash tests: any disk that a power cut may leave, built from what was recorded (`crash_vfs.py`).

What was synced is there. Of what was not, each write is there, is not, or is torn at sectors (512 bytes) or
pages (4,096); where a write behind the end is lost the file may have grown all the same, and holds zeros
there. Names (create, rename, delete) come back up to any point of their order; they are sure once their
folder was synced, and with `Rules.file_sync_names` (ext4, XFS) also once the new file was. A sector is never
half written, and what was not written to is not damaged: SQLite relies on the latter as well. `-shm` is left
out: nobody reads one that a power cut left.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.crash_vfs import Op

SECTOR_BYTES = 512
PAGE_BYTES = 4096


@dataclass(frozen=True)
class Rules:
    """How the disk behaves. `file_sync_names`: the sync of a new file makes its name sure too (ext4, XFS;
    POSIX promises nothing of the kind). `ignores(path)`: it says that it synced this file, and did not."""

    file_sync_names: bool = False
    ignores: Callable[[str], bool] = lambda _: False


@dataclass
class _Contents:
    """A file without its name: what is sure of it, and what was done to it since, in order."""

    sure: bytes = b""
    since: list[Op] = field(default_factory=list)


class Disk:
    """The disk while a record is played: `play` one thing after the other, `cut` in between as often as
    wanted."""

    def __init__(self, holds: dict[str, bytes] | None = None, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._sure = {path: _Contents(data) for path, data in (holds or {}).items()}
        self._now = dict(self._sure)
        self._renames: list[tuple[str, _Contents | None]] = []  # name -> what it means from here on

    def play(self, op: Op) -> None:
        """The next thing that was done."""
        match op.what:
            case "create":
                self._name(op.path, _Contents())
            case "delete":
                self._name(op.path, None)
            case "rename":
                self._name(op.note, self._now[op.path])
                self._name(op.path, None)
            case "write" | "size":
                self._now[op.path].since.append(op)
            case "sync" if not self._rules.ignores(op.path):
                self._sync(op.path)
            case "names":
                self._names_sure(len(self._renames))

    def cut(self, rng: random.Random, style: str = "any") -> dict[str, bytes]:
        """What the files may hold if the power goes now. `style`: `none` of what is not sure is there, `all`,
        up to a `point`, or `any` of it."""
        names = dict(self._sure)
        count = len(self._renames)
        kept = {"none": 0, "all": count}.get(style, rng.randint(0, count))
        for path, contents in self._renames[:kept]:
            _set(names, path, contents)
        return {path: _cut(one, rng, style) for path, one in names.items()}

    def _name(self, path: str, contents: _Contents | None) -> None:
        self._renames.append((path, contents))
        _set(self._now, path, contents)

    def _sync(self, path: str) -> None:
        one = self._now[path]
        one.sure = _apply(one.sure, one.since)
        one.since = []
        if self._rules.file_sync_names:
            named = [n for n, (_, contents) in enumerate(self._renames, 1) if contents is one]
            self._names_sure(max(named, default=0))

    def _names_sure(self, count: int) -> None:
        for path, contents in self._renames[:count]:
            _set(self._sure, path, contents)
        del self._renames[:count]


def _set(names: dict[str, _Contents], path: str, contents: _Contents | None) -> None:
    if contents is None:
        names.pop(path, None)
    else:
        names[path] = contents


def _cut(one: _Contents, rng: random.Random, style: str) -> bytes:
    if not one.since or style == "none":
        return one.sure
    if style == "all":
        return _apply(one.sure, one.since)
    if style == "point":
        whole = rng.randrange(len(one.since))
        return _apply(one.sure, [*one.since[:whole], *_torn(one.since[whole], rng, in_order=True)])
    keep, tear = rng.choice(((0.5, 0.2), (0.9, 0.05), (0.1, 0.1), (0.0, 1.0), (0.5, 0.0)))
    there: list[Op] = []
    for op in one.since:
        luck = rng.random()
        if luck < keep:
            there.append(op)
        elif luck < keep + tear:
            there += _torn(op, rng)
        elif op.what == "write" and rng.random() < 0.2:
            there.append(Op("grow", op.path, op.at + len(op.data)))
    return _apply(one.sure, there)


def _torn(op: Op, rng: random.Random, in_order: bool = False) -> Iterator[Op]:
    """Some of the sectors or pages of a write (`in_order`: the first ones)."""
    if op.what != "write":
        if rng.random() < 0.5:
            yield op
        return
    unit = rng.choice((SECTOR_BYTES, PAGE_BYTES))
    start, stop = op.at, op.at + len(op.data)
    ends = [*range(start - start % unit + unit, stop, unit), stop]
    kept = rng.randint(0, len(ends))
    for n, end in enumerate(ends):
        if n < kept if in_order else rng.random() < 0.5:
            yield Op("write", op.path, start, op.data[start - op.at : end - op.at])
        start = end


def _apply(data: bytes, ops: Iterable[Op]) -> bytes:
    made = bytearray(data)
    for op in ops:
        match op.what:
            case "write":
                if len(made) < op.at:
                    made.extend(bytes(op.at - len(made)))
                made[op.at : op.at + len(op.data)] = op.data
            case "grow":
                made.extend(bytes(max(0, op.at - len(made))))
            case "size":
                del made[op.at :]
                made.extend(bytes(op.at - len(made)))
    return bytes(made)
