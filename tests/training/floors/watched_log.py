"""Rows of a gateway's log under a quality floor, for tests of the watch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from logged_world import DECISION, DIM, OUTCOME, Row

from policies.features import estimate_tokens
from policies.records import FeedbackRow

CHEAP, DEAR, JUDGE = "cheap/instant", "dear/instant", "dear/reasoning:low"
ARMS = [CHEAP, DEAR]


def decided(
    number: int, *, version: str, served: str = CHEAP, floor: float = 0.9, score: float | None = None, **changed: Any
) -> Row:
    """One request under a floor, answered by ``served``; ``changed`` are fields of its decision."""
    ids = {"request_id": f"r{number:05}", "decision_id": f"d{number:05}"}
    prompt = f"Question {number}?"
    decision = replace(
        DECISION, **ids, arm=served, arms=ARMS, propensities=[0.5, 0.5], usd=[0.001, 0.01], prompt=prompt,
        policy=f"default@{version}", trade_off=[1.0, 0.0, floor, None], prompt_tokens=estimate_tokens(prompt),
    )  # fmt: skip
    decision = replace(decision, **changed)
    feedback = None
    if score is not None:
        feedback = FeedbackRow(f"f{number}", ids["request_id"], ids["decision_id"], "o", "t", "score", score)
    return decision, np.zeros(DIM, np.float16), replace(OUTCOME, **ids, served_arm=served), feedback


def traffic(n: int, *, version: str, cheap_share: float = 0.7, first: int = 0, seed: int = 0) -> list[Row]:
    """``n`` requests, the cheap arm serving this share of them and the dear one the others."""
    cheap = np.random.default_rng(seed).random(n) < cheap_share
    return [decided(first + i, version=version, served=CHEAP if each else DEAR) for i, each in enumerate(cheap)]


def says(right: Callable[[int], bool]) -> Callable[[str], str]:
    """An arm that answers the questions of these numbers well, and anything else badly."""

    def answer(question: str) -> str:
        number = question.removeprefix("Question ").removesuffix("?")
        return "well said" if number.isdecimal() and right(int(number)) else "badly said"

    return answer


def judged(question: str) -> str:
    """What the judge says of an answer."""
    return "Score: 10" if "\nwell said\n" in question else "Score: 0"
