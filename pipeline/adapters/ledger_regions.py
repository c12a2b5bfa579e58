"""Step 4: who may speak: admitting regions, binding their keys, their conversation; the ledger's lives."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, func, insert, select, update

from pipeline.adapters import ledger_epochs, ledger_was
from pipeline.adapters.ledger_books import Books
from pipeline.adapters.ledger_engine import Store, inserted_id, over_all_regions
from pipeline.adapters.ledger_tables import EPOCH, INCARNATION, INCARNATION_START, REGION, REGION_KEY, SETTING
from pipeline.center.outcomes import AlreadyBound, Bound, Joining, Revoked, TokenUsed, TokenWrong
from pipeline.center.reading import WantIs
from pipeline.center.sessions import Conversation, Spoken, Taken, ended, hear, milestones, renewed
from schemas.errors import SchemaError
from schemas.identity import check_region
from schemas.keys import PublicBytes, PublicKey
from schemas.messages import Join, Since, Want, pack_message, unpack_message

#: How many of the ledger's newest lives are told from one another; before that all is one.
SINCE_MAX = 256


def token_hash(token: bytes) -> bytes:
    """What the ledger keeps of a token."""
    return hashlib.sha256(b"titian token 1" + token).digest()


# --- admitting and binding ----------------------------------------------------------------------


def admit(connection: Connection, region: str, token: bytes, now_ms: int) -> bool:
    """Let a region in (or in again: its old key stays until the new one binds); False if it was in before."""
    check_region(region)
    over_all_regions(connection)  # no life of the ledger begins meanwhile, and misses this region
    values = {"token_hash": token_hash(token), "token_key": None, "revoked_ms": None}
    again = connection.execute(update(REGION).where(REGION.c.code == region).values(values)).rowcount
    if again:
        _keys_changed(connection)
        return False
    connection.execute(insert(REGION).values(code=region, admitted_ms=now_ms, **values))
    newest = connection.execute(select(func.max(INCARNATION.c.ord))).scalar()
    if newest is not None:
        start = {"region": region, "ord": newest, "facts": 0, "records": 0}
        connection.execute(insert(INCARNATION_START).values(start))
    return True


def revoke(connection: Connection, region: str, now_ms: int) -> bool:
    """Shut a region out: its keys do not verify from now on. False if it is not there."""
    done = connection.execute(
        update(REGION)
        .where(REGION.c.code == region)
        .values(revoked_ms=now_ms, token_hash=None, token_key=None)
    ).rowcount
    still_good = (REGION_KEY.c.region == region, REGION_KEY.c.revoked_ms.is_(None))
    connection.execute(update(REGION_KEY).where(*still_good).values(revoked_ms=now_ms))
    _keys_changed(connection)
    return bool(done)


def bind(connection: Connection, region: str, key: PublicKey, join: Join, now_ms: int) -> Joining:
    """What a `join` means: the token binds to the first key that shows it."""
    row = connection.execute(select(REGION).where(REGION.c.code == region).with_for_update()).one_or_none()
    if row is None or row.revoked_ms is not None:
        return Revoked()
    if row.token_hash is None or not secrets.compare_digest(row.token_hash, token_hash(join.token)):
        return TokenWrong()
    if row.token_key is not None:
        return AlreadyBound(key) if row.token_key == key.id else TokenUsed()
    known = connection.execute(select(REGION_KEY).where(REGION_KEY.c.key_id == key.id)).one_or_none()
    if known is not None and (known.region != region or known.revoked_ms is not None):
        return Revoked()
    good = (REGION_KEY.c.region == region, REGION_KEY.c.retired_ms.is_(None), REGION_KEY.c.key_id != key.id)
    retired = tuple(connection.execute(select(REGION_KEY.c.key_id).where(*good)).scalars())
    connection.execute(update(REGION_KEY).where(*good).values(retired_ms=now_ms))
    if known is None:
        values = {"key_id": key.id, "region": region, "sign": key.raw.sign, "seal": key.raw.seal}
        connection.execute(insert(REGION_KEY).values(**values, since_ms=now_ms))
    else:
        again = update(REGION_KEY).where(REGION_KEY.c.key_id == key.id).values(retired_ms=None)
        connection.execute(again)
    said: dict[str, Any] = {"token_key": key.id}
    if retired:  # what the old machine said last is not the word of the new one
        said |= {**_columns(ended(conversation(row))), "want": None}
    connection.execute(update(REGION).where(REGION.c.code == region).values(said))
    _keys_changed(connection)
    return Bound(key, retired)


class Keys:
    """The regions' keys in memory, read again when their version number in the ledger has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._version = -1
        self._good: dict[bytes, PublicKey] = {}
        self._current: dict[str, PublicKey] = {}
        self._loaded: dict[bytes, PublicKey] = {}

    def refresh(self) -> None:
        """Look whether a key changed; call it before a bite of frames is read."""
        with self._store.read() as connection:
            version = connection.execute(select(SETTING.c.value).where(SETTING.c.name == "keys")).scalar_one()
            if version == self._version:
                return
            rows = connection.execute(select(REGION_KEY).order_by(REGION_KEY.c.since_ms)).all()
        good: dict[bytes, PublicKey] = {}
        current: dict[str, PublicKey] = {}
        for row in rows:
            key = self._load(row)
            if row.revoked_ms is None:
                good[key.id] = key
            if row.retired_ms is None:
                current[row.region] = key
        self._good, self._current, self._version = good, current, version

    def signer_of(self, key_id: bytes) -> PublicKey | None:
        """The key of that id, unless it is revoked (retired ones still verify)."""
        return self._good.get(key_id)

    def current_of(self, region: str) -> PublicKey | None:
        """The key to which a region's frames are sealed."""
        return self._current.get(region)

    def _load(self, row: Any) -> PublicKey:
        found = self._loaded.get(row.key_id)
        if found is None:
            found = self._loaded[row.key_id] = PublicKey.load(PublicBytes(row.sign, row.seal), row.region)
        return found


