"""What was said of each answer: feedback by metric, and failures, which nobody need judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.id_index import words_of
from training.ope.arrow import is_value, whole
from training.ope.rounds import Integers, Mask, Reals

if TYPE_CHECKING:
    import pyarrow as pa

FAILED = ("error", "upstream_cut")  # the arm gave no answer: quality 0, whatever it cost, as often as others are judged


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


def with_failures(table: "pa.Table", said: Reals, label: Reals, weight: Reals) -> tuple[Reals, Reals]:
    """Labels and weights of all rows with those of the failures that nobody judged: 0 and 1, or none, each (n,).

    As large a share of a tenant's failures counts as its answers weigh on average: all of them beside a tenth of the
    answers would make an arm that sometimes fails ten times as bad at it.

    Args:
        said: By the metric that is the quality, NaN where it said nothing, shape (n,).
        label / weight: Of each row but for its failure, NaN where unknown, shape (n,).
    """
    unjudged = failed(table) & np.isnan(said)
    if not unjudged.any():
        return label, weight
    answered = is_value(table["outcome_status"], "ok") & (whole(table["embedding_dim"]).fill_null(0).to_numpy() > 0)
    names = whole(table["tenant"]).fill_null("").dictionary_encode()
    tenant, n_tenants = names.indices.to_numpy(), len(names.dictionary)
    asked = np.bincount(tenant[answered], minlength=n_tenants)
    heard = np.bincount(
        tenant[answered], weights=np.where(np.isnan(label), 0.0, weight)[answered], minlength=n_tenants
    )  # fmt: skip
    usual = heard.sum() / asked.sum() if asked.any() else 1.0
    share = np.where(asked > 0, heard / np.maximum(asked, 1), usual)
    lottery = words_of(table["decision_id"])[:, 0] / 2.0**64  # by the id, so that every pass draws alike
    counts = lottery < share[tenant]
    quality = np.where(unjudged, np.where(counts, 0.0, np.nan), label)
    return quality, np.where(unjudged, 1.0, weight)
