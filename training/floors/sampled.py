"""A uniform random sample of the traffic under a quality floor, for the watch: which decisions, and what each counts.

A decision is drawn by a hash of its id and the seed, so each has the same chance whatever came before, and the same
ones are drawn however often and whenever the log is read. What the log does not hold whole cannot be asked again:
later turns, and queries with a system prompt, tools, images or a demanded form.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.archive_schema import DamagedPartition, read_log
from policies.features import FEATURE_NAMES, estimate_tokens
from training.ope.arrow import whole
from training.ope.rounds import EvaluationError
from training.records.archive import is_archive

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SPOKEN_FOR = 10
_WANTS_SCHEMA = FEATURE_NAMES.index("wants_schema")
_COLUMNS = (
    "kind", "decision_id", "at", "turn", "policy", "trade_off", "arms", "usd", "prompt", "prompt_tokens", "features",
    "outcome_status", "outcome_served_arm", "feedback",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """A decision that was drawn.

    Attributes:
        query_id: The decision's id.
        at: POSIX seconds at which it began.
        floor: Quality floor in force.
        arm: The arm that served.
        weight: Pairs that it counts for, see ``spoken_for``; 0: another one speaks for it, and nothing is asked.
        score: Of the served answer, 0..1, where feedback tells it.
        prompt: None where nothing is asked.
    """

    query_id: str
    at: float
    floor: float
    arm: str
    weight: int = 1
    score: float | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """What to draw of which log.

    Attributes:
        log: A gateway's data directory.
        version / reference: Of the artifact whose promises are watched: only its decisions count.
        share: Chance of each decision, 0..1.
        metric: Feedback that is a served answer's score by the very grader of the pairs; None: there is none.
    """

    log: Path
    version: str
    reference: str
    share: float
    seed: int = 0
    metric: str | None = None


@dataclass(slots=True)
class Sample:
    """What one reading of the log gave.

    Attributes:
        drawn: In the order of time.
        n_under_floor: Decisions under a floor that were looked at.
        left_out: Why drawn decisions cannot be asked again -> how many.
    """

    drawn: list[Drawn] = field(default_factory=list)
    n_under_floor: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def spoken_for(floor: float) -> int:
    """How many pairs served by the reference arm one speaks for that is asked: ten, fewer for floors below 90 %.

    Both scores of such a pair are the same answer's s, so it adds (1 − floor)·s to the mean difference: little, and it
    need be known on average only. One in k is asked and adds k·(1 − floor)·s, which must stay within 0..1.
    """
    return MOST_SPOKEN_FOR if floor >= 1.0 else max(1, min(MOST_SPOKEN_FOR, int(1.0 / (1.0 - floor) + 1e-9)))


def sample_log(
    wanted: Sampling, *, since: float | None, seen: Collection[str], progress: Callable[[str, int, int], None]
) -> Sample:
    """Draw from the decisions that the artifact took under a floor, from the POSIX time ``since`` on.

    Args:
        seen: Ids of decisions drawn before.

    Raises:
        EvaluationError: It is no gateway's data directory, a partition is damaged, or the metric leaves 0..1.
    """
    if not is_archive(wanted.log):
        raise EvaluationError(
            f"{wanted.log}: no archive/decisions there; name a gateway's data directory (store.dir). Of a gateway that "
            "has just started the log is not there yet: run gearshift log archive"
        )
    sample, n_rows = Sample(), 0
    try:
        for table in read_log(wanted.log, since=since, columns=_COLUMNS):
            n_rows += table.num_rows
            progress("reading the log", n_rows, n_rows)
            for row in _drawn_rows(table, wanted, sample):
                if row["decision_id"] in seen:
                    continue
                found = _as_drawn(row, wanted)
                if isinstance(found, Drawn):
                    sample.drawn.append(found)
                else:
                    sample.left_out[found] += 1
    except DamagedPartition as damaged:
        raise EvaluationError(str(damaged)) from damaged
    sample.drawn.sort(key=lambda each: (each.at, each.query_id))
    return sample


def _drawn_rows(table: "pa.Table", wanted: Sampling, sample: Sample) -> Iterator[Mapping[str, Any]]:
    """Rows of decisions that the hash draws; the columns of all others never become Python objects."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute
    labels = [label for label in table["policy"].unique().to_pylist() if label and _version(label) == wanted.version]
    mine = pc.is_in(table["policy"], value_set=pa.array(labels, pa.string()))
    under_floor = pc.greater(pc.list_element(whole(table["trade_off"]), 2), 0.0)
    table = table.filter(pc.fill_null(pc.and_(pc.and_(pc.equal(table["kind"], "drawn"), mine), under_floor), False))
    sample.n_under_floor += table.num_rows
    ids = map(str, table["decision_id"].to_pylist())
    rows = [place for place, query_id in enumerate(ids) if _chance(wanted.seed, query_id) < wanted.share]
    yield from table.take(pa.array(rows, pa.int64())).to_pylist()


def _as_drawn(row: Mapping[str, Any], wanted: Sampling) -> Drawn | str:
    """The decision as it is to be asked again, or why it cannot be."""
    prompt, floor, served = row["prompt"], float(row["trade_off"][2]), row["outcome_served_arm"]
    if not (prompt or "").strip():
        return "prompt not stored"
    if not row["features"]:
        return "training not allowed"
    whole_text = row["turn"] == 1 and row["prompt_tokens"] == estimate_tokens(prompt)
    if not whole_text or row["features"][_WANTS_SCHEMA]:
        return "more than one text"
    if row["outcome_status"] != "ok":
        return "no whole answer"
    if not _promised(row, wanted.reference):
        return "nothing promised"
    known = _score(row, wanted)
    weight = 1
    if served == wanted.reference and known is None:
        k = spoken_for(floor)
        weight = k if _chance(wanted.seed, f"asked\0{row['decision_id']}") < 1.0 / k else 0
    asked = weight > 0 and not (served == wanted.reference and known is not None)
    return Drawn(row["decision_id"], row["at"], floor, served, weight, known, prompt if asked else None)


def _promised(row: Mapping[str, Any], reference: str) -> bool:
    """Whether the floor bound this decision: the reference arm could answer, and within the cap in USD."""
    if reference not in row["arms"]:
        return False
    usd, most = row["usd"][row["arms"].index(reference)], row["trade_off"][3]
    return usd is None or most is None or bool(usd <= most)


def _score(row: Mapping[str, Any], wanted: Sampling) -> float | None:
    value = dict(row["feedback"] or ()).get(wanted.metric) if wanted.metric else None
    if value is not None and not 0.0 <= value <= 1.0:
        raise EvaluationError(
            f"{wanted.log / 'archive' / 'feedback'}: metric {wanted.metric!r} has values outside 0..1; choose another"
        )
    return value


def _version(label: str) -> str:
    """Of ``name@version`` or, where it learns while it serves, ``name@version+sequence``."""
    return label.partition("@")[2].partition("+")[0]


def _chance(seed: int, query_id: str) -> float:
    """Uniform in [0, 1), the same whenever it is asked."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{query_id}".encode()).digest()[:8]) / 2**64
