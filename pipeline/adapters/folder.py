"""One side's folder: where its settings, keys, databases and running state lie, and with which modes.

titian.toml        settings (0600)
keys/NAME.json     our private keys (0600); the newest is `current`, older ones stay to read old frames
center.json        a region's join file: the center's address, credentials and public keys (0600)
outbox.db, registry.db, highest-seq      a region's stores        (adapters/outbox_sqlite.py ...)
ledger.db          the center's store                             (adapters/ledger_sql.py)
watch.db           what was seen over time, on either side         (adapters/watch_store.py)
run/               locks, ticks, logs and Valkey's files: may be deleted while the side is stopped
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import NotFound, UsageError, WrongSide
from pipeline.settings import Settings, read_settings
from schemas.identity import check_region

if TYPE_CHECKING:  # who only looks does not load the library of ciphers
    from schemas.keys import PrivateKey, PublicBytes, PublicKey

SETTINGS_NAME = "titian.toml"
#: Where `init region --rebuild --mirror` notes how far it is (`pipeline.adapters.recover_file`).
RECOVER_NAME = "recover.json"
DEFAULT_FOLDER = Path("/var/lib/titian")


class JoinFile(NamedTuple):
    """What the center gives a region: where it is, how to sign in, its public keys, and a one-time token."""

    region: str
    host: str
    port: int
    username: str
    password: str
    center: PublicBytes
    token: bytes

    def to_json(self) -> str:
        """The text of the file."""
        return (
            json.dumps(
                {
                    "titian_join": 1,
                    "region": self.region,
                    "host": self.host,
                    "port": self.port,
                    "username": self.username,
                    "password": self.password,
                    "center_sign": _b64(self.center.sign),
                    "center_seal": _b64(self.center.seal),
                    "token": _b64(self.token),
                },
                indent=2,
            )
            + "\n"
        )


def read_join_file(path: Path) -> JoinFile:
    """The join file at `path`; raises `UsageError` that says what is wrong with it."""
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as why:
        raise UsageError(f"the join file {path} cannot be read: {why.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is not a join file: it is not JSON") from None
    if not isinstance(value, dict) or value.get("titian_join") != 1:
        raise UsageError(f"{path} is not a join file: `titian admit CODE --out FILE` at the center makes one")
    try:
        from schemas.keys import PublicBytes, PublicKey

        center = PublicBytes(_unb64(value["center_sign"]), _unb64(value["center_seal"]))
        PublicKey.load(center)
        join = JoinFile(
            check_region(value["region"]),
            str(value["host"]),
            int(value["port"]),
            str(value["username"]),
            str(value["password"]),
            center,
            _unb64(value["token"]),
        )
    except (KeyError, TypeError, ValueError) as why:
        raise UsageError(f"the join file {path} is damaged ({why}): ask the center for a new one") from None
    if not 1 <= join.port <= 65535 or len(join.token) < 16:
        raise UsageError(f"the join file {path} is damaged: ask the center for a new one")
    return join


@dataclass(frozen=True)
class Folder:
    """A side's folder that exists. `how` says how it was found."""

    path: Path
    settings: Settings
    how: str = "--data"

    @property
    def run(self) -> Path:
        """Locks, ticks, logs: made when first asked for, but not where the folder itself is gone."""
        return _private_dir(self.path / "run", parents=False)

    @property
    def logs(self) -> Path:
        """Log files of the side's processes."""
        return _private_dir(self.run / "logs")

    def need(self, side: str) -> Folder:
        """This folder, if it is that side's; raises `WrongSide`."""
        if self.settings.side != side:
            raise WrongSide(
                f"{self.path} is a {self.settings.side}'s folder; this command belongs to the {side}: "
                f"give that one's folder with --data"
            )
        return self

    def join_file(self) -> JoinFile:
        """The region's join file; raises `UsageError` where it is none, or another region's."""
        path = self.path / "center.json"
        join = read_join_file(path)
        if join.region != self.settings.region:
            raise UsageError(
                f"{path} is the join file of region {join.region}, and this folder is that of region "
                f"{self.settings.region}: put the right one there "
                f"(`titian admit {self.settings.region} --again` at the center makes a new one)"
            )
        return join

    def center_key(self) -> PublicKey:
        """The center's public keys, as the join file names them."""
        from schemas.keys import PublicKey

        return PublicKey.load(self.join_file().center)

    def private_keys(self) -> list[PrivateKey]:
        """Our keys, the current one first; raises `NotFound` where there is none."""
        from schemas.keys import PrivateKey

        region = self.settings.region or None
        keys = []
        for path in sorted((self.path / "keys").glob("*.json"), reverse=True):
            value = json.loads(path.read_text(encoding="utf-8"))
            keys.append(PrivateKey.load(_unb64(value["sign"]), _unb64(value["seal"]), region))
        if not keys:
            raise NotFound(f"{self.path / 'keys'} holds no key: restore it, or init this side anew")
        return keys


