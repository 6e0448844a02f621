"""The pairs of a watch as they came: an append-only file that no decision enters twice.

Rows of three kinds: ``drawn`` (a decision of the sample), ``pair`` (its scores) and ``failed`` (why it has none). A
drawn decision without either waits. Pairs stand in the order in which the watch heard them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from training.collect.errors import CollectError
from training.collect.journal import Cell
from training.collect.lines import Lines, Row
from training.floors.sampled import Drawn

NAME = "pairs.jsonl"


@dataclass(frozen=True, slots=True)
class Pair:
    """A query's two scores, 0..1; those of a decision for which another one speaks are 0."""

    drawn: Drawn
    score: float
    reference_score: float


@dataclass(slots=True)
class Pairs:
    """What the book holds of one artifact.

    Attributes:
        waiting: Drawn and not settled yet, in the order of time.
        failed: Floor of each that no score could be had of.
    """

    seen: set[str] = field(default_factory=set)
    waiting: list[Drawn] = field(default_factory=list)
    heard: list[Pair] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    newest_at: float | None = None


class PairBook(Lines):
    """The book of one folder."""

    def __init__(self, folder: Path) -> None:
        """Raises CollectError: the folder cannot be written, or another process writes into it."""
        super().__init__(folder / NAME, kinds=("drawn", "pair", "failed"))

    def pairs(self, *, version: str, seed: int) -> Pairs:
        """Those of the artifact ``version``. Raises CollectError: they were drawn with another seed, or damaged."""
        pairs, drawn = Pairs(), dict[str, Drawn]()
        for row in self.rows():
            if row["version"] != version:
                continue
            if row["kind"] == "drawn":
                if row["seed"] != seed:
                    raise CollectError(
                        f"{self.file}: drawn with --seed {row['seed']}; keep to it, or give another --out"
                    )
                each = Drawn(**row["decision"])
                drawn[each.query_id] = each
                pairs.seen.add(each.query_id)
                pairs.newest_at = max(pairs.newest_at or each.at, each.at)
                continue
            settled = drawn.pop(row["query_id"])
            if row["kind"] == "pair":
                pairs.heard.append(Pair(settled, row["score"], row["reference_score"]))
            else:
                pairs.failed.append(settled.floor)
        pairs.waiting = list(drawn.values())
        return pairs

    def draw(self, each: Drawn, *, version: str, seed: int) -> None:
        self.append({"kind": "drawn", "version": version, "seed": seed, "decision": asdict(each)})

    def hear(self, pair: Pair, *, version: str) -> None:
        scores = {"score": pair.score, "reference_score": pair.reference_score}
        self.append({"kind": "pair", "version": version, "query_id": pair.drawn.query_id, **scores})

    def fail(self, each: Drawn, why: str, *, version: str) -> None:
        self.append({"kind": "failed", "version": version, "query_id": each.query_id, "why": why})


def arms_to_ask(each: Drawn, reference: str) -> tuple[str, ...]:
    """Whose answers the pair still needs: of a served answer whose score is known only the reference arm's."""
    if each.prompt is None:
        return ()
    return (reference,) if each.arm == reference or each.score is not None else (each.arm, reference)


def paired(each: Drawn, cells: Mapping[Cell, Row], reference: str) -> Pair | str:
    """The pair by the answers that were collected, or what is missing."""
    if each.weight == 0:
        return Pair(each, 0.0, 0.0)
    scores = {} if each.score is None else {each.arm: each.score}
    for arm in arms_to_ask(each, reference):
        cell = cells.get((each.query_id, arm))
        if cell is None or cell["score"] is None:
            return f"{arm}: {'not asked' if cell is None else cell['status']}"
        scores[arm] = cell["score"]
    return Pair(each, scores[each.arm], scores[reference])
