"""What `titian doctor` asks of the servers: each side's broker, and the way to the center's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.folder import Folder
from pipeline.errors import TitianError
from pipeline.inspection import doctor
from pipeline.inspection.doctor import Check
from workers.embedded import ValkeyServer

#: How long a server may take to answer, seconds.
ANSWER_S = 3.0
#: The name of the center's broker of the link.
LINK = "link broker"


def broker_checks(name: str, folder: Folder, url: str, valkey: str, is_up: bool) -> Iterator[Check]:
    if not url and not is_up:
        yield from doctor.broker(name, None, "", "")
        return
    try:
        url = url or ValkeyServer(folder.path / "run" / valkey, users=None).url
        with _client(url) as client:
            client.ping()
            policy, kept = "", "yes"
            with suppress(redis.exceptions.ResponseError):  # CONFIG may be denied to us
                said: Any = client.config_get("maxmemory-policy")
                policy = str(said.get("maxmemory-policy", ""))
                if name == LINK:  # what lies in the other one is only a hint to look
                    asked: Any = client.config_get("appendonly")
                    kept = str(asked.get("appendonly", "yes"))
        yield from doctor.broker(name, True, "", policy, kept)
    except (redis.exceptions.RedisError, TitianError, OSError, ValueError) as why:
        yield from doctor.broker(name, False, " ".join(str(why).split()), "")


def link_check(folder: Folder) -> Check:
    """Dial the center's broker as the region does, and say who we are."""
    try:
        join = folder.join_file()
    except TitianError as why:
        return Check("link", "fail", str(why), "ask the center: titian admit CODE --again")
    address = f"{join.host}:{join.port}"
    try:
        with redis.Redis(
            host=join.host,
            port=join.port,
            username=join.username,
            password=join.password,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
        return doctor.link(address, "ok", "")
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as why:
        return doctor.link(address, "denied", str(why))
    except (redis.exceptions.RedisError, OSError, socket.gaierror) as why:
        return doctor.link(address, "unreachable", " ".join(str(why).split()))


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
