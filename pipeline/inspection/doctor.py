"""Inspection: is this side healthy? What was measured goes in, what it means and what to do comes out. Pure.

`workers.probing` measures. A `fail` stops packets or endangers them, a `warn` may, a `note` is about a
help that is not there; each says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.inspection import refusals

VERSION = 1
Level = Literal["ok", "note", "warn", "fail"]
PYTHON_LEAST = (3, 11)
#: Older SQLite libraries can corrupt a WAL when it is reset.
SQLITE_LEAST = (3, 51, 3)
#: A durable write that takes longer than this makes enqueueing slow, milliseconds.
FSYNC_MS_SLOW = 50.0
#: Between our clock and the center's, milliseconds. No clock decides anything, but histories read oddly.
CLOCK_OFF_MS = 60_000
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Check:
    """One line of the doctor. `do` says what to do, and is empty where all is well."""

    name: str
    level: Level
    said: str
    do: str = ""

    def to_json(self) -> dict[str, str]:
        """As `titian doctor --json` shows it."""
        return asdict(self)


def document(side: str, at_ms: int, checks: Iterable[Check]) -> dict[str, Any]:
    """The JSON of `titian doctor`; `healthy` is false if any check failed."""
    listed = list(checks)
    return {
        "version": VERSION,
        "side": side,
        "at_ms": at_ms,
        "healthy": all(one.level != "fail" for one in listed),
        "checks": [one.to_json() for one in listed],
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def python(version: tuple[int, ...]) -> Check:
    """The interpreter's version."""
    said = "Python " + ".".join(map(str, version))
    if version[:2] < PYTHON_LEAST:
        return Check("python", "fail", said, "Titian needs Python 3.11 or newer")
    return Check("python", "ok", said)


def sqlite(where: str, version: str) -> Check:
    """The SQLite library under a store."""
    if _numbers(version) < SQLITE_LEAST:
        return Check(
            "sqlite",
            "fail",
            f"{where} has SQLite {version}",
            "it can corrupt a log: install a newer one of it",
        )
    return Check("sqlite", "ok", f"{where} has SQLite {version}")


def packages(places: dict[str, str]) -> Check:
    """Where our packages came from: PyPI has others of the same names, and so may the current folder."""
    roots = set(places.values())
    if len(roots) == 1:
        return Check("packages", "ok", f"schemas, pipeline and workers come from {roots.pop()}")
    listed = ", ".join(f"{name} from {place}" for name, place in places.items())
    return Check(
        "packages",
        "fail",
        listed,
        "packages of the same name stand in the way: give Titian an environment of its own",
    )


def modes(open_to_others: list[str], data: str) -> Check:
    """Whether others on this machine can read what is here."""
    if not open_to_others:
        return Check("modes", "ok", "only we can read the folder")
    listed = ", ".join(open_to_others[:5]) + (", ..." if len(open_to_others) > 5 else "")
    return Check("modes", "fail", f"others can read {listed}", f"chmod -R go= {data}")


def room(free_bytes: int, low_water_bytes: int) -> Check:
    """Room on the disk."""
    said = f"{free_bytes / _MIB:,.0f} MiB free"
    if free_bytes <= low_water_bytes:
        return Check("disk", "fail", f"{said}: new packets are refused", "free space on this disk")
    if free_bytes < 10 * max(low_water_bytes, 64 * _MIB):
        return Check(
            "disk", "warn", said, "free space before it runs out: enqueueing stops at low_water_bytes"
        )
    return Check("disk", "ok", said)


def fsync(ms: float | None) -> Check:
    """How long a durable write takes (median), milliseconds; `None`: it cannot be written."""
    if ms is None:
        return Check("fsync", "fail", "the folder cannot be written", "look at its owner, mode and disk")
    said = f"a durable write takes {ms:.2f} ms"
    if ms > FSYNC_MS_SLOW:
        return Check("fsync", "warn", said, "enqueueing waits for the disk: move the folder to a faster one")
    return Check("fsync", "ok", said)


def clock_forward(now_ms: int, newest_ms: int | None) -> Check:
    """Whether our clock went back behind what the store has seen (by the minute)."""
    if newest_ms is not None and newest_ms > now_ms + 60_000:
        minutes = (newest_ms - now_ms) / 60_000
        return Check(
            "clock",
            "warn",
            f"the store has seen a time {minutes:,.0f} min after now",
            "set the clock (timedatectl); packets are safe, but rates and times are wrong until then",
        )
    return Check("clock", "ok", "not behind what the store has seen")


