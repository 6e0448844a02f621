"""A uniform random sample of the traffic under a quality floor, for the watch: which decisions, and what each counts.

A decision is drawn by a hash of its id and the seed, so each has the same chance whatever came before, and the same
ones are drawn however often and whenever the log is read. What the log does not hold whole is left out: ``askable``.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.archive_schema import DamagedPartition, read_log
from training.floors.askable import why_not
from training.ope.arrow import whole
from training.ope.rounds import EvaluationError
from training.records.archive import is_archive

if TYPE_CHECKING:
    import pyarrow as pa

MOST_SPOKEN_FOR = 10
LOOK_BACK_S = 86_400.0  # before the newest decision drawn so far: what was still open when the log was last read
_COLUMNS = (
    "kind", "decision_id", "at", "turn", "policy", "trade_off", "arms", "usd", "prompt", "prompt_tokens", "max_tokens",
    "features", "outcome_status", "outcome_served_arm", "feedback",
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
        max_tokens: The client's bound of the answer; None for none, and where the log did not hold it yet.
    """

    query_id: str
    at: float
    floor: float
    arm: str
    weight: int = 1
    score: float | None = None
    prompt: str | None = None
    max_tokens: int | None = None


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
        n_under_floor: Decisions of the artifact under a floor that were looked at.
        n_known: Of those that the hash draws, how many had been drawn before.
        n_newer: Of all under a floor, how many are newer than the newest that had been drawn before, by policy.
        left_out: Why decisions that the hash draws cannot be asked again -> how many.
    """

    drawn: list[Drawn] = field(default_factory=list)
    n_under_floor: int = 0
    n_known: int = 0
    n_newer: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def spoken_for(floor: float) -> int:
    """How many pairs served by the reference arm one speaks for that is asked: ten, fewer for floors below 90 %.

    Both scores of such a pair are the same answer's s, so it adds (1 − floor)·s to the mean difference: little, and it
    need be known on average only. One in k is asked and adds k·(1 − floor)·s, which must stay within 0..1.
    """
    return MOST_SPOKEN_FOR if floor >= 1.0 else max(1, min(MOST_SPOKEN_FOR, int(1.0 / (1.0 - floor) + 1e-9)))


def sample_log(
    wanted: Sampling, *, newest: float | None, seen: Collection[str], progress: Callable[[str, int, int], None]
) -> Sample:
    """Draw from the decisions that the artifact took under a floor.

    Args:
        newest: POSIX seconds of the newest decision drawn before; it is read from a day earlier on. None: from the
            log's beginning.
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
    since = None if newest is None else newest - LOOK_BACK_S
    try:
        for table in read_log(wanted.log, since=since, columns=_COLUMNS):
            n_rows += table.num_rows
            progress("reading the log", n_rows, n_rows)
            under_floor = _under_floor(table)
            _count_newer(under_floor, newest, sample)
            for row in _drawn_rows(under_floor, wanted, sample):
                if row["decision_id"] in seen:
                    sample.n_known += 1
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


def _under_floor(table: "pa.Table") -> "pa.Table":
    """Decisions that were drawn under a floor, by whatever policy."""
    import pyarrow.compute

    pc: Any = pyarrow.compute
    floored = pc.greater(pc.list_element(whole(table["trade_off"]), 2), 0.0)
    return table.filter(pc.fill_null(pc.and_(pc.equal(table["kind"], "drawn"), floored), False))


def _count_newer(under_floor: "pa.Table", newest: float | None, sample: Sample) -> None:
    import pyarrow.compute

    pc: Any = pyarrow.compute
    if newest is not None:
        newer = under_floor.filter(pc.greater(under_floor["at"], newest))
        sample.n_newer.update(map(str, newer["policy"].to_pylist()))


def _drawn_rows(under_floor: "pa.Table", wanted: Sampling, sample: Sample) -> Iterator[Mapping[str, Any]]:
    """Rows of the artifact that the hash draws; the columns of all others never become Python objects."""
    import pyarrow as pa
    import pyarrow.compute

    pc: Any = pyarrow.compute
    labels = [
        label for label in under_floor["policy"].unique().to_pylist() if label and version_of(label) == wanted.version
    ]
    table = under_floor.filter(pc.is_in(under_floor["policy"], value_set=pa.array(labels, pa.string())))
    sample.n_under_floor += table.num_rows
    ids = map(str, table["decision_id"].to_pylist())
    rows = [place for place, query_id in enumerate(ids) if _chance(wanted.seed, query_id) < wanted.share]
    yield from table.take(pa.array(rows, pa.int64())).to_pylist()


def _as_drawn(row: Mapping[str, Any], wanted: Sampling) -> Drawn | str:
    """The decision as it is to be asked again, or why it cannot be."""
    why = why_not(row, reference=wanted.reference)
    if why is not None:
        return why
    floor, served, known = float(row["trade_off"][2]), row["outcome_served_arm"], _score(row, wanted)
    weight = 1
    if served == wanted.reference and known is None:
        k = spoken_for(floor)
        weight = k if _chance(wanted.seed, f"asked\0{row['decision_id']}") < 1.0 / k else 0
    asked = weight > 0 and not (served == wanted.reference and known is not None)
    prompt = row["prompt"] if asked else None
    return Drawn(row["decision_id"], row["at"], floor, served, weight, known, prompt, row["max_tokens"])


def _score(row: Mapping[str, Any], wanted: Sampling) -> float | None:
    value = dict(row["feedback"] or ()).get(wanted.metric) if wanted.metric else None
    if value is not None and not 0.0 <= value <= 1.0:
        raise EvaluationError(
            f"{wanted.log / 'archive' / 'feedback'}: metric {wanted.metric!r} has values outside 0..1; choose another"
        )
    return value


def version_of(label: str) -> str:
    """Of ``name@version`` or, where it learns while it serves, ``name@version+sequence``."""
    return label.partition("@")[2].partition("+")[0]


def _chance(seed: int, query_id: str) -> float:
    """Uniform in [0, 1), the same whenever it is asked."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{query_id}".encode()).digest()[:8]) / 2**64
