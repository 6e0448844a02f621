"""The whole way from a gateway's log to the alarm: draw decisions, have them answered and graded, hear the pairs."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from policies.artifact import Artifact, read_artifact
from policies.errors import PolicyError
from policies.floors import Floors
from training.collect.gateway import Gateway
from training.collect.journal import Journal
from training.collect.prompts import JUDGE, Task, task_of
from training.collect.run import Ending, Plan, collect
from training.floors.pair_book import Pair, PairBook, Pairs, arms_to_ask, paired
from training.floors.sampled import Drawn, Sample, Sampling, sample_log
from training.floors.unheard import unheard
from training.floors.watched import Watched, watched
from training.ope.rounds import EvaluationError

NAME = "watch.json"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class WatchFloors:
    """What to watch.

    Attributes:
        log / share / seed / metric: As for ``Sampling``.
        artifact: Whose promises are watched; another one begins anew.
        out: Folder of the pairs and of the paid calls; an earlier run's is gone on with.
        max_usd: Cap over everything that folder ever cost; infinite for none.
        check / check_options / judge: How both answers of a pair are graded.
        false_alarm: α of each window of pairs.
        max_tokens / concurrency: Of the calls; where the client's own bound was less, that holds.
    """

    log: Path
    artifact: Path
    out: Path
    max_usd: float
    share: float = 0.02
    seed: int = 0
    check: str = JUDGE
    check_options: Mapping[str, Any] = field(default_factory=dict)
    judge: str | None = None
    metric: str | None = None
    false_alarm: float = 0.05
    max_tokens: int = 4096
    concurrency: int = 4


async def watch_floors(task: WatchFloors, gateway: Gateway, *, progress: Progress) -> dict[str, Any]:
    """Go on where the folder's last run ended, and tell what its pairs say of every floor, as JSON values.

    Raises:
        PolicyError: The artifact cannot be read or promises no floor.
        EvaluationError: The log cannot be read, or holds no decision of the artifact under a floor.
        CollectError: The folder, the grader or the gateway cannot be used.
        UnknownCost: The cap cannot be kept because the gateway told no cost.
    """
    artifact, reference = _promising(task.artifact)
    _task_of(task, Drawn("", 0.0, 1.0, "", prompt="a prompt"))  # a grader that cannot be used is refused before all
    with Journal(task.out) as journal, PairBook(task.out) as book:
        sample = _draw(task, artifact, reference, book, progress=progress)
        pairs = book.pairs(version=artifact.version, seed=task.seed)
        ending = await _ask(task, pairs, reference, gateway, journal, progress=progress)
        past = journal.past()
        for each in pairs.waiting:
            found = paired(each, past.cells, reference)
            if isinstance(found, Pair):
                book.hear(found, version=artifact.version)
            elif _will_be_asked_again(each, ending, reference, task.judge):
                break  # later pairs wait as well: those of another arm alone would be no sample
            else:
                book.fail(each, found, version=artifact.version)
        pairs = book.pairs(version=artifact.version, seed=task.seed)
    result = {
        "version": artifact.version,
        "reference": reference,
        "share": task.share,
        "read": {
            "under_floor": sample.n_under_floor,
            "drawn": len(sample.drawn),
            "known": sample.n_known,
            "left_out": dict(sample.left_out),
        },
        "unheard": unheard(sample, version=artifact.version),
        "spent_usd": past.spent_usd,
        "held_usd": past.held_usd,
        "stopped": ending.stopped,
        "gone": ending.gone,
        "notes": ending.notes,
        "floors": [asdict(each) for each in _by_floor(pairs, task)],
    }
    _write(result, task.out)
    return result


def _promising(folder: Path) -> tuple[Artifact, str]:
    """The artifact and the arm that its floors are relative to."""
    artifact = read_artifact(folder)
    if not artifact.floors:
        raise PolicyError(f"{folder} promises no quality floor; train it with --calibration-rows")
    return artifact, Floors.from_dict(artifact.floors).reference


def _draw(task: WatchFloors, artifact: Artifact, reference: str, book: PairBook, *, progress: Progress) -> Sample:
    """Write down what is newly drawn."""
    known = book.pairs(version=artifact.version, seed=task.seed)
    sampling = Sampling(task.log, artifact.version, reference, task.share, task.seed, task.metric)
    sample = sample_log(sampling, newest=known.newest_at, seen=known.seen, progress=progress)
    if not sample.n_under_floor and not known.seen:
        raise EvaluationError(
            f"{task.log}: no decision under a quality floor by {artifact.policy}@{artifact.version}, so there is "
            "nothing to watch; name the artifact that serves, and set quality_floor for a tenant or a request"
        )
    for each in sample.drawn:
        book.draw(each, version=artifact.version, seed=task.seed)
    return sample


async def _ask(
    task: WatchFloors, pairs: Pairs, reference: str, gateway: Gateway, journal: Journal, *, progress: Progress
) -> Ending:
    """Collect the answers that waiting pairs need, in their order, so that a run that stops leaves a beginning."""
    only = {each.query_id: arms_to_ask(each, reference) for each in pairs.waiting if each.prompt is not None}
    if not only:
        return Ending()
    asked = [each for each in pairs.waiting if each.prompt is not None]
    plan = Plan(
        [_task_of(task, each) for each in asked],
        task.out,
        task.max_usd,
        arms=tuple(sorted({arm for arms in only.values() for arm in arms})),
        judge=task.judge,
        concurrency=task.concurrency,
        max_tokens=task.max_tokens,
        only=only,
        bounds={each.query_id: _most_tokens(task, each) for each in asked},
    )
    async with gateway:
        return await collect(plan, gateway, journal, tell=lambda done, of, usd: progress("asking the arms", done, of))


def _task_of(task: WatchFloors, each: Drawn) -> Task:
    line = {"id": each.query_id, "prompt": each.prompt, "check": task.check, "check_options": dict(task.check_options)}
    conditions = {"max_tokens": _most_tokens(task, each)}
    return task_of(line, check=None, judge=task.judge, conditions=conditions, where="--check")


def _most_tokens(task: WatchFloors, each: Drawn) -> int:
    """The bound of its answers: the client's own, for a longer answer is another one."""
    return task.max_tokens if each.max_tokens is None else min(each.max_tokens, task.max_tokens)


def _will_be_asked_again(each: Drawn, ending: Ending, reference: str, judge: str | None) -> bool:
    """Whether something stopped the run or the pair's arms, so that the failure says nothing of this query."""
    return bool(ending.stopped) or any(arm in ending.gone for arm in (*arms_to_ask(each, reference), judge))


def _by_floor(pairs: Pairs, task: WatchFloors) -> list[Watched]:
    waiting, failed = Counter(each.floor for each in pairs.waiting), Counter(pairs.failed)
    floors = {each.drawn.floor for each in pairs.heard} | set(waiting) | set(failed)
    return [
        watched(
            floor,
            [each for each in pairs.heard if each.drawn.floor == floor],
            false_alarm=task.false_alarm,
            waiting=waiting[floor],
            failed=failed[floor],
            seed=task.seed,
        )
        for floor in sorted(floors)
    ]


def _write(result: Mapping[str, Any], folder: Path) -> None:
    temporary = folder / f"{NAME}.part"
    temporary.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    temporary.replace(folder / NAME)
