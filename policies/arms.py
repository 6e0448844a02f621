"""Arms: what a policy can choose, and the one spelling in which people, logs and artifacts name them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import orjson

Mode = Literal["instant", "reasoning", "agentic"]
MODES: tuple[Mode, ...] = ("instant", "reasoning", "agentic")
EFFORTS = ("off", "minimal", "low", "medium", "high")


class ArmSyntaxError(ValueError):
    """A text that does not name an arm."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing a policy can choose: a model, in a mode, at an effort, with options.

    Attributes:
        model: Registered model name; may hold ``/`` and ``:``.
        mode: How the model is asked to answer (A²FM, arXiv 2510.12838).
        effort: One of ``EFFORTS``, a token budget in digits, or empty for the model's only effort.
        options: Sorted ``(key, value)`` pairs, e.g. ``(("vote", "5"),)``.
    """

    model: str
    mode: Mode
    effort: str = ""
    options: tuple[tuple[str, str], ...] = ()
    name: str = field(init=False)  # computed once: it is read several times for every request

    def __post_init__(self) -> None:
        effort = f":{self.effort}" if self.effort else ""
        options = "".join(f"+{key}={value}" for key, value in self.options)
        object.__setattr__(self, "name", f"{self.model}/{self.mode}{effort}{options}")

    def __str__(self) -> str:
        return self.name


def parse_arm(text: str, models: Iterable[str]) -> Arm:
    """Read ``model/mode[:effort][+key=value]``.

    Registered model names match whole first (the longest wins); the rest is then read.

    Raises:
        ArmSyntaxError: No registered model begins the text, or the rest is not a mode, effort and options.
    """
    fitting = [name for name in models if text.startswith(name + "/")]
    if not fitting:
        raise ArmSyntaxError(f"arm {text!r}: no registered model begins it; write model/mode[:effort][+key=value]")
    model = max(fitting, key=len)
    head, *pairs = text[len(model) + 1 :].split("+")
    mode, _, effort = head.partition(":")
    if mode not in MODES:
        raise ArmSyntaxError(f"arm {text!r}: {mode!r} is not a mode; use one of {', '.join(MODES)}")
    if effort and effort not in EFFORTS and not effort.isdecimal():
        raise ArmSyntaxError(f"arm {text!r}: {effort!r} is not an effort; use {', '.join(EFFORTS)} or a token budget")
    options = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise ArmSyntaxError(f"arm {text!r}: option {pair!r} is not key=value")
        options.append((key, value))
    return Arm(model=model, mode=mode, effort=effort, options=tuple(sorted(options)))


def arm_revision(provider: str, model: str, parameters: Mapping[str, object]) -> str:
    """Hash of what really answers: provider, upstream model and parameters; 12 hex digits, logged with each attempt."""
    text = orjson.dumps([provider, model, dict(parameters)], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:12]
