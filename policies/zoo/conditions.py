"""The words in which a rule speaks of a query: fields of the context, lexical features, and a few plain judgements."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from math import log1p

from policies.context import Context
from policies.errors import PolicyError
from policies.features import FEATURE_NAMES
from policies.settings import Condition

Fact = float | str
Holds = Callable[[Context], bool]

_AT = {name: index for index, name in enumerate(FEATURE_NAMES)}
_QUESTIONS = tuple(name for name in FEATURE_NAMES if name.startswith("asks_"))
_MANY = log1p(3)


def _feature(context: Context, name: str) -> float:
    return float(context.features[_AT[name]]) if context.features.size else 0.0


def _any(context: Context, *names: str) -> bool:
    return any(_feature(context, name) > 0 for name in names)


def _is_math(context: Context) -> bool:
    formula = _feature(context, "operator_share") > 0.03 and _feature(context, "digit_share") > 0.03
    return formula or _any(context, "log_latex", "asks_math")


def _is_code(context: Context) -> bool:
    return _any(context, "log_code", "asks_code") or _feature(context, "code_mark_share") > 0.03


def _is_multi_step(context: Context) -> bool:
    listed = max(_feature(context, name) for name in ("log_questions", "log_items"))
    return listed >= _MANY or _any(context, "asks_steps")


def _is_question(context: Context) -> bool:
    return _any(context, "ends_with_question", *_QUESTIONS)


_FIELDS: Mapping[str, Callable[[Context], Fact]] = {
    "prompt_tokens": lambda context: context.prompt_tokens,
    "turn": lambda context: context.turn,
    "max_tokens": lambda context: float("inf") if context.max_tokens is None else context.max_tokens,
    "needs_tools": lambda context: context.needs_tools,
    "needs_schema": lambda context: context.needs_schema,
    "needs_images": lambda context: context.needs_images,
    "last_arm": lambda context: context.last_arm,
    "is_math": _is_math,
    "is_code": _is_code,
    "is_multi_step": _is_multi_step,
    "is_question": _is_question,
}
CONDITION_NAMES: tuple[str, ...] = (*_FIELDS, *FEATURE_NAMES)


def condition(key: str, value: Condition) -> Holds:
    """Read one condition: ``min_<name>`` and ``max_<name>`` bound a number, a plain name is compared.

    A truth value asks whether the fact is non-zero (or non-empty); a text may hold ``*``.

    Raises:
        PolicyError: The name is unknown or the value is not of a kind it can be compared with.
    """
    bound, _, rest = key.partition("_")
    if key not in CONDITION_NAMES and bound in ("min", "max") and rest in CONDITION_NAMES:
        return _bounded(bound, rest, value)
    if key not in CONDITION_NAMES:
        known = ", ".join(CONDITION_NAMES)
        raise PolicyError(f"condition {key!r} is unknown; use one of these, with min_ or max_ before a number: {known}")
    fact = _fact(key)
    if isinstance(value, bool):
        return lambda context: bool(fact(context)) is value
    if isinstance(value, str):
        return lambda context: fnmatchcase(str(fact(context)), value)
    return lambda context: fact(context) == value


def _bounded(bound: str, name: str, value: Condition) -> Holds:
    if isinstance(value, bool | str):
        raise PolicyError(f"condition {bound}_{name!s} needs a number, got {value!r}")
    fact, limit = _fact(name), float(value)
    if bound == "min":
        return lambda context: float(fact(context)) >= limit
    return lambda context: float(fact(context)) <= limit


def _fact(name: str) -> Callable[[Context], Fact]:
    return _FIELDS[name] if name in _FIELDS else lambda context: _feature(context, name)
