"""Our own count of what an attempt used: for where an endpoint never said it, or nothing to believe."""

from math import ceil

from policies.features import count_tokens
from policies.policy import ArmFacts
from router.ask import Ask
from router.bound import arm_prompt_bound, is_all_there, sound_bytes
from router.modes import thinks

# Sound is 10 to 32 tokens a second; at 6 kbit/s, less than speech is sent with, a second is 1,000 characters of base64.
SOUND_BYTES_PER_TOKEN = 32


def prompt_tokens(ask: Ask, facts: ArmFacts) -> int:
    """Tokens of the prompt: its text whole with the mode's, pictures by the model's own measure, sound by its length.

    Where more may come in than the request holds, all that the model can read: nobody here sees how much it was.
    """
    chat = ask.chat
    if not is_all_there(chat, images=True):
        return arm_prompt_bound(ask, facts)
    pictures = ask.setup.config.models[facts.arm.model].tokens_per_image * chat.n_images
    text = count_tokens(chat.all_text) + count_tokens(ask.setup.asking[facts.name].system or "")
    return text + pictures + ceil(sound_bytes(chat) / SOUND_BYTES_PER_TOKEN)


def output_tokens(ask: Ask, facts: ArmFacts, *, seconds: float, sent_max_tokens: int | None) -> int:
    """Completion tokens of an answer of which nothing was seen: by the declared speed, at most the bound."""
    output = ceil(max(seconds, 0.0) * facts.tokens_per_s)
    return ask.chat.n * min(output, output if sent_max_tokens is None else sent_max_tokens)


def may_hide_output(facts: ArmFacts, *, seen: int) -> bool:
    """Whether more may have been generated than was seen: before the first piece, and where the arm thinks."""
    return seen == 0 or thinks(facts.arm)
