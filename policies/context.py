"""What a policy may look at when it decides: never the future, never the outcome."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Context:
    """The query as a policy sees it.

    Attributes:
        embedding: L2-normalised float32, shape (dim,); shape (0,) when the policy needs none or the encoder was late.
        features: Lexical features named by ``policies.features.FEATURE_NAMES``, float32, shape (n_features,).
        prompt_tokens: Estimated tokens of the whole request (all messages), an upper-ish estimate.
        turn: 1 for the first user turn of the conversation.
        needs_tools / needs_schema / needs_images: What the request demands of an arm.
        max_tokens: The client's output bound, if it set one.
        last_arm: Name of the session's last arm, empty if none is known.
        load: Upstream load of the eligible arms, 0..1, shape (n_arms,), or shape (0,) if not measured.
    """

    embedding: Floats
    features: Floats
    prompt_tokens: int
    turn: int = 1
    needs_tools: bool = False
    needs_schema: bool = False
    needs_images: bool = False
    max_tokens: int | None = None
    last_arm: str = ""
    load: Floats = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