def clock_off(off_ms: int | None) -> Check:
    """How far our clock is from the center's, milliseconds; `None`: not known."""
    if off_ms is None:
        return Check("clock to the center", "ok", "not known: the center has not been heard lately")
    said = f"{off_ms / 1000:+,.1f} s"
    if abs(off_ms) > CLOCK_OFF_MS:
        return Check("clock to the center", "warn", said, "set the clock (timedatectl), here or there")
    return Check("clock to the center", "ok", said)


def broker(name: str, reachable: bool | None, why: str, policy: str, kept: str = "yes") -> list[Check]:
    """A broker: `None`: the side is not running, so it need not be there. `policy`: what it does when
    full. `kept`: whether it keeps what it holds over a restart (its `appendonly`)."""
    if reachable is None:
        return [Check(name, "ok", "not running, as the side is not")]
    if not reachable:
        return [
            Check(
                name, "fail", f"does not answer: {why}", "look at DATA/run/logs; `titian up` starts it again"
            )
        ]
    checks = [Check(name, "ok", "answers")]
    if policy and policy != "noeviction":
        checks.append(
            Check(
                f"{name} eviction",
                "warn",
                f"maxmemory-policy is {policy}",
                "set noeviction: what it throws away is sent again, over the slow link",
            )
        )
    if kept == "no":
        said = "appendonly is no: a restart of it loses what lies there"
        do = "set appendonly yes: what it loses is sent again, over the slow link"
        checks.append(Check(f"{name} persistence", "warn", said, do))
    return checks


def denial(why: str) -> tuple[str, str]:
    """What a denial of the center's broker means (`why`: what it said), and what to do."""
    return _english(refusals.denial(why))


def refusal(code: str) -> tuple[str, str]:
    """What a refusal of the center means, and what to do."""
    return _english(refusals.refusal(code))


def _english(said: refusals.Refused) -> tuple[str, str]:
    return said.meaning.en, said.do.en


def served(link: Check, superseded: bool, refused: str, denied: str) -> Check:
    """`link`, unless the running worker says worse: a broker that lets us in is not yet a center that serves
    us. `refused`: the center's code; `denied`: what its broker said."""
    if link.level == "fail":
        return link
    if superseded or refused:
        meaning, do = _english(refusals.SUPERSEDED) if superseded else refusal(refused)
        return Check("link", "fail", meaning, do)
    if denied:
        meaning, do = denial(denied)
        return Check("link", "fail", f"the center's broker denies us: {meaning}; it said: {denied}", do)
    return link


def link(address: str, state: str, why: str) -> Check:
    """The way to the center's broker: `ok`, `unreachable`, `denied`."""
    if state == "ok":
        return Check("link", "ok", f"{address} answers and knows us")
    if state == "denied":
        meaning, do = denial(why)
        return Check("link", "fail", f"{address} denies us: {meaning}; it said: {why}", do)
    return Check(
        "link",
        "warn",
        f"{address} cannot be reached: {why}",
        "packets are kept and go when it is back; is the address right?",
    )


def running(pid: int | None, since: str, data: str) -> Check:
    """Whether `titian up` runs here."""
    if pid is None:
        return Check("running", "warn", "this side is not running", f"titian up --data {data}")
    return Check("running", "ok", f"process {pid}, since {since}")


def store(name: str, wrong: str) -> Check:
    """Whether a store opens."""
    if wrong:
        return Check(name, "fail", wrong, "stop this side, and restore or rebuild the file")
    return Check(name, "ok", "opens")


def lost(n: int) -> Check:
    """Packets that were acknowledged and are gone from the disk."""
    if n:
        return Check(
            "loss",
            "fail",
            f"{n:,} enqueued packets are gone from the disk",
            "check the disk; those citizens are in the center's list",
        )
    return Check("loss", "ok", "every enqueued packet is there")


def mirror(found: Mapping[str, Any]) -> Check:
    """The second disk (`pipeline.inspection.mirror`)."""
    path, missing = found["path"], f"{found['missing']:,} packets are not on it"
    if found["failing_since_ms"]:
        return Check("mirror", "fail", f"{found['why']}; {missing}", "packets are recorded, on one disk only")
    if found["same_disk"]:
        return Check(
            "mirror", "warn", f"{path} is on the disk of the outbox", "name a folder on another disk"
        )
    if found["missing"]:
        return Check("mirror", "note", f"{path} works; {missing} yet", "the running side puts them there")
    return Check("mirror", "ok", f"{path} {'works' if found['used'] else 'takes the next packet'}")
