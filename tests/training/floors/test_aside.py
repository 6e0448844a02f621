import numpy as np
import pytest

from policies.errors import PolicyError
from training.floors.aside import calibration_mask, usual_rows

PROMPTS = [f"question {row // 2}" for row in range(4_000)]  # each twice


def test_equal_prompts_never_part() -> None:
    mask = calibration_mask(PROMPTS, 500, seed=0)
    assert 500 <= mask.sum() <= 501
    assert (mask[::2] == mask[1::2]).all()


def test_the_rows_depend_on_the_seed_and_on_no_order() -> None:
    mask = calibration_mask(PROMPTS, 500, seed=0)
    assert (calibration_mask(PROMPTS[::-1], 500, seed=0)[::-1] == mask).all()
    assert (calibration_mask(PROMPTS, 500, seed=1) != mask).any()


@pytest.mark.parametrize(("n", "rows"), [(600, 0), (2_999, 0), (3_000, 300), (9_017, 901), (36_000, 1_000)])
def test_few_data_are_left_to_learning(n: int, rows: int) -> None:
    assert usual_rows(n) == rows


def test_none_are_set_aside_where_none_are_asked_for() -> None:
    assert not calibration_mask(PROMPTS, 0, seed=0).any()


@pytest.mark.parametrize(("rows", "words"), [(299, "promise nothing"), (2_001, "less than half")])
def test_too_few_rows_and_too_many_are_refused(rows: int, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        calibration_mask(PROMPTS, rows, seed=0)
    assert np.array_equal(calibration_mask([], 0, seed=0), np.zeros(0, bool))
