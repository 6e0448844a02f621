"""The most that a request can cost on an arm: what is reserved before the arm is asked."""

from policies.policy import ArmFacts
from policies.prices import TOKENS_PER_PRICE, Price
from router.ask import Ask
from router.config.budgets import is_free, is_local
from router.http.parse import ChatRequest
from router.outgoing import outgoing, sent_max_tokens

# What no text of the request accounts for: a template's frame, a default system prompt, the endpoint's words on tools.
FRAME_TOKENS = 256
TOOL_FRAME_TOKENS = 768
TOKENS_PER_IMAGE = 2000  # the dearest of the large providers' usual sizes; docs/money.md names the exceptions
_IMAGE_URL = ("image_url", "input_image", "image")


def prompt_bound(chat: ChatRequest) -> int:
    """Tokens that the prompt cannot exceed: one for each byte of the request, beside images and what frames it.

    No tokenizer in use makes more than one token of a byte, and JSON's own marks outweigh a template's. An estimate
    with a margin would be tighter, about a quarter for English, but random letters, rare scripts or a long table
    between two pages of prose exceed any margin that is worth having; and what is reserved too much comes back.
    """
    frame = FRAME_TOKENS + (TOOL_FRAME_TOKENS if chat.needs_tools or chat.needs_schema else 0)
    pictures = (TOKENS_PER_IMAGE * chat.n_images - _image_bytes(chat)) if chat.n_images else 0
    return len(chat.raw) + frame + pictures


def _image_bytes(chat: ChatRequest) -> int:
    """Characters of the request that are images themselves, as data: URLs; they are ASCII."""
    contents = (message.get("content") for message in chat.messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return sum(_url_length(part) for part in parts if part.get("type") in _IMAGE_URL)


def _url_length(part: dict[str, object]) -> int:
    held = part.get("image_url")
    url = held.get("url") if isinstance(held, dict) else held
    return len(url) if isinstance(url, str) and url.startswith("data:") and url.isascii() else 0


def bound_nano_usd(ask: Ask, facts: ArmFacts, *, prompt_tokens: int) -> int:
    """The most that one attempt of this arm can cost, by the dearest price of each side.

    Args:
        prompt_tokens: The estimate from which an injected output bound is made; the prompt itself is bounded apart.

    Raises:
        ValueError: The arm has no price; such an arm is not eligible for a tenant with a budget.
    """
    if facts.price is None:
        raise ValueError(f"{facts.name} has no price, so nothing bounds its cost")
    asking = ask.setup.asking[facts.name]
    frame = len(asking.system.encode()) if asking.system else 0
    output = sent_max_tokens(outgoing(ask, facts, model=facts.arm.model, prompt_tokens=prompt_tokens)) or 0
    return dearest_nano_usd(facts.price, prompt_bound(ask.chat) + frame, output * ask.chat.n)


def dearest_nano_usd(price: Price, n_input: int, n_output: int) -> int:
    """So many tokens of each side by its dearest price, rounded up once."""
    per_input = max(price.input, price.cached_input or 0, price.cache_write or 0)
    per_output = max(price.output, price.reasoning or 0)
    return -(-(n_input * per_input + n_output * per_output) // TOKENS_PER_PRICE)


def may_overdraw_locally(ask: Ask, facts: ArmFacts) -> bool:
    """Whether the arm's model is declared free or runs in this gateway's own processes."""
    model = ask.setup.config.models[facts.arm.model]
    return is_free(model) or is_local(model)
