"""Making the two sides: their folders, and letting a region in. What `init`, `admit`, `revoke` do.

link-users.json   in a center's folder (0600): who may sign in at its link broker; `run/` can be made from it
    {"version": 1, "users": {"region-1806": {"region": "1806", "password_sha256": "..."}}}
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder, JoinFile, make_folder, read_join_file, write_private
from pipeline.adapters.ledger_sql import SqlLedger
from pipeline.errors import StoreDamaged, Unreachable, UsageError
from pipeline.linksim.profile import Address, parse_address
from schemas.identity import check_region
from schemas.keys import PrivateKey
from workers.embedded import AclUser, ValkeyServer, region_user, region_user_name
from workers.embedded_files import patiently
from workers.embedded_users import password_sha256
from workers.looking import ledger_place
from workers.making_toml import center_toml, region_toml

USERS_NAME = "link-users.json"
LINK_VALKEY = "link-valkey"
TOKEN_BYTES = 32


class Admitted(NamedTuple):
    """A region that was let in. `again`: it had been in before. `address`: what it will dial. `revoked`: it
    was shut out, so that the key in its old folder is over."""

    region: str
    address: Address
    again: bool
    only_here: bool
    revoked: bool = False


# --- init -----------------------------------------------------------------------------------------


def make_center(path: Path, listen: str, address: str) -> Folder:
    """A center's folder with key, settings and an empty ledger. Raises `UsageError` where there is one."""
    _fixed(listen, "--listen")
    if address:
        _fixed(address, "--address")

    def fill() -> Folder:
        folder = make_folder(path, center_toml(listen, address), PrivateKey.generate())
        SqlLedger(ledger_place(folder)).close()
        _write_users(folder, {})
        return folder

    return _whole(path, fill)


def make_region(path: Path, join_path: Path, *, rebuild: bool = False, mirror: Path | None = None) -> Folder:
    """A region's folder with key, settings, outbox and registry. Raises `UsageError` for a bad join file or a
    folder that is one already.

    `rebuild`: the registry comes back from the center, for this machine takes the place of one that is gone;
    `mirror` is where that one's outbox was mirrored."""
    from pipeline.adapters.outbox_sqlite import create_outbox
    from pipeline.adapters.recover_file import RecoverFile
    from pipeline.adapters.registry_sqlite import create_registry

    if mirror is not None and not rebuild:
        raise UsageError("a mirror belongs to a machine that is gone: --mirror goes with --rebuild")
    join = read_join_file(join_path)

    def fill() -> Folder:
        folder = make_folder(path, region_toml(join.region), PrivateKey.generate(join.region), join)
        create_outbox(folder.path, join.region)
        create_registry(folder.path, fresh=rebuild)
        if mirror is not None:
            RecoverFile(folder.path).begin(mirror.expanduser().resolve(), join.region)
        return folder

    return _whole(path, fill)


def _whole(path: Path, fill: Callable[[], Folder]) -> Folder:
    """The folder that `fill` makes, with mode 0700; if that fails half-way, nothing of it stays."""
    there, empty = path.exists(), path.is_dir() and not any(path.iterdir())
    if there and not path.is_dir():
        raise UsageError(f"{path} is a file: give a new or an empty folder")
    try:
        folder = fill()
        os.chmod(path, 0o700)
    except BaseException:
        if not there:
            shutil.rmtree(path, ignore_errors=True)
        elif empty:
            for one in path.iterdir():
                shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink(missing_ok=True)
        raise
    return folder


# --- admit and revoke -----------------------------------------------------------------------------


def admit_region(folder: Folder, code: str, out: Path, *, again: bool, address: str) -> Admitted:
    """Let region `code` in and write its join file to `out` (0600, a new file).

    With `again` the region gets a new join file for a new machine: the old one's password ends at once, its
    key when the new machine joins. Raises `UsageError`, `StoreError`, `Unreachable`; then `out` is not there.
    """
    check_region(code)
    dialled = _address_for_regions(folder, address)
    password, token = secrets.token_urlsafe(32), secrets.token_bytes(TOKEN_BYTES)
    join = JoinFile(
        code,
        dialled.host,
        dialled.port,
        region_user_name(code),
        password,
        folder.private_keys()[0].public.raw,
        token,
    )
    with _new_file(out, join.to_json()), _locked(folder):
        ledger = SqlLedger(ledger_place(folder))
        try:
            before = next((row for row in ledger.reader.regions() if row.code == code), None)
            known, revoked = before is not None, before is not None and before.revoked_ms is not None
            _check_again(code, known, again)
            ledger.admit(code, token, SystemClock().now_ms())
        finally:
            ledger.close()
        apply_region_user(folder, code, password)
    return Admitted(code, dialled, known, dialled.host in ("127.0.0.1", "localhost", "::1"), revoked)


