"""The settings of a side: one frozen model; `titian.toml`, then the environment, then the command line.

An unknown key is an error that names the nearest known one. Environment: `TITIAN_PUSH__FRAME_BYTES=16384`.
"""

from __future__ import annotations

import difflib
import os
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from pipeline.errors import UsageError
from schemas.limits import ATTACHMENT_BYTES_MAX, CHUNK_BYTES_MAX, PACKET_BYTES_MAX

SETTINGS_VERSION = 1
#: The port on which a center listens unless told otherwise.
CENTER_PORT = 6380
#: The port of each side's pages, unless told otherwise.
CONSOLE_PORTS = {"region": 6381, "center": 6382}

Bytes = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Broker(_Part):
    """`url` of the Redis or Valkey that carries this side's nudges; empty: the embedded one."""

    url: str = ""


class OutboxSettings(_Part):
    """`attachment_bytes_max`: the largest attachment. Below `low_water_bytes` of free disk new packets are
    refused; `ballast_bytes` lie ready to be freed for cleaning up then. Attachments are deleted here
    `retention_days` after their packet's final verdict (0: never)."""

    attachment_bytes_max: Annotated[int, Field(ge=1, le=PACKET_BYTES_MAX)] = ATTACHMENT_BYTES_MAX
    low_water_bytes: Bytes = 64 * 1024 * 1024
    ballast_bytes: Bytes = 8 * 1024 * 1024
    retention_days: Annotated[int, Field(ge=0)] = 30


class PushPart(_Part):
    """What `push` puts on the link, at most: bytes of a frame, of frames not yet accepted by the broker, and
    the level asked. Below these the throttle decides."""

    frame_bytes: Annotated[int, Field(ge=4096, le=CHUNK_BYTES_MAX)] = 32 * 1024
    link_window_bytes: Annotated[int, Field(ge=4096)] = 2 * 1024 * 1024
    level_bytes: Annotated[int, Field(ge=4096)] = 256 * 1024


class ThrottlePart(_Part):
    """`target_ms`: the most delay that we add for others on the link. `congestion`: the kernel's control that
    is asked for (empty: its default). `lower_effort`: mark what we send as RFC 8622 says."""

    target_ms: Annotated[int, Field(ge=5, le=1_000)] = 50
    congestion: str = "bbr"
    lower_effort: bool = True


class LinkPart(_Part):
    """`listen`: where the center's link broker listens. `address`: what regions dial, where that differs.
    `url`: a broker of your own instead of the embedded one. `memory_bytes_max` bounds the embedded one."""

    listen: str = f"127.0.0.1:{CENTER_PORT}"
    address: str = ""
    url: str = ""
    memory_bytes_max: Bytes = 2 * 1024 * 1024 * 1024


class LedgerPart(_Part):
    """`url`: an SQLAlchemy URL (PostgreSQL by psycopg); empty: SQLite in the folder. `events_days`: how long
    a packet's history is kept after its final verdict. `parts_days`: how long the parts of a large packet are
    kept after the last of them came."""

    url: str = ""
    events_days: Annotated[int, Field(ge=1)] = 90
    parts_days: Annotated[int, Field(ge=1)] = 30


class IntakePart(_Part):
    """`receipt_window_bytes`: what a region may have accepted and not acknowledged. `windows_bytes_max`: what
    all of them may have together (0: three quarters of what the link's broker may hold).

    The window is lowered while packets wait for `behind_s` for their verdict, and more and more with that;
    and on the way to `low_water_bytes` of free disk, below which regions are asked to hold (0: never).
    """

    receipt_window_bytes: Annotated[int, Field(ge=64 * 1024)] = 8 * 1024 * 1024
    windows_bytes_max: Bytes = 0
    behind_s: Annotated[float, Field(ge=1)] = 30.0
    low_water_bytes: Bytes = 256 * 1024 * 1024


class ConsolePart(_Part):
    """`listen`: where the side's pages and `/metrics` are served (`off`: nowhere; port 0: any free one).
    Empty: on this machine only, at the side's own port. Signing in ends after `session_s` without a request.
    `metrics_open`: `/metrics` also answers whoever has not signed in, from other machines too."""

    listen: str = ""
    session_s: Annotated[int, Field(ge=60)] = 8 * 3600
    metrics_open: bool = False


