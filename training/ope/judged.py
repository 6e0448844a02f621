"""What was said of each answer: feedback by metric, and failures, which nobody need judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.ope.arrow import is_value, whole
from training.ope.rounds import Integers, Mask, Reals

if TYPE_CHECKING:
    import pyarrow as pa

FAILED = ("error", "upstream_cut")  # the arm gave no answer: quality 0, whatever it cost


@dataclass(frozen=True, slots=True)
class Judged:
    """What was said of n answers, k metrics beside the one that is the quality.

    Attributes:
        action: Index of the arm that answered, shape (n,).
        quality: By the metric that is the quality, NaN where it is not there, shape (n,).
        others: By the other metrics, in any unit, NaN where not there, shape (n, k).
    """

    action: Integers
    quality: Reals
    others: Reals


def given(table: "pa.Table", metrics: Sequence[str]) -> Reals:
    """Feedback of each row by metric, NaN where there is none, shape (n, k)."""
    found = np.full((table.num_rows, len(metrics)), np.nan)
    feedback = whole(table["feedback"])
    row = np.repeat(np.arange(len(feedback)), np.diff(feedback.offsets.to_numpy()))
    first, last = feedback.offsets[0].as_py(), feedback.offsets[-1].as_py()
    metric, value = feedback.keys[first:last], feedback.items[first:last].to_numpy(zero_copy_only=False)
    for column, name in enumerate(metrics):
        mine = is_value(metric, name)
        found[row[mine], column] = value[mine]
    return found


def first_given(table: "pa.Table", metrics: Sequence[str]) -> Reals:
    """Feedback by the first of the metrics that a row has, NaN where it has none, shape (n,)."""
    said = given(table, metrics)
    first = (~np.isnan(said)).argmax(axis=1)
    return np.asarray(said[np.arange(len(said)), first])


def failed(table: "pa.Table") -> Mask:
    """Rows whose arm gave no answer."""
    return np.asarray(np.logical_or.reduce([is_value(table["outcome_status"], status) for status in FAILED]))
