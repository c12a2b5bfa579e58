"""Who speaks, pure: what a `want` means for the conversation with its region (rule 16), and for its rebuild.

The center grants an instance a rising session and refuses instances that another one followed. A want is
numbered within its instance, so an older one that comes late changes nothing. No clock takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from schemas.messages import Want

#: How many instances that were followed by another are remembered, newest last.
PAST_MAX = 16
#: A session above this is not believed: nobody restarts that often.
SESSION_MAX = 2**40


@dataclass(frozen=True)
class Conversation:
    """How a region stands: the session granted to (`instance`, `grant`), and `n` of its latest want.

    `past`: instances that were superseded. `superseded`: the one that spoke last although it was.
    """

    session: int = 0
    instance: str = ""
    grant: int = 0
    n: int = 0
    past: tuple[str, ...] = ()
    superseded: str = ""


class Taken(Enum):
    """What became of a want."""

    GRANTED = "a session begins with it"
    LATEST = "it is the newest word of the session"
    OLD = "a newer one is known already"
    SUPERSEDED = "its instance was followed by another"
    RETIRED = "its key was followed by another"


@dataclass(frozen=True)
class Spoken:
    """The part of a `want` that decides."""

    instance: str
    grant: int
    n: int
    session: int = 0
    take_over: bool = False


def hear(now: Conversation, said: Spoken, last_session: int) -> tuple[Taken, Conversation]:
    """The conversation after a want (`now.instance` is empty where a new key ended it). `last_session` is the
    highest session that the broker has seen: a ledger restored from a backup must not grant one that was in
    use already (nor one below what the region has)."""
    if said.instance == now.instance:
        if said.grant < now.grant or said.n <= now.n:
            return Taken.OLD, now
        if said.grant == now.grant and said.session <= now.session:
            return Taken.LATEST, _replace(now, n=said.n)
        return Taken.GRANTED, _granted(now, said, last_session, now.past)
    held = now.instance != "" and 0 < said.session < now.session
    followed = said.instance in now.past or held
    if followed and not said.take_over:
        return Taken.SUPERSEDED, _replace(now, superseded=said.instance)
    past = [one for one in now.past if one != said.instance]
    if now.instance:
        past = [*(one for one in past if one != now.instance), now.instance]
    return Taken.GRANTED, _granted(now, said, last_session, tuple(past[-PAST_MAX:]))


def ended(now: Conversation) -> Conversation:
    """Nobody holds it any more: the machine was replaced, its key is retired. Sessions go on rising."""
    past = [one for one in (*now.past, now.instance) if one]
    return Conversation(now.session, past=tuple(past[-PAST_MAX:]))


def renewed(now: Conversation, session: int, last_session: int) -> Conversation:
    """The same instance goes on in the next session, if `session` is still the one. It is above every one
    that the broker has seen: a ledger that was restored does not know them all."""
    if session != now.session:
        return now
    known = last_session if last_session <= SESSION_MAX else 0
    return _replace(now, session=max(now.session, known) + 1)


def milestones(before: Want | None, now: Want) -> list[tuple[str, str]]:
    """Events (what, detail) of a rebuild between two wants of a region, the later of which is `now`: the
    office opens when the first pass is done, and everything is here when there is no way back any more."""
    was = before.back if before is not None and before.epoch == now.epoch else None
    found: list[tuple[str, str]] = []
    opened_ms = now.back.opened_ms if now.back is not None else 0
    over = was is not None and now.back is None and not now.fresh
    if (opened_ms or over) and (was is None or not was.opened_ms):
        at = f", at {opened_ms} ms by its clock" if opened_ms else ""
        found.append(("open_for_service", f"print-ready and open cases are at the region{at}"))
    if over and was is not None:
        found.append(("rebuilt", f"all records up to {was.top} are at the region"))
    return found


def _granted(now: Conversation, said: Spoken, last_session: int, past: tuple[str, ...]) -> Conversation:
    known = [one for one in (last_session, said.session) if one <= SESSION_MAX]
    session = max(now.session, *known) + 1
    return Conversation(session, said.instance, said.grant, said.n, past, "")


def _replace(now: Conversation, **changes: object) -> Conversation:
    return Conversation(**{**now.__dict__, **changes})