class AlarmsPart(_Part):
    """From when on something is an alarm. Each is also told to `webhook` (a URL that takes a POST of JSON)
    and to `command` (JSON on its standard input) when it begins and when it is over, and again every
    `repeat_s` while it lasts (0: never again). `settle_s`: one that lasts less is not told."""

    old_s: Annotated[float, Field(gt=0)] = 86_400.0
    link_down_s: Annotated[float, Field(ge=0)] = 60.0
    congested_s: Annotated[float, Field(gt=0)] = 1_800.0
    not_moving_s: Annotated[float, Field(gt=0)] = 300.0
    return_lag_s: Annotated[float, Field(gt=0)] = 3_600.0
    silent_s: Annotated[float, Field(gt=0)] = 3_600.0
    runway_days: Annotated[float, Field(ge=0)] = 14.0
    clock_off_s: Annotated[float, Field(gt=0)] = 60.0
    compared_days: Annotated[float, Field(gt=0)] = 3.0
    webhook: str = ""
    command: str = ""
    settle_s: Annotated[float, Field(ge=0)] = 30.0
    repeat_s: Annotated[float, Field(ge=0)] = 86_400.0

    @field_validator("webhook")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise ValueError("a webhook is a URL that begins with http:// or https://")
        _ = urlsplit(url).port  # raises ValueError where it is none
        return url

    @field_validator("command")
    @classmethod
    def _can_be_split(cls, command: str) -> str:
        if command and not shlex.split(command):
            raise ValueError("a command needs the name of a program")
        return command


class NoticePart(_Part):
    """The public notice. `office`: its name as citizens know it, `phone`: whom to call. A disturbance is said
    after `after_s`, is over after `clear_s` without it, and stays for `keep_s` after that. `folder`: the
    page and its JSON are written there too, for a web server of your own. `contact`: the payload's field by
    which "who waits" calls citizens back."""

    office: str = ""
    phone: str = ""
    after_s: Annotated[float, Field(ge=0)] = 600.0
    clear_s: Annotated[float, Field(ge=0)] = 600.0
    keep_s: Annotated[float, Field(ge=0)] = 86_400.0
    folder: str = ""
    contact: str = "telepon"


class LogPart(_Part):
    """`json` or `plain` lines; from which level on."""

    form: Literal["plain", "json"] = "plain"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseModel):
    """Everything that can be set. `side` says which half of the file counts. `mirror`: a folder on a second
    disk, where a region's packets are put as they are enqueued (empty: none)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    side: Literal["region", "center"]
    region: str = ""
    mirror: str = ""
    broker: Broker = Broker()
    outbox: OutboxSettings = OutboxSettings()
    push: PushPart = PushPart()
    throttle: ThrottlePart = ThrottlePart()
    link: LinkPart = LinkPart()
    ledger: LedgerPart = LedgerPart()
    intake: IntakePart = IntakePart()
    console: ConsolePart = ConsolePart()
    alarms: AlarmsPart = AlarmsPart()
    notice: NoticePart = NoticePart()
    log: LogPart = LogPart()


def settings_of(values: Mapping[str, Any]) -> Settings:
    """The settings with these values, over which the environment's win (`TITIAN_LOG__FORM=json`). Raises
    pydantic's `ValidationError`, or `UsageError` where a variable cannot be read."""
    known = {f"TITIAN_{name.upper()}" for name in Settings.model_fields}
    said = (name.upper().split("__")[0] for name in os.environ)
    if known.isdisjoint(said):
        return Settings(**values)
    from pipeline.settings_environment import with_environment  # its library costs a quick command too much

    return with_environment(values)


def parse_settings(text: str, where: str) -> Settings:
    """The settings of a `titian.toml`; raises `UsageError` that names the key and the nearest known one."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as why:
        raise UsageError(f"{where} is not TOML: {why}") from None
    version = values.get("version")
    if isinstance(version, int) and version > SETTINGS_VERSION:
        raise UsageError(
            f"{where} has version {version}, this Titian reads {SETTINGS_VERSION}: update Titian"
        )
    try:
        return settings_of(values)
    except ValidationError as why:
        raise UsageError(f"{where}: {complaint(errors_of(why)[0])}") from None


def read_settings(path: Path) -> Settings:
    """The settings of a file; raises `UsageError`."""
    try:
        return parse_settings(path.read_text(encoding="utf-8"), str(path))
    except OSError as why:
        raise UsageError(f"{path} cannot be read: {why.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None


def errors_of(why: ValidationError) -> list[ErrorDetails]:
    """What is wrong, without the values: they may be secrets."""
    return why.errors(include_url=False, include_input=False)


def complaint(first: ErrorDetails) -> str:
    """One of these in words: which key, and how it is right, or the nearest known one."""
    place = [str(part) for part in first["loc"]]
    name = ".".join(place)
    if first["type"] == "extra_forbidden":
        known = list(_known_keys(place[:-1]))
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
        return f"unknown key {name!r}; {hint}"
    if first["type"] == "missing":
        return f"the key {name!r} is missing"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"


def _known_keys(place: list[str]) -> Iterable[str]:
    model: Any = Settings
    for part in place:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
