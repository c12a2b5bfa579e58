"""What people do to a side, steps 1 to 7: the same functions for the command line and the console.

Each act is written down before it is done (`pipeline/adapters/audit_file.py`); one that cannot be written
down is not done, and one that fails afterwards leaves a second line that says so.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.adapters.audit_file import AuditFile
from pipeline.errors import NotFound, TitianError

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.throttle.steering import Cap, Steering
    from schemas.lanes import Lane

COMMAND_LINE, CONSOLE = "command line", "console"


@dataclass(frozen=True)
class Actor:
    """Who acts, and through what (`COMMAND_LINE` or `CONSOLE`). `login`: the name at the machine, where
    `name` is another that was given."""

    name: str
    via: str
    login: str = ""

    @classmethod
    def at_the_machine(cls, name: str | None = None) -> Actor:
        """Whoever is signed in at this machine, under the name they give."""
        try:
            login = getpass.getuser()
        except (KeyError, OSError):  # a user id without a name
            import os

            login = f"#{os.geteuid()}"
        return cls(name or login, COMMAND_LINE, login if name and name != login else "")


@dataclass(frozen=True)
class Done:
    """How many things an act was done to, and which failed: (id, why)."""

    count: int
    failed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Every:
    """Every dead letter of the side; at a region only those of `lane`, if one is named."""

    lane: Lane | None = None


@dataclass
class Act:
    """An act that stands in the log as number `n`. What is put into `told` goes into its second line."""

    n: int
    told: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded(
    folder: Folder, actor: Actor, what: str, target: str, reason: str = "", **detail: Any
) -> Iterator[Act]:
    """`with recorded(...) as act:` around an act: the line first. A second line (`detail.of`: the first's
    number) follows where it failed (`detail.failed`: why), or where `act.told` has something to add."""
    audit = AuditFile(folder.path)
    add = _adder(audit.add, actor, what, target, reason)
    act = Act(add(detail))
    try:
        yield act
    except BaseException as why:
        with suppress(TitianError, OSError):  # what is raised is what went wrong with the act itself
            add({"of": act.n, "failed": _words(why), **act.told})
        raise
    if act.told:
        add({"of": act.n, **act.told})


def pause(folder: Folder, lane: Lane | None, actor: Actor, reason: str) -> Done:
    """Let a lane (`None`: every one) stand still until `resume`. A pause of the same lane is replaced."""
    from pipeline.throttle.steering import Pause, Steering

    with _steering(folder, actor, "pause", lane, reason) as held:
        now = held.now
        kept = tuple(one for one in now.pauses if one.lane != lane)
        held.write(Steering((*kept, Pause(lane, reason, actor.name, int(time.time() * 1000))), now.caps))
    return Done(1)


def resume(folder: Folder, lane: Lane | None, actor: Actor, reason: str) -> Done:
    """End the pause of one lane, or (`None`) every pause. Raises `NotFound` where nothing was paused."""
    from pipeline.throttle.steering import Steering

    with _steering(folder, actor, "resume", lane, reason) as held:
        now = held.now
        kept = tuple(one for one in now.pauses if lane is not None and one.lane != lane)
        if len(kept) == len(now.pauses):
            if lane is not None and any(one.lane is None for one in now.pauses):
                raise NotFound("every lane is paused together: `titian resume` without a lane ends that")
            raise NotFound("nothing was paused" if lane is None else f"lane {lane.label} was not paused")
        held.write(Steering(kept, now.caps))
    return Done(len(now.pauses) - len(kept))


def set_cap(
    folder: Folder, lane: Lane | None, bytes_s: float | None, start: int, stop: int, actor: Actor, reason: str
) -> Done:
    """Bound a lane (`None`: each) to `bytes_s` (0: closed) from minute `start` of the day until `stop`
    (equal: all day). `bytes_s` `None` ends every cap of exactly that lane; raises `NotFound` where there is
    none."""
    from pipeline.throttle.steering import Cap, Steering, clock_text

    with _steering(folder, actor, "cap", lane, reason) as held:
        now = held.now
        if bytes_s is None:
            kept = tuple(one for one in now.caps if one.lane != lane)
            if len(kept) == len(now.caps):
                raise NotFound(_no_such_cap(lane, now.caps))
            held.write(Steering(now.pauses, kept), off=True)
            return Done(len(now.caps) - len(kept))
        hours = "all day" if start == stop else f"{clock_text(start)}-{clock_text(stop)}"
        others = (one for one in now.caps if (one.lane, one.start, one.stop) != (lane, start, stop))
        cap = Cap(lane, bytes_s, start, stop, reason, actor.name)
        held.write(Steering(now.pauses, (*others, cap)), bytes_s=bytes_s, hours=hours)
    return Done(1)


def retry(folder: Folder, which: Sequence[str] | Every, actor: Actor, reason: str) -> Done:
    """Try dead letters again. At a region: refused packets (their ids) wait again. At the center: frames that
    were kept aside (their numbers) are read again, and taken in where that works now. Raises `UsageError`."""
    from workers import acts_dead

    return acts_dead.retry(folder, which, actor, reason)


def drop(folder: Folder, which: Sequence[str] | Every, actor: Actor, reason: str) -> Done:
    """Give dead letters up, for a `reason` (needed): their bytes go into files in DATA/dropped. At a region
    refused and damaged packets, at the center frames that were kept aside. Raises `UsageError`."""
    from workers import acts_dead

    return acts_dead.drop(folder, which, actor, reason)


@dataclass
class _Held:
    """What people asked of the lanes until `now`, while nobody else changes it."""

    now: Steering
    _folder: Folder
    _add: Callable[[dict[str, Any]], int]

    def write(self, steering: Steering, **detail: Any) -> None:
        from pipeline.adapters.steering_file import write_steering

        n = self._add(detail)
        try:
            write_steering(self._folder.path, steering)
        except BaseException as why:
            with suppress(TitianError, OSError):
                self._add({"of": n, "failed": _words(why)})
            raise


@contextmanager
def _steering(folder: Folder, actor: Actor, what: str, lane: Lane | None, reason: str) -> Iterator[_Held]:
    """The log is held meanwhile: of two people who steer at once the second sees what the first asked."""
    from pipeline.adapters.steering_file import read_steering

    folder.need("region")
    target = "every lane" if lane is None else lane.label
    with AuditFile(folder.path).writing() as log:
        add = _adder(log.add, actor, what, target, reason)
        yield _Held(read_steering(folder.path), folder, add)


def _adder(
    add: Callable[..., int], actor: Actor, what: str, target: str, reason: str
) -> Callable[[dict[str, Any]], int]:
    login = {"login": actor.login} if actor.login else {}
    return lambda detail: add(actor.name, actor.via, what, target, reason, {**login, **detail})


def _words(why: BaseException) -> str:
    return f"{type(why).__name__}: {why}"[:300]


def _no_such_cap(chosen: Lane | None, caps: tuple[Cap, ...]) -> str:
    """Which caps there are instead, and what ends each."""
    from pipeline.throttle.steering import clock_text

    what = "each lane together" if chosen is None else f"lane {chosen.label} alone"
    there = []
    for one in caps:
        lane, ends = (
            ("each lane", "") if one.lane is None else (f"lane {one.lane.label}", f" {one.lane.label}")
        )
        rate = f"{one.bytes_s * 8:,.0f} bit/s" if one.bytes_s else "closed"
        hours = "" if one.start == one.stop else f" {clock_text(one.start)}-{clock_text(one.stop)}"
        there.append(f"{lane} {rate}{hours} (`titian cap off{ends}` ends it)")
    return f"there is no cap of {what}" + (f"; there is: {', '.join(there)}" if there else ", nor any other")
