"""What an embeddings call used, believed only as far as it makes sense, like `router.http.usage` for answers."""

from typing import Any

from policies.prices import Usage
from router.http.usage import MAX_PLAUSIBLE, Source

_OVER_BOUND, _SLACK = 1.5, 64  # as of completions: what is above is not believed


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
    given = raw.get("prompt_tokens", raw.get("total_tokens"))
    if given is None:
        return Usage(input=estimate), "counted", ("missing_prompt_tokens",)
    if type(given) is not int or not 0 <= given <= MAX_PLAUSIBLE:
        return Usage(input=estimate), "counted", ("bad_prompt_tokens",)
    if given == 0:
        return Usage(input=estimate), "counted", ("zero_prompt_tokens",)
    if given <= bound:
        return Usage(input=given), "upstream", ()
    if given <= bound * _OVER_BOUND + _SLACK:
        return Usage(input=given), "upstream", ("over_bound",)
    return Usage(input=bound), "upstream", ("over_bound", "implausible_prompt_tokens")
