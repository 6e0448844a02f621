"""The audit log's chain: each entry seals its own text and the seal of the one before, under the key secret.

An entry is a JSON line whose last member, `hash`, is the HMAC-SHA256 of all the bytes before it; `previous` is the
`hash` of the entry before. So a changed byte, an entry that is gone, added or in another place shows, and who can write
the store but does not know the secret cannot mend it. What the chain alone cannot show is that its newest entries are
gone together with the note of the last one, `head`; a copy kept elsewhere shows that. `document` is the SHA-256 of what
the change left in force, so a change that went around the log shows as well.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

_SEAL = b',"hash":"'
_PURPOSE = b"gearshift audit\n"  # the secret also keys the HMACs of API keys


class AuditBroken(Exception):
    """The log is not what was written; the message says which entry shows it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an administrator did.

    Attributes:
        by: Who: ``cli:<user>@<host>`` or ``api:<key id>@<address>``.
        action: As in ``key.revoke``.
        target: Name of the tenant, id of the key.
        before, after: What was and what is, None for nothing. Never a key, nor the HMAC of one.
    """

    by: str
    action: str
    target: str
    before: Any = None
    after: Any = None


def head_of(number: int, digest: str) -> str:
    """What the store notes of the last entry."""
    return f"{number} {digest}"


def read_head(head: str) -> tuple[int, str]:
    """Number and hash of the last entry; (0, "") where there is none."""
    number, _, digest = head.partition(" ")
    return int(number or 0), digest


def sealed(change: Change, *, head: str, at: float, document: bytes, secret: bytes) -> tuple[bytes, str]:
    """The entry that follows `head`, made at POSIX time `at`, and the head that it makes.

    Args:
        document: What is in force once the change is made.
    """
    number, previous = read_head(head)
    told = {
        "n": number + 1,
        "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "by": change.by,
        "action": change.action,
        "target": change.target,
        "before": change.before,
        "after": change.after,
        "document": hashlib.sha256(document).hexdigest(),
        "previous": previous,
    }
    text = orjson.dumps(told)[:-1]
    digest = _digest(secret, text)
    return text + _SEAL + digest.encode() + b'"}', head_of(number + 1, digest)


def verify(lines: Sequence[bytes], *, secret: bytes) -> str:
    """Walk the whole chain; the head that its last entry makes, empty for no entry.

    Raises:
        AuditBroken: At the first entry that does not fit.
    """
    previous = ""
    for number, line in enumerate(lines, 1):
        previous = _checked(line, number=number, previous=previous, secret=secret)
    return head_of(len(lines), previous) if lines else ""


def verify_end(lines: Sequence[bytes], *, secret: bytes, head: str, document: bytes) -> None:
    """Walk the chain and compare its end with what the store says: `head`, and the `document` that is in force.

    Raises:
        AuditBroken: At the first entry that does not fit, or at the end.
    """
    found = verify(lines, secret=secret)
    if found != head:
        last = head.partition(" ")[0] or "none"
        raise AuditBroken(
            f"the log ends with entry {len(lines)}, but the last one written was entry {last}: entries at the end were "
            "removed, added or replaced; compare with a copy"
        )
    if lines and orjson.loads(lines[-1])["document"] != hashlib.sha256(document).hexdigest():
        raise AuditBroken(
            f"tenants or keys were changed after entry {len(lines)} without an entry; compare them with "
            "gearshift tenants list and keys list, or restore a backup"
        )


def _checked(line: bytes, *, number: int, previous: str, secret: bytes) -> str:
    """The entry's hash."""
    text, seal, rest = line.rpartition(_SEAL)
    if not seal or not hmac.compare_digest(rest, _digest(secret, text).encode() + b'"}'):
        hint = "; or it was written under another key secret than this one" if number == 1 else ""
        raise AuditBroken(f"entry {number} was changed after it was written{hint}")
    told = orjson.loads(text + b"}")
    if told["n"] > number:
        raise AuditBroken(f"entry {number} is missing: entry {told['n']} stands in its place")
    if told["n"] < number:
        raise AuditBroken(f"entry {told['n']} stands a second time, in place of entry {number}")
    if told["previous"] != previous:
        raise AuditBroken(f"entry {number} does not follow from the entry {number - 1} that stands before it")
    return rest[:-2].decode()


def _digest(secret: bytes, text: bytes) -> str:
    return hmac.digest(secret, _PURPOSE + text, "sha256").hex()
