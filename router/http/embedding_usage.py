"""What an embeddings call used, believed only as far as it makes sense, by the rules of `router.http.usage`."""

from typing import Any

from policies.prices import Usage
from router.http.usage import Source, believed, bounded
from router.http.usage_fields import read_counts


def read_embedding_usage(raw: Any, *, estimate: int, bound: int) -> tuple[Usage, Source, tuple[str, ...]]:
    """Validate reported usage; never raises.

    Args:
        raw: The endpoint's `usage`, of any JSON type.
        estimate: Our own count of the input's tokens, used where theirs makes no sense.
        bound: Tokens that the input cannot exceed.

    Returns:
        The usage; ``upstream`` or ``counted``; and a flag for everything that was odd.
    """
    if type(raw) is not dict:
        flag = "usage_missing" if raw is None else "usage_not_an_object"
        return Usage(input=estimate), "counted", (flag,)
    flags: list[str] = []
    counts = read_counts(raw, flags)
    told = counts.total if counts.input is None and not flags else counts.input  # some endpoints tell the total alone
    n_input = believed(told, estimate, "prompt_tokens", flags)
    if n_input is None:
        return Usage(input=estimate), "counted", tuple(flags)
    return Usage(input=bounded(n_input, bound, "prompt", flags)), "upstream", tuple(flags)
