"""``gearshift train simulate``: the default policy and comparison bandits on streams over recorded outcomes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from policies.encoders.base import Encoder
from policies.tables import OutcomeTable, load_pool
from training.contender import Sample
from training.embeddings import embed_prompts
from training.inputs import make_inputs
from training.prior.fit import fit_default
from training.simulate.adopting import AdoptingPlayer, AdoptionPlan
from training.simulate.adoption import report_adoption
from training.simulate.cast import ADOPTING, NAMES, Order, make_player
from training.simulate.entries import Unmet
from training.simulate.play import FULL, Played, play, play_full_information
from training.simulate.regret import Verdict, cumulative_regret, judge
from training.simulate.scenario import Scenario
from training.simulate.stream import Stream, make_stream
from training.zoo.contenders import task_of
from training.zoo.save import artifact_of

Tell = Callable[[str, int, int], None]
FEWEST_ARMS = 3  # one of them new: what arms share takes two to see
_N_POINTS = 200  # of a curve


@dataclass(frozen=True, slots=True)
class Simulate:
    """What to play.

    Attributes:
        n_warm: Fully labelled rows that ``default`` is fitted on; the stream has the others.
        n_orders: Streams of different rows and orders, of seeds ``seed``, ``seed`` + 1, …
        players: Of ``NAMES``.
        explore: Floor of ``decide`` for every player.
        rows: Requests of a stream at most.
        adoption: What taking in the scenario's new arm may cost those players who do.
    """

    data_dir: Path
    pools_file: Path
    pool: str
    scenario: Scenario = field(default_factory=Scenario)
    n_warm: int = 1000
    n_orders: int = 5
    seed: int = 0
    players: tuple[str, ...] = ("default", "prior", "linucb", "thompson", "ucb")
    explore: float = 0.0
    with_full: bool = True
    rows: int | None = None
    adoption: AdoptionPlan = field(default_factory=AdoptionPlan)


def simulate(task: Simulate, *, encoder: Encoder, progress: Tell = lambda what, done, of: None) -> dict[str, Any]:
    """Play every order; the result as plain JSON values.

    Raises:
        PoolError: The table cannot be read.
        ValueError: A name is no player's, the scenario's arm is not in the pool, or there are too few rows.
        ImportError: ``paretobandit`` was asked for and is not installed.
    """
    unknown = [name for name in task.players if name not in NAMES]
    if unknown:
        raise ValueError(f"no player is named {unknown[0]!r}; use some of {', '.join(NAMES)}")
    if any(name.startswith("paretobandit") for name in task.players) and find_spec("pareto_bandit") is None:
        raise ImportError("no module 'pareto_bandit'; run: pip install 'gearshift[rivals]'", name="pareto_bandit")
    adopting = [name for name in task.players if name in ADOPTING]
    if adopting and not 0.0 < task.scenario.joins_at < 1.0:
        raise ValueError(f"player {adopting[0]!r} takes in an arm that joins; use it with the scenario newcomer")
    table = load_pool(task.data_dir, task.pools_file, task.pool)
    if adopting and len(table.arms) < FEWEST_ARMS:
        raise ValueError(f"pool {task.pool!r} has {len(table.arms)} arms; one that joins needs two others to join")
    if len(table) < task.n_warm + 2:
        raise ValueError(f"pool {task.pool!r} has {len(table)} queries; a stream needs more than {task.n_warm}")
    orders = []
    for order in make_orders(table, task, encoder=encoder, progress=progress):
        orders.append(play_order(order, task, progress=progress))
        progress("playing orders", len(orders), task.n_orders)
    return {
        "pool": task.pool, "scenario": asdict(task.scenario), "n_warm": task.n_warm, "explore": task.explore,
        "seed": task.seed, "orders": orders, "policies": _means([order["policies"] for order in orders]),
        "adoptions": _means([order["adoptions"] for order in orders]),
    }  # fmt: skip


def make_orders(table: OutcomeTable, task: Simulate, *, encoder: Encoder, progress: Tell) -> Iterator[Order]:
    """Draw, fit and lay out each order."""
    embeddings = embed_prompts(encoder, table.prompts)
    for seed in range(task.seed, task.seed + task.n_orders):
        rows = np.random.default_rng(seed).permutation(len(table))
        warm = _sample(table, embeddings, rows[: task.n_warm])
        rest = _sample(table, embeddings, rows[task.n_warm :][: task.rows])
        fit = fit_default(task_of(warm, encoder_id=encoder.encoder_id, seed=seed), progress=progress)
        stream = make_stream(rest.table, rest.inputs, task.scenario, seed=seed)
        unmet = None
        if any(name in ADOPTING for name in task.players):
            unmet = _unmet(warm, stream.changed, encoder_id=encoder.encoder_id, seed=seed, progress=progress)
        yield Order(stream, warm, fit.policy, seed, unmet)


def play_order(order: Order, task: Simulate, *, progress: Tell = lambda what, done, of: None) -> dict[str, Any]:
    """Verdict and curve of every player on one stream."""
    stream, done = order.stream, 0
    of = len(stream) * len(task.players)

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress(f"playing order {order.seed}", done, of)

    full = play_full_information(order.policy, stream) if task.with_full else None
    found: dict[str, Any] = {}
    adoptions: dict[str, Any] = {}
    for name in task.players:
        player = make_player(name, order, task.adoption)
        played = play(player, stream, seed=order.seed, explore=task.explore, tell=tell)
        found[name] = _told(played, judge(played, stream, full=full), stream)
        if isinstance(player, AdoptingPlayer):
            adoptions[name] = asdict(report_adoption(player, played, stream))
    if full is not None:
        found[FULL] = _told(full, judge(full, stream), stream)
    arms = [facts.name for facts in stream.facts[0]]
    return {
        "seed": order.seed,
        "n": len(stream),
        "changed": arms[stream.changed],
        "policies": found,
        "adoptions": adoptions,
    }


def _unmet(warm: Sample, column: int, *, encoder_id: str, seed: int, progress: Tell) -> Unmet:
    """The same fit as if nobody had met the arm of this column."""
    task = task_of(warm, encoder_id=encoder_id, seed=seed).without_arm(column)
    fit = fit_default(task, progress=progress)
    return Unmet(artifact_of(fit.policy, task, facts=fit.facts), warm, column)


def _sample(table: OutcomeTable, embeddings: Any, rows: Any) -> Sample:
    part = table.at_rows(rows)
    return Sample(part, make_inputs(part, embeddings[rows]))


def _told(played: Played, verdict: Verdict, stream: Stream) -> dict[str, Any]:
    curve = cumulative_regret(played, stream)
    points = np.unique(np.linspace(0, len(curve) - 1, _N_POINTS).round().astype(int))
    told = {key: None if value != value else value for key, value in asdict(verdict).items() if key != "name"}
    shares = np.bincount(played.columns, minlength=stream.scores.shape[1]) / len(stream)
    return told | {
        "least_propensity": float(played.propensities.min()),
        "alarms": [asdict(alarm) for alarm in played.alarms],
        "shares": shares.tolist(),
        "curve": [[int(at) + 1, float(curve[at])] for at in points],
    }


def _means(orders: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean, spread and values of each number over the orders; None where none has it."""
    means: dict[str, Any] = {}
    for name in orders[0]:
        numbers = [key for key, value in orders[0][name].items() if not isinstance(value, list | str)]
        means[name] = {}
        for key in numbers:
            values = [order[name][key] for order in orders]
            known = [value for value in values if value is not None]
            mean = float(np.mean(known)) if known else None
            sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
            means[name][key] = {"mean": mean, "sd": sd, "values": values}
    return means