def _keys_changed(connection: Connection) -> None:
    connection.execute(update(SETTING).where(SETTING.c.name == "keys").values(value=SETTING.c.value + 1))


# --- the conversation ---------------------------------------------------------------------------


def conversation(row: Any) -> Conversation:
    """The conversation as a region's row keeps it."""
    past = tuple(row.past.split()) if row.past else ()
    return Conversation(row.session, row.instance, row.grant_no, row.want_n, past, row.superseded)


def take_wants(
    connection: Connection,
    books: Books,
    row: Any,
    wants: Sequence[WantIs],
    current: bytes | None,
    last_session: int,
) -> tuple[list[tuple[Taken, WantIs]], dict[str, Any]]:
    """What became of each want of a region (whose row is locked), and the row's new values.

    `current` is the id of the region's key: a want under a retired key is of a machine that was replaced.
    """
    now, latest = conversation(row), None
    taken: list[tuple[Taken, WantIs]] = []
    heard: dict[str, int] = {}
    older = ledger_epochs.older(connection, row.code) if wants else set()
    for one in wants:
        want = one.want
        if one.signer.id != current:
            taken.append((Taken.RETIRED, one))
            continue
        spoken = Spoken(_one_word(want.instance), want.grant, want.n, want.session, want.take_over)
        what, now = hear(now, spoken, last_session)
        taken.append((what, one))
        if what is not Taken.LATEST or want.epoch not in older:  # it was told to leave it: `Ack.known_seq`
            heard[want.epoch] = max(want.highest_seq, heard.get(want.epoch, 0))
        if what in (Taken.GRANTED, Taken.LATEST):
            latest = want
    values: dict[str, Any] = {**_columns(now), "last_seen_ms": books.now_ms} if wants else {}
    if latest is not None:
        epoch = ledger_epochs.register(connection, row.code, latest.epoch, latest.earlier)
        ledger_was.take_runs(connection, books, row.code, epoch, latest.renumbered)
        for event, detail in milestones(_want_of(row.want), latest):
            books.event(event, detail=detail)
        values |= {"want": pack_message(latest), "epoch": latest.epoch, "highest_seq": latest.highest_seq}
    _heard(connection, row.code, heard, books.now_ms)
    return taken, values


def _heard(connection: Connection, region: str, heard: dict[str, int], now_ms: int) -> None:
    """How far each epoch had got, as its last wants say. One that never became the region's word (of a copy
    that spoke besides) counts as well: what it recorded exists; but it registers no epoch."""
    for epoch, seq in heard.items():
        of = update(EPOCH).where(EPOCH.c.region == region, EPOCH.c.epoch == epoch)
        higher = case((EPOCH.c.highest_seq < seq, seq), else_=EPOCH.c.highest_seq)
        connection.execute(of.values(highest_seq=higher, last_ms=now_ms))


def _want_of(packed: bytes | None) -> Want | None:
    """A stored want; `None` if there is none, or another version wrote it."""
    try:
        return None if packed is None else unpack_message(Want, packed)
    except SchemaError:
        return None


def renew_session(connection: Connection, region: str, session: int, last_session: int) -> int:
    """Grant the same instance a session after `session` (if that is still the one) and after `last_session`;
    returns the one in force now."""
    row = connection.execute(select(REGION).where(REGION.c.code == region).with_for_update()).one()
    now = renewed(conversation(row), session, last_session)
    connection.execute(update(REGION).where(REGION.c.code == region).values(_columns(now)))
    return now.session


def _columns(now: Conversation) -> dict[str, Any]:
    return {
        "session": now.session,
        "instance": now.instance,
        "grant_no": now.grant,
        "want_n": now.n,
        "past": " ".join(now.past),
        "superseded": now.superseded,
    }


def _one_word(instance: str) -> str:
    return "".join(instance.split()) or "?"


# --- incarnations -------------------------------------------------------------------------------


def open_incarnation(connection: Connection, now_ms: int) -> str:
    """Begin a life of the ledger: a random id, and where each region's numbers stand. Returns the id."""
    over_all_regions(connection)
    name = secrets.token_hex(8)
    made = connection.execute(insert(INCARNATION).values(id=name, at_ms=now_ms))
    begun = inserted_id(made)
    rows = connection.execute(
        select(REGION.c.code, REGION.c.facts_no, REGION.c.records_no).with_for_update()
    ).all()
    if rows:
        starts = [
            {"region": row.code, "ord": begun, "facts": row.facts_no, "records": row.records_no}
            for row in rows
        ]
        connection.execute(insert(INCARNATION_START), starts)
    return name


def since_of(connection: Connection, region: str) -> tuple[Since, ...]:
    """The ledger's lives with the last numbers given out to that region before each, oldest first."""
    rows = connection.execute(
        select(INCARNATION.c.id, INCARNATION_START.c.facts, INCARNATION_START.c.records)
        .join_from(INCARNATION_START, INCARNATION, INCARNATION.c.ord == INCARNATION_START.c.ord)
        .where(INCARNATION_START.c.region == region)
        .order_by(INCARNATION_START.c.ord.desc())
        .limit(SINCE_MAX)
    ).all()
    return tuple(Since(incarnation=row.id, facts=row.facts, records=row.records) for row in reversed(rows))
