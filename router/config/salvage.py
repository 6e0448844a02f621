"""Validate a tree, and make the most of a mistaken one, so that one run reports every mistake."""

import copy
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from router.config.problems import Path, Problem
from router.config.schema import Config
from router.config.wording import real_path, translate

_ROUNDS = 4
# Put in place of what is missing, so that the checks across fields still run on the rest.
_FILLERS: dict[str, Any] = {
    "deployments": [{"upstream": "fake"}],
    "input": 0.0,
    "output": 0.0,
    "usd_per_correct_answer": 1.0,
    "prefer": [],
}


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What validation made of a tree.

    Attributes:
        config: The configuration, without its mistaken parts if there are ``problems``; None if nothing could be kept.
        problems: What pydantic objects to in the tree as given.
        dropped: Places that were taken out.
    """

    config: Config | None
    problems: list[Problem]
    dropped: set[Path]


def validate(tree: Any) -> Salvaged:
    """Validate; on mistakes drop or fill their places and validate again, keeping the first round's problems."""
    try:
        return Salvaged(Config.model_validate(tree), [], set())
    except ValidationError as error:
        problems, mistakes = translate(error), error
    rest, dropped = copy.deepcopy(tree), set[Path]()
    for _ in range(_ROUNDS):
        if not isinstance(rest, dict):
            break
        for item in mistakes.errors(include_url=False, include_input=False):
            place = _named_place(item["loc"])
            dropped.add(place)
            _amend(rest, place, missing=item["type"] == "missing")
        try:
            return Salvaged(Config.model_validate(rest), problems, dropped)
        except ValidationError as error:
            mistakes = error
    return Salvaged(None, problems, dropped)


def _named_place(loc: tuple[Any, ...]) -> Path:
    place = real_path(loc)
    # A list of values goes as a whole: taking one out would renumber the others in later messages.
    return place[:-1] if isinstance(place[-1], int) else place


def _amend(tree: dict[str, Any], place: Path, *, missing: bool) -> None:
    """Fill a missing value, or drop the mistaken one at the nearest key that exists."""
    inside: Any = tree
    for part in place[:-1]:
        try:
            inside = inside[part]
        except (KeyError, IndexError, TypeError):
            return
    if not place or not isinstance(inside, dict):
        return
    if missing and place[-1] in _FILLERS:
        inside[str(place[-1])] = copy.deepcopy(_FILLERS[str(place[-1])])
    else:
        inside.pop(place[-1], None)
