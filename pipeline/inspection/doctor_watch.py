"""Inspection, pure: does anybody watch this side, and what stands? For `titian doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.inspection.alarms_version import differs
from pipeline.inspection.doctor import Check

_LOGS = "see DATA/run/logs; `titian up` starts it again"


def watching(is_up: bool, ago_s: float | None) -> Check:
    """The watching process: how long ago it looked, seconds (`None`: too long, or never)."""
    if not is_up:
        return Check("watching", "ok", "not running, as the side is not")
    if ago_s is None:
        return Check("watching", "warn", "nobody has looked at this side lately: no alarm is told", _LOGS)
    return Check("watching", "ok", f"looked {ago_s:.0f} s ago")


def console(is_up: bool, wanted: str, state: Mapping[str, Any] | None) -> Check:
    """Where the pages are served. `wanted`: the setting; `state`: what run/console.json says."""
    if wanted == "off":
        return Check("console", "ok", "off, as console.listen says")
    if not is_up:
        return Check("console", "ok", "not running, as the side is not")
    if state is None or not state.get("listen"):
        why = str((state or {}).get("why") or "it has not said where")
        do = "set console.listen to a free address (it is tried again by itself)"
        return Check("console", "warn", f"not served: {why}", do)
    return Check("console", "ok", f"http://{state['listen']}/")


def alarms(document: Mapping[str, Any] | None) -> Iterator[Check]:
    """What stands (the document of `titian alarms`; `None`: the stores do not open), and who was not told."""
    if document is None:
        return
    codes = [one["code"] for one in document["alarms"]]
    if codes:
        said = f"{len(codes)} stand: {', '.join(codes)}"
        yield Check("alarms", "warn", said, "`titian alarms` says what to do about each")
    else:
        yield Check("alarms", "ok", "none stands")
    vain = {name for one in document["alarms"] for name, times in one["failed"].items() if times}
    for name in sorted(vain):
        said = f"the {name} could not be told"
        yield Check(f"alarm {name} reached", "warn", said, "`titian alarms --test` says what comes back")


def audit(exists: bool, wrong: str) -> Check:
    """The audit log's chain; `wrong`: what is, or empty."""
    if wrong:
        do = "keep the file as it is, find out who changed it, and compare it with a backup"
        return Check("audit log", "fail", wrong, do)
    return Check("audit log", "ok", "whole" if exists else "nobody has done anything yet")


def notice(folder: str, exists: bool, writable: bool) -> Check:
    """The folder into which the public notice is written for another web server; empty: none."""
    if not folder:
        return Check("notice folder", "ok", "not set (notice.folder): the notice is on our own pages only")
    if not exists:
        return Check("notice folder", "fail", f"{folder} does not exist", f"make it: mkdir -p {folder}")
    if not writable:
        return Check("notice folder", "fail", f"{folder} cannot be written", "give it to who runs Titian")
    return Check("notice folder", "ok", f"{folder} can be written")


def version(ours: str, theirs: str) -> Check:
    """Our Titian and the center's (empty: not known)."""
    if not theirs:
        return Check("version", "ok", f"Titian {ours}; the center has not said which it has")
    if differs(ours, theirs):
        return Check("version", "warn", f"Titian {ours}, the center has {theirs}", "update the older one")
    return Check("version", "ok", f"Titian {ours}, the center has {theirs}")


def versions(ours: str, regions: Sequence[Mapping[str, Any]]) -> Check:
    """A center's Titian, and its regions'."""
    off = [one["region"] for one in regions if differs(ours, str(one.get("titian") or ""))]
    if off:
        listed = ", ".join(off[:5]) + (", ..." if len(off) > 5 else "")
        said = f"Titian {ours}; {len(off):,} regions have another: {listed}"
        return Check("version", "note", said, "`titian regions` says which; update the older ones")
    return Check("version", "ok", f"Titian {ours}; no region is known to have another")
