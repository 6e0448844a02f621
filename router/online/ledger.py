"""What the one learner of an artifact keeps in the store: its lease, what it has learned, and how far it has read.

State, position and waiting decisions change together in one call, and only while the lease is held. So whoever takes
over, after a crash at any point, goes on exactly where the last published state ended.
"""

import secrets
from collections.abc import Collection, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from router.store.keys import Functions, OnlineKeys, online_keys

if TYPE_CHECKING:
    import redis

KEEP_S = 30 * 86_400  # of an artifact that nobody serves any more


class Hold(Enum):
    """Whose lease it is."""

    OTHERS = 0
    HELD = 1
    TAKEN = 2


class Ledger:
    """One process's access to the state of one artifact; its token is its own."""

    def __init__(self, client: "redis.Redis", functions: Functions, *, artifact: str, lease_s: float) -> None:
        self.keys: OnlineKeys = online_keys(artifact)
        self._client, self._functions, self._lease_ms = client, functions, int(lease_s * 1000)
        self._owner = secrets.token_hex(16)

    def hold(self) -> Hold:
        """Take the lease or renew it."""
        return Hold(self._call("hold", 1, self.keys.lease, self._owner, self._lease_ms))

    def release(self) -> None:
        """Let the next learner begin at once."""
        self._call("release", 1, self.keys.lease, self._owner)

    def now(self) -> float:
        """POSIX seconds by the store's clock."""
        seconds, microseconds = self._client.time()
        return float(seconds) + float(microseconds) / 1e6

    def state(self) -> dict[bytes, bytes]:
        """What was published last; empty for an artifact nothing was learned of."""
        found: Any = self._client.hgetall(self.keys.state)
        return dict(found)

    def waiting(self) -> dict[str, bytes]:
        """Records of the decisions that were kept with it."""
        return {name.decode(): record for name, record in self._client.hscan_iter(self.keys.waiting, count=1000)}

    def publish(
        self, fields: Mapping[str, bytes | str | int | float], *, dropped: Collection[str], changed: Mapping[str, bytes]
    ) -> bool:
        """Write all of it or, where the lease is another's by now, nothing and return False."""
        flat = [part for pair in fields.items() for part in pair]
        records = [part for pair in changed.items() for part in pair]
        names = (self.keys.lease, self.keys.state, self.keys.waiting)
        counted = (len(fields), *flat, len(dropped), *dropped, *records)
        return bool(self._call("publish", 3, *names, self._owner, KEEP_S, *counted))

    def _call(self, function: str, n_keys: int, *parts: Any) -> Any:
        return self._client.fcall(self._functions.name(function), n_keys, *parts)
