"""What an account's windows hold, read and changed past the store's functions."""

from router.store.ledger import PACKED, PERS, Per


def with_spent(packed: bytes, per: Per, *, by: int) -> bytes:
    """An account's packed sums with that much more spent in one of its windows, which has to be among them."""
    sums = list(PACKED.unpack(packed))
    place = 1 + 2 * PERS.index(per)
    assert sums[place] >= 0
    sums[place] += by
    return PACKED.pack(*sums)
