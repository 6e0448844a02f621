import numpy as np
import pytest

from training.floors.sequence import last_rejected


@pytest.mark.parametrize(
    ("p_values", "last"),
    [([0.01, 0.02, 0.5, 0.01], 1), ([0.5, 0.01], None), ([0.01, 0.05], 1), ([], None)],
)
def test_the_first_that_is_not_rejected_ends_the_sequence(p_values: list[float], last: int | None) -> None:
    assert last_rejected(np.array(p_values), alpha=0.05) == last


def test_one_level_serves_the_whole_sequence() -> None:
    """Ninety false hypotheses, then ten true ones: any of the true is rejected as seldom as the first alone."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(4_000):
        p_values = np.concatenate([np.full(90, 1e-6), rng.random(10)])
        wrong += last_rejected(p_values, alpha=0.05) != 89
    assert wrong / 4_000 == pytest.approx(0.05, abs=0.011)  # three standard errors
