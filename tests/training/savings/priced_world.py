"""A world whose answers cost differently: dear queries are dear on every arm, with noise of each answer's own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from logged_world import ARMS, Row, make_world, rows_of
from numpy.typing import NDArray

from training.contender import Sample
from training.ope.simulated import SimulatedLog

Reals = NDArray[np.float64]


def priced_world() -> Sample:
    """As ``make_world``, costs times a log-normal factor of the query and one of the answer."""
    world = make_world()
    rng, n = np.random.default_rng(5), len(world)
    kind = np.arange(n) // (n // 2)
    factor = np.exp(rng.normal(0.4 * kind[:, None], 0.5, size=(n, 1)) + rng.normal(0.0, 0.5, size=(n, len(ARMS))))
    nano = np.ceil(world.table.usd * factor * 1e9).astype(np.int64)
    return Sample(replace(world.table, usd=nano / 1e9, nano_usd=nano), world.inputs)


def priced_rows(log: SimulatedLog, *, predicted: Sequence[float | None] = (None,) * 3) -> list[Row]:
    """The rows of a log whose decisions predicted these USD of the three arms."""
    return [
        (replace(decision, usd=list(predicted)), vector, outcome, feedback)
        for decision, vector, outcome, feedback in rows_of(log)
    ]
