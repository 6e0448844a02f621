"""The audit log as it lies in the store, with what it must agree with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.directory.kept import FIELDS
from router.store.keys import AUDIT_KEY, DIRECTORY_KEY

if TYPE_CHECKING:
    import redis


@dataclass(frozen=True, slots=True)
class Record:
    """Entries, oldest first, and the directory's head and document at the same moment."""

    lines: list[bytes]
    head: str
    document: bytes


def read_record(client: "redis.Redis", *, last: int | None = None) -> Record:
    """The whole log, or its `last` entries, in one transaction. Raises redis.RedisError."""
    with client.pipeline(transaction=True) as pipe:
        pipe.lrange(AUDIT_KEY, 0 if last is None else -last, -1)
        pipe.hmget(DIRECTORY_KEY, FIELDS)
        lines, (head, document) = pipe.execute()
    found: list[Any] = list(lines)
    return Record(found, (head or b"").decode(), document or b"")


def read_page(client: "redis.Redis", *, after: int, limit: int) -> list[bytes]:
    """At most `limit` entries that follow the `after` first ones. Raises redis.RedisError."""
    found: Any = client.lrange(AUDIT_KEY, after, after + limit - 1)
    return list(found)
