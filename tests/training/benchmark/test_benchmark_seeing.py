"""How prompts become embeddings: as in the whole table, or by an encoder fitted to a part's training prompts alone."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder
from policies.encoders.static import build
from policies.tables import Mask, OutcomeTable
from training.benchmark.crew import OpenCrew, alone, processes
from training.benchmark.run import run_benchmark
from training.benchmark.seeing import TOO_FEW, FittedInside, ReadyEncoder, Seeing, SeenTable
from training.benchmark.splits import parts_of
from training.benchmark.task import Benchmark, fitted_encoders
from training.commands.benchmark import command
from training.contender import Fitted, Sample
from training.contenders.registry import make_contender
from training.inputs import make_inputs
from training.perturb import perturbations
from training.report.origin import encoder_told
from training.rewordings import make_reworded, reworded_texts

WriteSet = Callable[..., Path]
FOLD_OF_TWO = 420  # rows: either half holds the 200 prompts that an encoder needs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own that holds nothing but the distilled encoder, where fits start."""
    distilled, encoders = build(), tmp_path / "cache" / "encoders"
    encoders.mkdir(parents=True)
    (encoders / distilled.name).symlink_to(distilled)
    monkeypatch.setenv("GEARSHIFT_CACHE", str(encoders.parent))
    return encoders.parent


@pytest.fixture
def task(write_set: WriteSet, pools_file: Path, tmp_path: Path) -> Benchmark:
    return Benchmark(
        train=write_set("data", rows=range(FOLD_OF_TWO)),
        pools_file=pools_file,
        out=tmp_path / "run",
        policies=("global_means", "knn"),
        n_folds=2,
        n_replicates=50,
        robust=frozenset({"knn"}),
    )


def run(task: Benchmark, seeing: Seeing, *, open_crew: OpenCrew = alone) -> dict[str, Any]:
    result = run_benchmark(
        task,
        seeing=seeing,
        progress=lambda what, done, of: None,
        perturbations={"prefix": perturbations()["prefix"]},
        open_crew=open_crew,
    )
    for policy in result["pools"]["easy_hard"]["policies"].values():
        policy["fit_s"] = policy["decision_us"] = None
    return result


def fitted(task: Benchmark, encoder: Encoder) -> FittedInside:
    return FittedInside(encoder, fitted_encoders(task))


