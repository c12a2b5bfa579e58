"""Steps 3 to 4 and 6 to 7: the center's end of the link: its own broker, on the same machine.

Entry and hint are written by one script, not by MULTI: a transaction does not stop at a refused XADD, so the
hint would move without its entry. Attempts are counted by HINCRBY, which a broker without memory refuses;
then by a script that is allowed to: otherwise intake could not read, and nothing would free that memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from pipeline.adapters.redis_wire import (
    FIELD,
    attempts_key,
    ctl_key,
    down_key,
    hint_key,
    is_not_above,
    pack_hint,
    parse_entry,
    unpack_hint,
    up_key,
)
from pipeline.center.sessions import SESSION_MAX
from pipeline.errors import Unreachable
from pipeline.ports import READ_BYTES_MAX, Arrival, DownHint, EntryId
from schemas.limits import FRAME_BYTES_MAX

#: Entries fetched at a time, before their sizes are known.
READ_AT_A_TIME = 8
#: The longest single wait at the broker, seconds, below the socket's timeout.
BLOCK_S_MAX = 2.0
SOCKET_TIMEOUT_S = 10.0

_COUNT_WITHOUT_MEMORY = """#!lua flags=allow-oom
local counts = {}
for i, field in ipairs(ARGV) do counts[i] = redis.call('HINCRBY', KEYS[1], field, 1) end
return counts
"""
_PUT_DOWN = """
local put = redis.pcall('XADD', KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if put['err'] then return put end
redis.call('SET', KEYS[2], ARGV[4])
return put
"""

P = ParamSpec("P")
R = TypeVar("R")


def _translated(method: Callable[P, R]) -> Callable[P, R]:
    """redis-py's errors become `Unreachable`."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except OutOfMemoryError as why:
            raise Unreachable(f"the center's link broker has no memory: {why}") from why
        except (RedisError, OSError) as why:
            raise Unreachable(f"the center's link broker does not answer: {why}") from why

    call.__doc__ = method.__doc__
    return call


class RedisCenterLink:
    """See `CenterLink`. May be used by several threads. `client` answers in bytes and never retries."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    @classmethod
    def from_url(cls, url: str) -> RedisCenterLink:
        """On a redis-py URL (`redis://`, `unix://`) with the center's own user."""
        retry = Retry(NoBackoff(), 0)  # a repeated HINCRBY or XADD is not the same as one
        timeout_s = SOCKET_TIMEOUT_S
        client = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=retry, protocol=2
        )
        return cls(client)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    @_translated
    def memory(self) -> tuple[int, int]:
        """See the port. A broker that does not say it (fakeredis has no INFO) is one without a bound."""
        try:
            said = self._client.info("memory")
        except ResponseError:
            return 0, 0
        return int(said.get("used_memory", 0)), int(said.get("maxmemory", 0))

    @_translated
    def wait(self, regions: Sequence[str], wait_s: float) -> None:
        """See the port."""
        if not regions:
            time.sleep(wait_s)
            return
        deadline_s = time.monotonic() + wait_s
        streams = {key(region): "0-0" for region in regions for key in (ctl_key, up_key)}
        while (left_s := deadline_s - time.monotonic()) > 0:
            block_ms = max(1, int(1000 * min(left_s, BLOCK_S_MAX)))  # 0 would be for ever
            # XREAD alone would bring an entry of every stream that has any: so ask for lengths first.
            if self.lengths(regions) or self._client.xread(streams, count=1, block=block_ms):
                return

    @_translated
    def lengths(self, regions: Sequence[str]) -> dict[str, tuple[int, int]]:
        """See the port."""
        pipeline = self._client.pipeline(transaction=False)
        for region in regions:
            pipeline.xlen(ctl_key(region)).xlen(up_key(region))
        # A key that is no stream stands in the way of its own region only, when that is read.
        answers = [_length(one) for one in pipeline.execute(raise_on_error=False)]
        both = zip(regions, answers[::2], answers[1::2], strict=True)
        return {region: (ctl, up) for region, ctl, up in both if ctl or up}

    @_translated
    def read(self, region: str, stream: str, count: int, bytes_max: int = READ_BYTES_MAX) -> list[Arrival]:
        """See the port."""
        found: list[tuple[str, bytes]] = []
        # No more is fetched than about what is asked for, however large its frames are.
        read_bytes, first, fetch = 0, "-", max(1, min(READ_AT_A_TIME, bytes_max // FRAME_BYTES_MAX))
        while len(found) < count and read_bytes < bytes_max:
            wanted = min(fetch, count - len(found))
            items = self._client.xrange(_stream_key(region, stream), min=first, count=wanted)
            # An entry that is not of our making has no such field: it goes on as an empty frame, and aside.
            found += [(text.decode(), fields.get(FIELD, b"")) for text, fields in items]
            if len(items) < wanted:
                break
            read_bytes = sum(len(frame) for _, frame in found)
            first = f"({found[-1][0]}"
            fetch = max(1, (bytes_max - read_bytes) * len(found) // max(1, read_bytes))
        found = _up_to(found, bytes_max)
        counts = self._count(region, stream, [text for text, _ in found])
        return [Arrival(text, frame, reads - 1) for (text, frame), reads in zip(found, counts, strict=True)]

    @_translated
    def delete(self, region: str, stream: str, ids: Sequence[str]) -> None:
        """See the port."""
        if not ids:
            return
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xdel(_stream_key(region, stream), *ids)
        pipeline.hdel(attempts_key(region), *(f"{stream}:{one}" for one in ids))
        pipeline.execute()

    @_translated
    def last_session(self, region: str) -> int:
        """See the port. An `up` with an id of no session there ever was (whoever has the region's password
        can do that) would take no entry of the region again: it is dropped; what lay in it is sent anew.
        """
        last_up = self._last(up_key(region)).session
        if last_up > SESSION_MAX:
            self._client.delete(up_key(region))
            last_up = 0
        return max(last_up, self._last(down_key(region)).session)

    @_translated
    def put_down(self, region: str, entry: EntryId, frame: bytes, hint: DownHint) -> bool:
        """See the port. A broker without memory is `Unreachable`."""
        keys = (down_key(region), hint_key(region))
        try:
            self._client.eval(_PUT_DOWN, len(keys), *keys, str(entry), FIELD, frame, pack_hint(hint))
        except ResponseError as why:
            if is_not_above(str(why).encode()):
                return False
            raise
        return True

    @_translated
    def hint(self, region: str) -> DownHint | None:
        """See the port."""
        stored = self._client.get(hint_key(region))
        return None if stored is None else unpack_hint(stored)

    @_translated
    def down_first(self, region: str) -> EntryId | None:
        """See the port."""
        items = self._client.xrange(down_key(region), count=1)
        return parse_entry(items[0][0]) if items else None

    @_translated
    def clear_down(self, region: str) -> None:
        """See the port. The stream remembers its last id."""
        self._client.xtrim(down_key(region), maxlen=0, approximate=False)

    # --- inside ---------------------------------------------------------------------------------

    def _count(self, region: str, stream: str, ids: Sequence[str]) -> list[int]:
        """Count a read of each; returns the counts with this one."""
        if not ids:
            return []
        fields = [f"{stream}:{one}" for one in ids]
        pipeline = self._client.pipeline(transaction=True)
        for field in fields:
            pipeline.hincrby(attempts_key(region), field, 1)
        try:
            return [int(one) for one in pipeline.execute()]
        except (OutOfMemoryError, redis.exceptions.ExecAbortError):
            counts = self._client.eval(_COUNT_WITHOUT_MEMORY, 1, attempts_key(region), *fields)
            return [int(one) for one in counts]

    def _last(self, key: str) -> EntryId:
        try:
            return parse_entry(self._client.xinfo_stream(key)["last-generated-id"])
        except ResponseError as why:
            if "no such key" in str(why):
                return EntryId(0, 0)
            raise


def _length(answer: Any) -> int:
    if isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer):
        return 1
    if isinstance(answer, Exception):
        raise answer
    return int(answer)


def _up_to(found: list[tuple[str, bytes]], bytes_max: int) -> list[tuple[str, bytes]]:
    """The first entries, to the one with which their frames reach `bytes_max`."""
    read_bytes = 0
    for n, (_, frame) in enumerate(found, start=1):
        read_bytes += len(frame)
        if read_bytes >= bytes_max:
            return found[:n]
    return found


def _stream_key(region: str, stream: str) -> str:
    return {"ctl": ctl_key, "up": up_key}[stream](region)
