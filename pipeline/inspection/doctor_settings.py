"""Inspection, pure: are the settings, the keys and the folder as they should be? For `titian doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from pipeline.inspection.doctor import Check

#: A key that is older is worth a thought, days.
KEY_DAYS_MAX = 365
_NEW_KEY = (
    "a key lives as long as its folder: `titian admit CODE --again` at the center, and `titian init region "
    "--join FILE --data NEWFOLDER --rebuild` here, make a new one when nothing waits any more"
)
_LOCAL = ("127.0.0.1", "::1", "localhost")


def settings(wrong: Sequence[str], unknown: Sequence[tuple[str, str]]) -> Iterator[Check]:
    """What of titian.toml and of the environment is not understood (`wrong`: no command but this one works),
    and variables that look like ours and set nothing, each with the nearest known one."""
    for one in wrong:
        do = "set it right: until then every other command ends with this; the checks below go by defaults"
        yield Check("settings", "fail", one, do)
    for name, near in unknown:
        said = f"{name} in the environment sets nothing"
        yield Check("settings", "warn", said, f"did you mean {near}?" if near else "take it away")
    if not wrong and not unknown:
        yield Check("settings", "ok", "titian.toml and the environment are understood")


def keys(count: int, wrong: str, age_days: float | None, side: str) -> Check:
    """Our private keys, and for how long the current one has been in use, days (`None`: not known)."""
    if wrong or not count:
        return Check(
            "keys", "fail", wrong or "there is no key", "restore DATA/keys from its backup, or init anew"
        )
    if age_days is None:
        return Check("keys", "ok", f"{count} of our own")
    said = f"{count} of our own, {age_days:,.0f} days old by the date of the file"
    if age_days <= KEY_DAYS_MAX:
        return Check("keys", "ok", said)
    if side == "region":
        return Check("keys", "warn", said, _NEW_KEY)
    kept = "a center's key cannot be renewed yet: see that its backup is safe, and who can read it"
    return Check("keys", "note", said, kept)


def owners(ours: bool, others: Sequence[str], user: str, data: str) -> Check:
    """Whom the folder belongs to: `ours`, whether it is who runs this; `others`: what in it belongs to
    somebody else than the folder does (somebody ran a command as root, say)."""
    if others:
        listed = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        said = f"{listed} in it belong to somebody else than the folder"
        return Check("owner", "fail", said, f"as root: chown -R --reference={data} {data}")
    if not ours:
        said = f"the folder belongs to {user}, and not to who runs this"
        return Check("owner", "warn", said, f"run Titian as {user} (sudo -u {user})")
    return Check("owner", "ok", f"the folder and what is in it belong to {user}")


def zone(name: str, off_s: float) -> Check:
    """The time zone in which timetables (`titian cap`) and dates on pages are meant."""
    hours = f"UTC{off_s / 3600:+g}" if off_s else "UTC"
    if off_s == 0:
        do = "`timedatectl set-timezone Asia/Jakarta` (or Makassar, Jayapura), then start Titian again"
        return Check("time zone", "note", "local time is UTC here: timetables and pages go by it", do)
    return Check("time zone", "ok", f"{name} ({hours})")


def telling(webhook: str, program: str, found: bool) -> Iterator[Check]:
    """Whom alarms are told to. `program` is the command's (empty: none), `found` whether it is here."""
    if webhook:
        where = urlsplit(webhook)
        if where.scheme == "http" and where.hostname not in _LOCAL:
            said = f"alarms go to {where.hostname} unencrypted"
            yield Check("alarm webhook", "note", said, "use https:// if it has that")
        else:
            yield Check("alarm webhook", "ok", f"alarms go to {where.hostname}")
    if program and not found:
        do = "set alarms.command right; `titian alarms --test` tries it"
        yield Check("alarm command", "fail", f"{program} is no program that can be run here", do)
    elif program:
        yield Check("alarm command", "ok", f"alarms go to {program}")
    if not webhook and not program:
        said = "alarms go to the log and the pages only"
        yield Check("alarm webhook", "ok", f"{said} (alarms.webhook and alarms.command are not set)")