def times(folder: Path) -> dict[Path, int]:
    """When each file below was written."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and file.suffix != ".lock"}


def encoders(task: Benchmark) -> set[str]:
    return {manifest.parent.name for manifest in fitted_encoders(task).rglob("manifest.json")}


def rename_prompt(data: Path, old: str, new: str) -> None:
    file = data / "world" / "queries.parquet"
    queries = pq.read_table(file)
    prompts = [new if prompt == old else prompt for prompt in queries["prompt"].to_pylist()]
    place = queries.schema.get_field_index("prompt")
    pq.write_table(queries.set_column(place, "prompt", pa.array(prompts)), file)


def assert_same(one: Any, other: Any) -> None:
    assert all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))


@pytest.fixture
def odd(world: OutcomeTable) -> Mask:
    mask: NDArray[np.bool_] = np.arange(len(world)) % 2 == 1
    return mask


def test_rows_are_seen_as_in_the_whole_table(world: OutcomeTable, encoder: Encoder, odd: Mask) -> None:
    seen = SeenTable(world).rows(odd, encoder.encode)
    assert_same(seen.inputs, make_inputs(world, encoder.encode(world.prompts)).rows(odd))
    assert seen.table.query_ids == world.rows(odd).query_ids
    assert seen.reworded is None


def test_rewordings_of_rows_are_those_of_the_whole_table(world: OutcomeTable, encoder: Encoder, odd: Mask) -> None:
    table = SeenTable(world, reworded_by=4)
    rows, texts = reworded_texts(world.prompts, seed=4)
    seen = table.rows(odd, encoder.encode)
    assert seen.reworded is not None
    assert_same(seen.reworded, make_reworded(rows, texts, embed=encoder.encode).among(odd))
    assert table.texts == (*world.prompts, *texts)


def test_a_sample_of_rows_is_the_same_in_one_step_or_two(world: OutcomeTable, encoder: Encoder, odd: Mask) -> None:
    table, late = SeenTable(world, reworded_by=4), np.arange(len(world)) > 300
    once, twice = table.rows(odd & late, encoder.encode), table.rows(odd, encoder.encode).rows(late[odd])
    assert_same(once.inputs, twice.inputs)
    assert_same(once.reworded, twice.reworded)


def test_a_ready_encoder_keeps_what_it_computed(world: OutcomeTable, encoder: Any) -> None:
    embed = ReadyEncoder(encoder).of(world, seed=0)
    first = embed(world.prompts[:9])
    assert (embed(world.prompts[:9]) == first).all()
    assert encoder.n_encoded == 9


def test_a_prompt_changes_the_encoder_of_the_parts_it_trains_alone(
    task: Benchmark, world: OutcomeTable, encoder: Encoder
) -> None:
    table = world.rows(np.arange(len(world)) < FOLD_OF_TWO)
    tested = [part.test for part in parts_of(table, "kfold", n_folds=2, seed=0)]
    for number in range(100):  # a fold is drawn by the text: take one that stays where the old one was
        changed = replace(table, prompts=(f"easy riddle {number}", *table.prompts[1:]))
        if all(map(np.array_equal, tested, (part.test for part in parts_of(changed, "kfold", n_folds=2, seed=0)))):
            break
    run(task, fitted(task, encoder))
    before = encoders(task)
    rename_prompt(task.train, table.prompts[0], changed.prompts[0])
    run(task, fitted(task, encoder))
    assert len(before) == 2
    assert before < encoders(task)
    assert len(encoders(task)) == 3  # the part that tests the prompt found the encoder it had


def test_a_fitted_encoder_depends_on_training_prompts_alone(
    world: OutcomeTable, encoder: Encoder, tmp_path: Path
) -> None:
    train = world.rows(np.arange(len(world)) < 210)
    seeing, unseen = FittedInside(encoder, tmp_path / "one"), ["a prompt that nobody was taught", *world.prompts[:3]]
    first = seeing.of(train, seed=0)(unseen)
    assert (FittedInside(encoder, tmp_path / "two").of(train, seed=0)(unseen) == first).all()
    changed = replace(train, prompts=("quite another thing", *train.prompts[1:]))
    assert (seeing.of(changed, seed=0)(unseen) != first).any()


def test_two_processes_with_fitted_encoders_say_what_one_says(
    task: Benchmark, encoder: Encoder, tmp_path: Path
) -> None:
    here = run(task, fitted(task, encoder))
    other = replace(task, out=tmp_path / "other")
    assert run(other, fitted(other, encoder), open_crew=partial(processes, n_processes=2)) == here
    assert here["encoder"].startswith("static-fitted-to-hash-1-")
    assert set(here["pools"]["easy_hard"]["policies"]["knn"]["robustness"]) == {"prefix"}


def test_a_second_run_fits_nothing_and_an_added_policy_uses_the_encoders_there_are(
    task: Benchmark, encoder: Any
) -> None:
    first = run(task, fitted(task, encoder))
    written, encoded = times(task.out), encoder.n_encoded
    assert run(task, fitted(task, encoder)) == first
    assert times(task.out) == written
    assert encoder.n_encoded == encoded
    written = times(fitted_encoders(task))
    more = replace(task, policies=(*task.policies, "fixed"))
    assert "fixed" in run(more, fitted(more, encoder))["pools"]["easy_hard"]["policies"]
    assert times(fitted_encoders(task)) == written


def test_with_too_few_prompts_every_part_has_the_distilled_encoder(
    task: Benchmark, write_set: WriteSet, encoder: Encoder, tmp_path: Path
) -> None:
    few = replace(task, train=write_set("few", rows=range(120)))
    result = run(few, fitted(few, encoder), open_crew=partial(processes, n_processes=1))
    told = result["pools"]["easy_hard"].pop("encoder")
    assert told == TOO_FEW
    assert encoder_told({**result, "pools": {"easy_hard": {"encoder": told}}}).endswith(
        "fitted inside every part; easy_hard: static (too few prompts to fit one)"
    )
    plain = replace(few, out=tmp_path / "plain")
    assert run(plain, ReadyEncoder(load_encoder("static")))["pools"] == result["pools"]
    assert encoders(few) == set()


def test_parts_with_prompts_enough_are_told_from_those_without(
    task: Benchmark, world: OutcomeTable, write_set: WriteSet, encoder: Encoder
) -> None:
    hard = [row for row in range(len(world)) if world.domains[row] == "hard"]
    rows = sorted({*range(len(world))} - {*hard[100:]})  # 100 hard ones, and easy ones enough
    uneven = replace(task, train=write_set("uneven", rows=rows), split="domain", policies=("knn",))
    result = run(uneven, fitted(uneven, encoder))
    assert result["pools"]["easy_hard"]["encoder"] == "static (too few prompts to fit one) in 1 of 2 parts"
    assert len(encoders(uneven)) == 1


def test_a_ready_encoder_is_every_parts_own(task: Benchmark, encoder: Encoder) -> None:
    result = run(task, ReadyEncoder(encoder))
    assert "encoder" not in result["pools"]["easy_hard"]
    assert encoder_told(result) == encoder.encoder_id


def test_prompts_without_text_do_not_count(world: OutcomeTable, encoder: Encoder, tmp_path: Path) -> None:
    seeing, blank = FittedInside(encoder, tmp_path), replace(world, prompts=tuple(" " * n for n in range(len(world))))
    assert seeing.falls_back(blank.prompts)
    assert seeing.falls_back([*blank.prompts, *[f"prompt {n % 199}" for n in range(400)]])
    assert not seeing.falls_back(f"prompt {n}" for n in range(200))
    given = seeing.of(blank, seed=0)(["a prompt"])
    assert (given == load_encoder("static").encode(["a prompt"])).all()


class Listener:
    """The baseline, as a contender that says whether it hears rewordings; it counts fits and what it heard."""

    needs_labels = False

    def __init__(self, name: str, told: list[tuple[str, int]], *, hears: bool) -> None:
        self.name, self.hears_rewordings, self._told = name, hears, told
        self._inner = make_contender(name)

    def fit(self, train: Sample, *, seed: int) -> Fitted:
        self._told.append((self.name, 0 if train.reworded is None else len(train.reworded)))
        return self._inner.fit(train, seed=seed)


def listen(task: Benchmark, encoder: Encoder, *, hearing: Sequence[str]) -> list[tuple[str, int]]:
    told: list[tuple[str, int]] = []
    run_benchmark(
        task,
        seeing=ReadyEncoder(encoder),
        progress=lambda what, done, of: None,
        make=lambda names, *, encoder_id: [Listener(name, told, hears=name in hearing) for name in names],
    )
    return told


@pytest.fixture
def pair(task: Benchmark) -> Benchmark:
    return replace(task, policies=("fixed", "global_means"), robust=frozenset())


def test_rewordings_are_made_only_where_somebody_hears_them(pair: Benchmark, encoder: Any) -> None:
    assert {heard for _, heard in listen(pair, encoder, hearing=())} == {0}
    assert encoder.n_encoded == FOLD_OF_TWO
    heard = [n for name, n in listen(pair, encoder, hearing=("fixed",)) if name == "fixed"]
    assert len(heard) == 2
    assert sum(heard) == FOLD_OF_TWO  # every row trains one of the two parts
    assert encoder.n_encoded == 2 * FOLD_OF_TWO


def test_who_hears_nothing_is_not_fitted_again_for_those_who_do(pair: Benchmark, encoder: Encoder) -> None:
    listen(replace(pair, policies=("fixed",)), encoder, hearing=())
    told = listen(pair, encoder, hearing=("global_means",))
    assert [name for name, _ in told] == ["global_means"] * 2


def test_a_part_reworded_by_another_seed_is_fitted_again(pair: Benchmark, encoder: Encoder) -> None:
    listen(replace(pair, n_seeds=2), encoder, hearing=("fixed",))  # seeds 0 and 1, reworded by 0
    told = listen(replace(pair, seed=1), encoder, hearing=("fixed",))
    assert [name for name, _ in told] == ["fixed"] * 2


@pytest.fixture
def prepared() -> list[str]:
    """The encoders that the verb prepared itself."""
    return []


@pytest.fixture
def invoke(
    task: Benchmark, encoder: Encoder, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Runs the verb on the small world with a teacher that needs no weights."""
    from policies.encoders import load

    def opened(name: str, *, source: str | None = None) -> Encoder:
        return encoder if name == "minilm" else load_encoder(name, source=source)

    load_encoder = load.load_encoder
    monkeypatch.setattr(load, "prepare_encoder", lambda name, *, source=None: prepared.append(name))
    monkeypatch.setattr(load, "load_encoder", opened)

    def invoked(*arguments: str) -> Any:
        given = ("--train", str(task.train), "--pools", str(task.pools_file), "--out", str(task.out), "--folds", "2")
        chosen = ("--policy", "fixed", "--encoder", "fitted", "--jobs", "1", "--no-report", "--json")
        return CliRunner().invoke(command, [*given, *chosen, *arguments])

    return invoked


def test_the_verb_fits_an_encoder_inside_every_part(invoke: Callable[..., Any], task: Benchmark) -> None:
    done = invoke()
    assert done.exit_code == 0, done.output
    assert '"static-fitted-to-hash-1-' in done.stdout
    assert len(encoders(task)) == 2


def test_the_verb_refuses_weights_for_an_encoder_it_fits(invoke: Callable[..., Any]) -> None:
    done = invoke("--source", "weights")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: --source names the weights of a ready encoder")
    assert done.stdout == ""


def test_the_verb_prepares_what_parts_with_too_few_prompts_take(
    invoke: Callable[..., Any], write_set: WriteSet, prepared: list[str]
) -> None:
    done = invoke("--train", str(write_set("few", rows=range(120))))
    assert done.exit_code == 0, done.output
    assert orjson.loads(done.stdout)["pools"]["easy_hard"]["encoder"] == TOO_FEW
    assert prepared == ["minilm", "static"]