def revoke_region(folder: Folder, code: str) -> bool:
    """Shut region `code` out: keys, token and password end now. False if it was never let in."""
    check_region(code)
    with _locked(folder):
        ledger = SqlLedger(ledger_place(folder))
        try:
            done = ledger.revoke(code, SystemClock().now_ms())
        finally:
            ledger.close()
        users = _read_users(folder)
        name = region_user_name(code)
        if users.pop(name, None) is not None:
            _write_users(folder, users)
        if folder.settings.link.url:
            _tell_own_broker(folder, ["ACL", "DELUSER", name])
        else:
            link_server(folder).del_user(name)
    return done


def apply_region_user(folder: Folder, code: str, password: str) -> None:
    """Let region `code` sign in at the link's broker with `password`: now if it runs, and at each start.

    Only the password's SHA-256 is kept. The caller holds the folder's lock of users (`admit_region` does).
    """
    user = region_user(code, password_sha256(password))
    users = _read_users(folder)
    users[user.name] = {"region": code, "password_sha256": user.password_sha256}
    _write_users(folder, users)
    if folder.settings.link.url:
        rules = re.findall(r"\([^)]*\)|\S+", user.rules)  # a selector in brackets is one word
        _tell_own_broker(
            folder, ["ACL", "SETUSER", user.name, "reset", "on", f"#{user.password_sha256}", *rules]
        )
    else:
        link_server(folder).set_user(user)


def link_users(folder: Folder) -> list[AclUser]:
    """Who may sign in at the embedded link broker: what `ValkeyServer(users=...)` is started with."""
    return [region_user(one["region"], one["password_sha256"]) for one in _read_users(folder).values()]


# --- inside ---------------------------------------------------------------------------------------


def link_server(folder: Folder) -> ValkeyServer:
    """The embedded link broker of a center, to speak to it; nothing is started."""
    return ValkeyServer(folder.run / LINK_VALKEY, users=None)


def _check_again(code: str, known: bool, again: bool) -> None:
    if known and not again:
        raise UsageError(
            f"region {code} is admitted already. For a new machine, or if its join file was lost: "
            f"titian admit {code} --again (the old machine is locked out then)"
        )
    if again and not known:
        raise UsageError(f"region {code} was never admitted: leave --again out")


def _address_for_regions(folder: Folder, address: str) -> Address:
    link = folder.settings.link
    if not address and not link.address and link.url:
        raise UsageError(
            "the center's link has a broker of its own (link.url): say with --address what regions dial"
        )
    dialled = _fixed(address or link.address or link.listen, "the address for regions")
    if dialled.host in ("0.0.0.0", "::", "*"):
        raise UsageError(
            f"regions cannot dial {dialled}: give --address HOST:PORT, or set link.address in titian.toml"
        )
    return dialled


def _fixed(text: str, what: str) -> Address:
    found = parse_address(text)
    if found.port == 0:
        raise UsageError(f"{what} {text}: port 0 is none that can be dialled; the usual one is 6380")
    return found


@contextmanager
def _new_file(path: Path, text: str) -> Iterator[None]:
    """Write a new file that only we can read; if what follows fails it is taken away again."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already and was left as it is: give another --out") from None
    except OSError as why:
        raise UsageError(f"{path} cannot be written: {why.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    with patiently(FileLock(folder.path / "link-users.lock")):
        yield


def _read_users(folder: Folder) -> dict[str, dict[str, str]]:
    path = folder.path / USERS_NAME
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        users: dict[str, dict[str, str]] = value["users"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        raise StoreDamaged(
            f"{path} is damaged: restore it, or remove it and `titian admit CODE --again` each region"
        ) from None
    return users


def _write_users(folder: Folder, users: dict[str, dict[str, str]]) -> None:
    write_private(folder.path / USERS_NAME, json.dumps({"version": 1, "users": users}, indent=2) + "\n")


def _tell_own_broker(folder: Folder, command: list[str]) -> None:
    """A command about users to a broker that is not ours. It must keep its users itself (its `aclfile`)."""
    import redis

    try:
        with redis.Redis.from_url(
            folder.settings.link.url, socket_timeout=5, socket_connect_timeout=5
        ) as client:
            client.execute_command(*command)
    except redis.exceptions.RedisError as why:
        said = " ".join(command)
        raise Unreachable(
            f"the broker of link.url did not do `{said}` ({why}): mend that and run it again"
        ) from why
