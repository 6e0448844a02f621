"""The most that a request can cost on an arm: what is reserved before the arm is asked."""

from collections.abc import Iterator
from math import ceil

from policies.policy import ArmFacts
from policies.prices import Price, Usage, cost_nano_usd, dearest_input, dearest_output
from router.ask import Ask
from router.config.arms import most_seconds
from router.config.budgets import is_free, is_local
from router.http.parse import PLAIN_MEMBERS, ChatRequest
from router.outgoing import outgoing, sent_max_tokens
from router.store.limits import Claim

# What no text of the request accounts for: a template's frame, a default system prompt, the endpoint's words on tools.
FRAME_TOKENS = 256
TOOL_FRAME_TOKENS = 768
_IMAGES = ("image_url", "input_image", "image")
_SPELLED_OUT = ("text", "refusal", "input_audio")  # all that is read of them is in them; sound has few tokens a second


def prompt_bound(chat: ChatRequest, *, tokens_per_image: int) -> int:
    """Tokens that the prompt cannot exceed: one for each byte of the request, beside images and what frames it.

    No tokenizer in use makes more than one token of a byte (of a normal form: `Ask.grown_bytes`), and JSON's own marks
    outweigh a template's. An estimate with a margin would be tighter, about a quarter for English, but random letters,
    rare scripts or a long table between two pages of prose exceed any margin that is worth having; and what is reserved
    too much comes back.
    """
    frame = FRAME_TOKENS + (TOOL_FRAME_TOKENS if chat.needs_tools or chat.needs_schema else 0)
    pictures = (tokens_per_image * chat.n_images - _image_bytes(chat)) if chat.n_images else 0
    return len(chat.raw) + frame + pictures


def _image_bytes(chat: ChatRequest) -> int:
    """Characters of the request that are images themselves, as data: URLs; they are ASCII."""
    return sum(_url_length(part) for part in _parts(chat) if part.get("type") in _IMAGES)


def _parts(chat: ChatRequest) -> Iterator[dict[str, object]]:
    contents = (message.get("content") for message in chat.messages)
    return (part for content in contents if isinstance(content, list) for part in content)


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
    output = sent_max_tokens(outgoing(ask, facts, model=facts.arm.model, prompt_tokens=prompt_tokens)) or 0
    return dearest_nano_usd(
        facts.price,
        arm_prompt_bound(ask, facts),
        output * ask.chat.n,
        seconds=most_seconds(ask.setup.config.models[facts.arm.model]),
    )


def dearest_nano_usd(price: Price, n_input: int, n_output: int, *, seconds: float) -> int:
    """So many tokens of each side by its dearest price, and so long a time, rounded up once."""
    usage = Usage(input=n_input, output=n_output, gpu_us=gpu_us(seconds, price))
    return cost_nano_usd(usage, Price(dearest_input(price), dearest_output(price), gpu_second=price.gpu_second))


def arm_prompt_bound(ask: Ask, facts: ArmFacts) -> int:
    """`prompt_bound` with the text of the arm's mode; all that the model can read where more may come in."""
    asking, model = ask.setup.asking[facts.name], ask.setup.config.models[facts.arm.model]
    frame = len(asking.system.encode()) if asking.system else 0
    own = prompt_bound(ask.chat, tokens_per_image=model.tokens_per_image) + ask.grown_bytes + frame
    return own if is_all_there(ask.chat, images=True) else max(own, model.context_tokens)


def is_all_there(chat: ChatRequest, *, images: bool) -> bool:
    """Whether the prompt is what the request holds: no file, no search of the endpoint, no earlier answer kept there.

    A member that nobody knows could bring in any of these.

    Args:
        images: They count as there; what one comes to is `tokens_per_image` of the model's configuration.
    """
    kinds = (*_SPELLED_OUT, *_IMAGES) if images else _SPELLED_OUT
    return (
        chat.body.keys() <= PLAIN_MEMBERS
        and all(part.get("type") in kinds for part in _parts(chat))
        and all(tool.get("type") == "function" for tool in chat.body.get("tools") or ())
    )


def sound_bytes(chat: ChatRequest) -> int:
    """Characters of the request that are sound, as base64."""
    held = (part.get("input_audio") for part in _parts(chat) if part.get("type") == "input_audio")
    data = (sound.get("data") for sound in held if isinstance(sound, dict))
    return sum(len(each) for each in data if isinstance(each, str))


def gpu_us(seconds: float, price: Price | None) -> int:
    """Microseconds of an attempt as they are billed: rounded up, 0 where time has no price."""
    return ceil(max(seconds, 0.0) * 1e6) if price is not None and price.gpu_second else 0


def claim_of(ask: Ask, facts: ArmFacts, *, prompt_tokens: int) -> Claim | None:
    """What a request takes of its limits on this arm; None where it is under none.

    Where nothing bounds the answer, the model's own bound does: only a tenant with a budget has it sent.
    """
    limits = ask.caller.limits
    if not limits:
        return None
    tokens = 0
    if any(limit.tokens for limit in limits):
        sent = sent_max_tokens(outgoing(ask, facts, model=facts.arm.model, prompt_tokens=prompt_tokens))
        output = ask.setup.config.models[facts.arm.model].max_output_tokens if sent is None else sent
        tokens = arm_prompt_bound(ask, facts) + output * ask.chat.n
    return Claim(limits, tokens=tokens, mode="" if ask.continues else facts.mode)


def may_overdraw_locally(ask: Ask, facts: ArmFacts) -> bool:
    """Whether the arm's model is declared free or runs in this gateway's own processes."""
    model = ask.setup.config.models[facts.arm.model]
    return is_free(model) or is_local(model)
