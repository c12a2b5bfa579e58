"""What people do to the public notice, each act written down first (`workers.acts`): for command line and
console alike. All raise `UsageError`, `NotFound` and `StoreError` with what to do next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.folder import Folder
from pipeline.adapters.notices_file import read_notices, write_notices
from pipeline.errors import TitianError, UsageError
from pipeline.inspection.notice_own import Equipment, Notices, Own, Template
from pipeline.inspection.notice_until import DAY_MS
from workers.acts import Actor, Done

#: A plan is shown from so many days before it begins, and at most.
SHOWN_DAYS, SHOWN_DAYS_MAX = 7, 365


def write(
    folder: Folder,
    words: Template,
    actor: Actor,
    now_ms: int,
    *,
    from_ms: int | None = None,
    until_ms: int | None = None,
    shown_days: float | None = None,
    reason: str = "",
) -> Own:
    """A notice in people's own words, from then (`None`: now) until then (`None`: until it is ended). With
    `shown_days` it is shown as planned so long before it begins. Returns it with its number."""
    begins_ms = now_ms if from_ms is None else from_ms
    before_ms = 0
    if shown_days is not None:
        if not 0 <= shown_days <= SHOWN_DAYS_MAX:
            raise UsageError(f"a plan is shown 0 to {SHOWN_DAYS_MAX} days before it begins")
        if begins_ms <= now_ms:
            raise UsageError("a plan begins later than now: `titian notice write` says what is so already")
        before_ms = int(shown_days * DAY_MS)
    own = Own(
        0, words.what, words.text_id, words.text_en, begins_ms, until_ms, max(now_ms, begins_ms - before_ms)
    )
    what = "notice write" if shown_days is None else "notice plan"
    detail = {"from_ms": begins_ms, "until_ms": until_ms, "id": words.text_id, "en": words.text_en}
    after = _change(folder, actor, what, words.what, reason, lambda now: now.added(own, now_ms), detail)
    return after.notices[-1]


def end(folder: Folder, n: int, actor: Actor, now_ms: int, reason: str = "") -> Done:
    """End a notice, or take back one that has not begun."""
    _change(folder, actor, "notice end", str(n), reason, lambda now: now.ended(n, now_ms))
    return Done(1)


def save_template(folder: Folder, name: str, words: Template, actor: Actor, reason: str = "") -> Done:
    """Keep words under a name; one of that name is replaced."""
    detail = {"about": words.what, "id": words.text_id, "en": words.text_en}
    change: Callable[[Notices], Notices] = lambda now: now.with_template(name, words)  # noqa: E731
    _change(folder, actor, "notice template", name, reason, change, detail)
    return Done(1)


def set_equipment(
    folder: Folder,
    name: str,
    actor: Actor,
    now_ms: int,
    *,
    works: bool,
    reason: str = "",
    until_ms: int | None = None,
) -> Done:
    """Something of `EQUIPMENT` is broken (the public reads that at once), or works again."""
    if works and until_ms is not None:
        raise UsageError("--until is for what is broken")
    broken = None if works else Equipment(name, now_ms, until_ms, reason)
    detail = {"state": "ok" if works else "broken", "until_ms": until_ms}
    _change(folder, actor, "equipment", name, reason, lambda now: now.with_equipment(name, broken), detail)
    return Done(1)


def _change(
    folder: Folder,
    actor: Actor,
    what: str,
    target: str,
    reason: str,
    change: Callable[[Notices], Notices],
    detail: dict[str, Any] | None = None,
) -> Notices:
    """The log is held meanwhile: of two people who write at once the second sees what the first did. What is
    not allowed is refused before anything is written down."""
    folder.need("region")
    login = {"login": actor.login} if actor.login else {}
    with AuditFile(folder.path).writing() as log:
        after = change(read_notices(folder.path))
        n = log.add(actor.name, actor.via, what, target, reason, {**login, **(detail or {})})
        try:
            write_notices(folder.path, after)
        except (TitianError, OSError) as why:
            with suppress(TitianError, OSError):  # what is raised is what went wrong with the act itself
                log.add(actor.name, actor.via, what, target, reason, {"of": n, "failed": type(why).__name__})
            raise
    return after