def find_folder(data: Path | None, env: dict[str, str] | None = None, cwd: Path | None = None) -> Folder:
    """The folder that `--data`, `TITIAN_DATA`, a `titian.toml` here or above, or the default names.

    Raises `UsageError` that says where it looked.
    """
    return open_folder(*find_place(data, env, cwd))


def find_place(
    data: Path | None, env: dict[str, str] | None = None, cwd: Path | None = None
) -> tuple[Path, str]:
    """Where that folder is, and how it was found; its settings are not read. Raises `UsageError`."""
    env = dict(os.environ) if env is None else env
    if data is not None:
        return data, "--data"
    if env.get("TITIAN_DATA"):
        return Path(env["TITIAN_DATA"]), "TITIAN_DATA"
    here = (cwd or Path.cwd()).resolve()
    for place in (here, *here.parents):
        if (place / SETTINGS_NAME).is_file():
            return place, f"{SETTINGS_NAME} in {place}"
    if (DEFAULT_FOLDER / SETTINGS_NAME).is_file():
        return DEFAULT_FOLDER, "the default folder"
    raise UsageError(
        f"no side's folder: give --data DIR or set TITIAN_DATA (no {SETTINGS_NAME} in {here} or above, "
        f"none in {DEFAULT_FOLDER}); `titian init center` or `titian init region` makes one"
    )


def open_folder(path: Path, how: str = "--data") -> Folder:
    """The folder at `path`; raises `UsageError` if it is none."""
    if not (path / SETTINGS_NAME).is_file():
        raise UsageError(
            f"{path} is no side's folder (it has no {SETTINGS_NAME}): "
            "`titian init center` or `titian init region` makes one"
        )
    return Folder(path.resolve(), read_settings(path / SETTINGS_NAME), how)


def make_folder(path: Path, toml: str, key: PrivateKey, join: JoinFile | None = None) -> Folder:
    """A new side's folder, mode 0700; raises `UsageError` if there is one already."""
    if (path / SETTINGS_NAME).exists():
        raise UsageError(f"{path} is a side's folder already: nothing was changed")
    if path.exists() and any(path.iterdir()):
        raise UsageError(f"{path} is not empty: give a new or an empty folder")
    _private_dir(path)
    _private_dir(path / "keys")
    sign, seal = key.private_bytes()
    write_private(
        path / "keys" / "0001.json", json.dumps({"version": 1, "sign": _b64(sign), "seal": _b64(seal)})
    )
    if join is not None:
        write_private(path / "center.json", join.to_json())
    write_private(path / SETTINGS_NAME, toml)  # last: a folder without it is no side's
    return open_folder(path)


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all, and durably."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _private_dir(path: Path, *, parents: bool = True) -> Path:
    path.mkdir(mode=0o700, parents=parents, exist_ok=True)
    return path


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as why:
        raise ValueError(f"not base64: {why}") from None
