"""Who sits before the client's program, as the log may know it: for the cost of one end user, not for who that is."""

import hmac

from router.tenants import Caller

PSEUDONYM = "hmac:"
_CLEAR_CHARS = 256


def end_user_of(caller: Caller, named: str, secret: bytes) -> str | None:
    """As the log has it, the request's `user` (or `safety_identifier`); None where it names nobody.

    An end user's id is personal data, so it is an HMAC bound to the tenant, the same for each of a user's requests;
    where the tenant stores prompts, which tell more, it stands as it came, up to 256 characters, until their term is
    over (`router.store.retention`). What begins with ``hmac:`` is always a pseudonym.
    """
    if not named:
        return None
    if caller.config.store_prompts and len(named) <= _CLEAR_CHARS and not named.startswith(PSEUDONYM):
        return named
    return pseudonym(named, organisation=caller.organisation, tenant=caller.tenant, secret=secret)


def pseudonym(named: str, *, organisation: str, tenant: str, secret: bytes) -> str:
    """What stands in the log in place of a name: ``hmac:`` and 32 hex digits."""
    text = f"{organisation}\0{tenant}\0end user\0{named}"
    return PSEUDONYM + hmac.digest(secret, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
