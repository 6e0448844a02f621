"""``gearshift train anchors``: choose the prompts a new arm should answer first, and take the arm in by its answers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from policies.arms import Arm
from policies.artifact import load_artifact, save_artifact
from policies.encoders.base import Encoder
from policies.features import lexical_features
from policies.pools import load_pool_definition
from policies.prices import Price
from policies.tables import OutcomeTable, load_pool
from training.anchors.exam import AnchorError, Exam, load_exam, make_exam, save_exam
from training.anchors.join import Joined, join_by_anchors
from training.anchors.outcomes import read_outcomes
from training.anchors.rasch import fit_ease
from training.anchors.select import draw_anchors
from training.arms import Population
from training.embeddings import embed_prompts

PROMPTS, PLAN = "anchors.jsonl", "anchors.plan.json"
Tell = Callable[[str, int, int], None]

_LETTER = re.compile(r"[A-Z]")
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class ChooseAnchors:
    """Which table to draw anchors from, and how many.

    Attributes:
        check: Grader of every anchor; None picks one by each reference: choice, numeric or exact.
    """

    data_dir: Path
    pools_file: Path
    pool: str
    out: Path
    k: int = 100
    check: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AdoptByAnchors:
    """A new arm, its outcomes, and the artifact to take it into.

    Attributes:
        anchors: Folder that the anchors were written to.
        known: Entries of descriptors by model name; the new arm's and the trained arms' count.
    """

    anchors: Path
    outcomes: Path
    artifact: Path
    out: Path
    arm: Arm
    price: Price | None
    known: Mapping[str, Mapping[str, Any]]


def choose_anchors(task: ChooseAnchors, *, encoder: Encoder, progress: Tell = lambda what, done, of: None) -> Exam:
    """Write ``anchors.jsonl`` for ``gearshift collect`` and ``anchors.plan.json`` beside it.

    Raises:
        AnchorError: The table has too few queries, or a query has no reference and no check was given.
        PoolError: The table cannot be read.
    """
    table = load_pool(task.data_dir, task.pools_file, task.pool)
    ready = 0

    def tell(n: int) -> None:
        nonlocal ready
        ready += n
        progress("embedding prompts", ready, len(table))

    embeddings = embed_prompts(encoder, table.prompts, progress=tell)
    ease = fit_ease(table.scores)
    try:
        drawn = draw_anchors(ease, embeddings, k=task.k, seed=task.seed)
    except ValueError as problem:
        raise AnchorError(f"pool {task.pool!r}: {problem}") from problem
    exam = make_exam(ease, drawn, table.query_ids)
    lines = _prompt_lines(table, exam, _references(task), check=task.check)
    task.out.mkdir(parents=True, exist_ok=True)
    (task.out / PROMPTS).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    save_exam(exam, task.out / PLAN)
    return exam


def adopt_by_anchors(task: AdoptByAnchors, *, encoder: Encoder) -> Joined:
    """Take the arm into a copy of the artifact.

    Raises:
        AnchorError: Plan, prompts or outcomes cannot be used.
        PolicyError: The artifact cannot be used with this encoder, or cannot take in the arm.
    """
    artifact = load_artifact(task.artifact, encoder=encoder)
    outcomes = read_outcomes(task.outcomes, load_exam(task.anchors / PLAN), arm=task.arm)
    prompts = _prompts_of(task.anchors / PROMPTS, outcomes.exam)
    population = Population(
        embeddings=embed_prompts(encoder, prompts),
        lexical=np.stack([lexical_features(prompt) for prompt in prompts]),
        weight=outcomes.exam.weight,
    )
    joined = join_by_anchors(
        artifact, outcomes, arm=task.arm, price=task.price, population=population, known=task.known
    )
    save_artifact(joined.artifact, task.out, encoder=encoder)
    return joined


def _references(task: ChooseAnchors) -> dict[str, str]:
    import pyarrow.parquet as pq

    folder = task.data_dir / load_pool_definition(task.pools_file, task.pool).set_name
    file = folder / "queries.parquet"
    if "reference" not in pq.read_schema(file).names:
        return {}
    columns = pq.read_table(file, columns=["query_id", "reference"]).to_pydict()
    pairs = zip(columns["query_id"], columns["reference"], strict=True)
    return {str(query_id): str(reference) for query_id, reference in pairs if reference not in (None, "")}


def _prompt_lines(
    table: OutcomeTable, exam: Exam, references: Mapping[str, str], *, check: str | None
) -> list[dict[str, Any]]:
    row_of = {query_id: row for row, query_id in enumerate(table.query_ids)}
    lines = []
    for query_id in exam.ids:
        reference, row = references.get(query_id), row_of[query_id]
        if reference is None and check is None:
            raise AnchorError(f"query {query_id!r} has no reference to grade by; give --check judge (and a judge arm)")
        line = {"id": query_id, "prompt": table.prompts[row], "reference": reference}
        line |= {"check": check or _check_for(reference or ""), "domain": table.domains[row]}
        lines.append({name: value for name, value in line.items() if value not in (None, "")})
    return lines


def _check_for(reference: str) -> str:
    if _LETTER.fullmatch(reference.strip()):
        return "choice"
    return "numeric" if _NUMBER.fullmatch(reference.strip()) else "exact"


def _prompts_of(file: Path, exam: Exam) -> list[str]:
    try:
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
        prompts = {str(line["id"]): str(line["prompt"]) for line in lines}
        return [prompts[query_id] for query_id in exam.ids]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise AnchorError(
            f"{file}: lacks a prompt of the plan beside it ({problem}); choose the anchors again"
        ) from problem
