"""The console's acts: steering, dead letters, at a center the holding of regions; by `workers/acts*.py`."""

from __future__ import annotations

from starlette.routing import BaseRoute

from pipeline.errors import UsageError
from pipeline.linksim.profile import parse_rate
from pipeline.throttle.steering import parse_hours
from schemas.lanes import Lane, parse_lane
from workers import acts, acts_center
from workers.acts import Done
from workers.console.acting import Act, Asked, act_route
from workers.console.answers import Answers

_UNITS = {"k": 1024, "m": 1024 * 1024}


def routes(answers: Answers) -> list[BaseRoute]:
    """Those of that side."""
    found: dict[str, Act] = {"retry": retry, "drop": drop}
    if answers.side.kind == "center":
        found |= {"hold": hold, "release": release}
    else:
        found |= {"pause": pause, "resume": resume, "cap": cap}
    return [act_route(answers, what, act) for what, act in found.items()]


def pause(asked: Asked) -> Done:
    """A lane, or every one, stands still."""
    return acts.pause(asked.folder, _lane(asked), asked.actor, asked.needed("reason"))


def resume(asked: Asked) -> Done:
    """It goes again."""
    return acts.resume(asked.folder, _lane(asked), asked.actor, asked.text("reason"))


def cap(asked: Asked) -> Done:
    """A lane, or each, goes no faster: `rate` in bits a second, `closed`, or `off`."""
    rate = asked.needed("rate").lower()
    bytes_s = None if rate == "off" else 0.0 if rate == "closed" else parse_rate(rate) / 8
    try:
        start, stop = parse_hours(asked.text("hours"))
    except ValueError as why:
        raise UsageError(str(why)) from None
    return acts.set_cap(asked.folder, _lane(asked), bytes_s, start, stop, asked.actor, asked.text("reason"))


def retry(asked: Asked) -> Done:
    """Dead letters are tried again."""
    return acts.retry(asked.folder, _which(asked), asked.actor, asked.text("reason"))


def drop(asked: Asked) -> Done:
    """Dead letters are given up, when that is confirmed."""
    reason = asked.needed("reason")
    if asked.text("sure") != "yes":
        raise UsageError("nothing was dropped: confirm it (sure) first; what is dropped is not sent again")
    return acts.drop(asked.folder, _which(asked), asked.actor, reason)


def hold(asked: Asked) -> Done:
    """A region is asked to hold, or to send in a smaller window."""
    window, seconds = asked.text("window"), asked.text("seconds")
    return acts_center.hold(
        asked.folder,
        asked.needed("region"),
        _size(window) if window else None,
        float(_digits(seconds, "seconds")) if seconds else None,
        asked.actor,
        asked.needed("reason"),
    )


def release(asked: Asked) -> Done:
    """It may send again as all others may."""
    return acts_center.release(asked.folder, asked.needed("region"), asked.actor, asked.text("reason"))


def _lane(asked: Asked) -> Lane | None:
    label = asked.text("lane")
    return parse_lane(label) if label else None


def _which(asked: Asked) -> list[str]:
    found = asked.every("id")
    if not found:
        raise UsageError("nothing was chosen: nothing was done")
    return found


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1].lower(), 1)
    return _digits(text[:-1] if unit > 1 else text, "window") * unit


def _digits(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise UsageError(f"{name} is a number such as 3600 (of a window: bytes, or 64k, 1M)")
    return int(text)
