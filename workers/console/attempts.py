"""How often signing in may be tried, pure: time is an argument. Right or wrong, each try is counted.

Two buckets: one for each address (an IPv6 network of /64 is one), and one for all together, since an
attacker may have many addresses and a try costs this machine a quarter of a second. What is right fills the
first again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

#: An address may try so often at once, and then once in so many seconds.
ADDRESS_TRIES, ADDRESS_EACH_S = 8, 15.0
#: The same for all addresses together.
ALL_TRIES, ALL_EACH_S = 20, 2.0
ADDRESSES_MAX = 4_096


@dataclass
class _Bucket:
    left: float
    at_s: float

    def wait_s(self, now_s: float, most: float, each_s: float) -> float:
        """Fill it up to `now_s`; how long until a try is allowed, seconds."""
        self.left = min(most, self.left + max(0.0, now_s - self.at_s) / each_s)
        self.at_s = now_s
        return 0.0 if self.left >= 1 else (1 - self.left) * each_s


@dataclass
class Attempts:
    """All of them."""

    _by_address: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)
    _all: _Bucket = field(default_factory=lambda: _Bucket(ALL_TRIES, 0.0))

    def wait_s(self, address: str, now_s: float) -> float:
        """Count a try from that address, and return 0; or, uncounted, how long it has to wait, seconds."""
        key = _network(address)
        bucket = self._by_address.setdefault(key, _Bucket(ADDRESS_TRIES, now_s))
        self._by_address.move_to_end(key)
        while len(self._by_address) > ADDRESSES_MAX:
            self._by_address.popitem(last=False)
        wait_s = max(
            bucket.wait_s(now_s, ADDRESS_TRIES, ADDRESS_EACH_S),
            self._all.wait_s(now_s, ALL_TRIES, ALL_EACH_S),
        )
        if wait_s:
            return wait_s
        bucket.left, self._all.left = bucket.left - 1, self._all.left - 1
        return 0.0

    def was_right(self, address: str) -> None:
        """The last try from there was right: its own bucket is full again."""
        self._by_address.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return found.ipv4_mapped.exploded if found.ipv4_mapped else found.exploded[:19]
    return found.exploded
