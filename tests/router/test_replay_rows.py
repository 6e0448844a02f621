"""Prompts that stand in several rows of a table: the query id in `user` tells which row is meant."""

from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.prices import Price
from policies.tables import OutcomeTable
from router.upstreams.replay import Recording

TOKENS = np.array([[10], [20], [30]])
TABLE = OutcomeTable(
    name="doubled",
    query_ids=("first", "again", "other"),
    prompts=("what is x?", "what is x?", "what is y?"),
    domains=("d", "d", "d"),
    arms=(Arm("small", "instant"),),
    scores=np.ones((3, 1)),
    usd=np.ones((3, 1)),
    nano_usd=TOKENS,
    prompt_tokens=TOKENS[:, 0],
    input_tokens=TOKENS,
    completion_tokens=TOKENS,
    seconds=np.full((3, 1), np.nan),
    prices=(Price(1, 1),),
)


@pytest.mark.parametrize(("user", "row"), [("first", 0), ("again", 1), ("other", 0), ("nobody", 0), (None, 0)])
def test_the_row_named_is_served_if_it_holds_the_prompt(user: str | None, row: int) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "what is x?"}], "user": user}
    assert Recording(TABLE, {}).find(body) == (row, 0)


def test_each_row_keeps_its_own_tokens() -> None:
    recording = Recording(replace(TABLE, scores=np.zeros((3, 1))), {})
    assert [recording.answer(row, 0)[1]["completion_tokens"] for row in range(3)] == [10, 20, 30]
