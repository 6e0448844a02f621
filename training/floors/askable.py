"""Which logged decisions can be asked again as they were, and why the others cannot.

The log holds the last user text and nothing else of a request's messages. Asked without the system prompt, the tools or
the turns before it, a question is another question, and what the arms make of it says nothing of the traffic. So such
requests are left out and counted, each under what it has that the log lacks.
"""

from collections.abc import Mapping
from typing import Any

from policies.features import FEATURE_NAMES, estimate_tokens

NOT_STORED, NO_TRAINING = "prompt not stored", "training not allowed"
LATER_TURN, BESIDE_TEXT = "a later turn", "tools, an image or a demanded form"
OTHER_TEXTS = "a system prompt or other texts"
NO_ANSWER, NOT_PROMISED = "no whole answer", "nothing promised"

_PARTIAL = "the log holds the last user text alone, so these cannot be asked again and the watch says nothing of them"
ADVICE: Mapping[str, str] = {
    NOT_STORED: "set store_prompts: true for a tenant that agrees to it",
    NO_TRAINING: "tenants with training: false take no part; watch another tenant's traffic",
    LATER_TURN: _PARTIAL,
    BESIDE_TEXT: _PARTIAL,
    OTHER_TEXTS: _PARTIAL,
    NO_ANSWER: "see gearshift log why the answers fail",
    NOT_PROMISED: "let the reference arm answer this traffic, within max_usd",
}
_BESIDE_TEXT = [FEATURE_NAMES.index(name) for name in ("has_tools", "has_image", "wants_schema")]


def why_not(row: Mapping[str, Any], *, reference: str) -> str | None:
    """What stands against asking a joined row of the log again, a key of ``ADVICE``; None for nothing.

    A system prompt is known by the tokens that the request has beside its question: one of two or three letters may
    pass unseen, for the estimate rounds.
    """
    prompt = row["prompt"]
    if not (prompt or "").strip():
        return NOT_STORED
    if not row["features"]:
        return NO_TRAINING
    if row["turn"] != 1:
        return LATER_TURN
    if any(row["features"][place] for place in _BESIDE_TEXT):
        return BESIDE_TEXT
    if row["prompt_tokens"] != estimate_tokens(prompt):
        return OTHER_TEXTS
    if row["outcome_status"] != "ok":
        return NO_ANSWER
    return None if _promised(row, reference) else NOT_PROMISED


def _promised(row: Mapping[str, Any], reference: str) -> bool:
    """Whether the floor bound this decision: the reference arm could answer, and within the cap in USD."""
    if reference not in row["arms"]:
        return False
    usd, most = row["usd"][row["arms"].index(reference)], row["trade_off"][3]
    return usd is None or most is None or bool(usd <= most)
