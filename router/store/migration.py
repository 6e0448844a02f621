"""Older data of a store, lifted to this version's schema by the first gateway of this version that connects."""

import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from router.store.connection import ReplyError
from router.store.keys import LIFTING_KEY, SCHEMA, SHARDS, Functions, log_key, shard_base

Send = Callable[..., Awaitable[object]]  # parts of a command -> its reply; raises ReplyError, ConnectionLost
_SCANNED = 1000  # keys the server looks at in one step, so that others are served in between


async def lift(send: Send, functions: Functions, *, since: int) -> None:
    """Lift every shard from schema `since`. Several gateways may do it at once, and one that died is made up for.

    Raises:
        ReplyError, ConnectionLost: What is not lifted yet stays as it is; do it again.
    """
    # A gateway of an earlier version that runs on loses its functions, looks at the schema and stops serving.
    for library in await _older_libraries(send):
        with contextlib.suppress(ReplyError):  # another gateway was faster
            await send("FUNCTION", "DELETE", library)
    windows = await _windows_of_schema_1(send) if since == 1 else {}
    for shard in range(SHARDS):
        found = windows.get(shard_base(shard).encode(), ())
        await send("FCALL", functions.name("lift"), 1, log_key(shard), since, *found)
    await send("DEL", LIFTING_KEY)


async def _older_libraries(send: Send) -> list[bytes]:
    """Names of the function libraries of earlier schemas: `gearshift_<schema>_<hash>`."""
    listed = await send("FUNCTION", "LIST", "LIBRARYNAME", "gearshift_*")
    assert isinstance(listed, list)
    names = [bytes(library[1]) for library in listed]  # b"library_name", name, b"engine", …
    return [name for name in names if int(name.split(b"_")[1]) < SCHEMA]


async def _windows_of_schema_1(send: Send) -> dict[bytes, Sequence[bytes]]:
    """By shard, the keys `…bud:<scope><account>:<per>:<label>`, hashes of `spent` and `reserved`."""
    found, cursor = defaultdict[bytes, set[bytes]](set), b"0"
    while True:
        reply = await send("SCAN", cursor, "MATCH", "gs:{s??}:bud:*", "COUNT", _SCANNED)
        assert isinstance(reply, list)
        cursor, keys = reply
        for key in keys:
            found[key[: len(shard_base(0))]].add(key)
        if cursor == b"0":
            return {base: sorted(keys) for base, keys in found.items()}
