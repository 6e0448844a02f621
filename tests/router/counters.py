"""What an account's record holds, read and changed past the store's functions."""

from router.store.accounts import RECORD
from router.store.ledger import PERS, Per


def with_spent(record: bytes, per: Per, *, by: int) -> bytes:
    """A record with that much more spent in one of its windows, which has to be among them."""
    numbers = list(RECORD.unpack(record))
    place = 1 + 2 * PERS.index(per)
    assert numbers[place] >= 0
    numbers[place] += by
    return RECORD.pack(*numbers)


def counts_in(record: bytes) -> tuple[float, float, float, float]:
    """What limits count: millisecond of the last change, requests and tokens in 60000ths, open requests."""
    at, requests, tokens, still_open = RECORD.unpack(record)[-5:-1]
    return at, requests, tokens, still_open
