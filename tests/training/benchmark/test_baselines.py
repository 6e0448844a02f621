"""Baselines know what they should and nothing else; the registry names every contender."""

import numpy as np
import pytest

from policies.tables import OutcomeTable
from training.contender import Sample
from training.contenders.baselines import cheapest, domain_table, fixed, global_means, oracle, random
from training.contenders.registry import FACTORIES, ContenderError, make_contender, make_contenders, names_of
from training.inputs import make_inputs
from training.metrics.curve import choices


@pytest.fixture
def halves(world: OutcomeTable) -> tuple[Sample, Sample]:
    sample = Sample(world, make_inputs(world, np.zeros((len(world), 2), np.float32)))
    first = np.arange(len(world)) < 300
    return sample.rows(first), sample.rows(~first)


def test_fixed_takes_the_most_accurate_arm_and_cheapest_the_cheapest(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    assert fixed().fit(train, seed=0).forecast(test).dist == pytest.approx(np.tile([0.0, 1.0], (300, 1)))
    assert cheapest().fit(train, seed=0).forecast(test).dist == pytest.approx(np.tile([1.0, 0.0], (300, 1)))


def test_random_gives_every_arm_the_same_share(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    assert random().fit(train, seed=0).forecast(test).dist == pytest.approx(np.full((300, 2), 0.5))


def test_global_means_are_those_of_the_training_rows(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    forecast = global_means().fit(train, seed=0).forecast(test)
    assert (forecast.quality == train.table.scores.mean(axis=0)).all()
    assert (forecast.usd == train.table.usd.mean(axis=0)).all()


def test_domain_table_knows_each_domain_and_falls_back_on_an_unseen_one(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    easy = np.array(train.table.domains) == "easy"
    asked = np.array(test.table.domains) == "easy"
    known = domain_table().fit(train, seed=0).forecast(test).quality[asked]
    unseen = domain_table().fit(train.rows(~easy), seed=0).forecast(test).quality[asked]
    assert (known == train.table.scores[easy].mean(axis=0)).all()
    assert (unseen == train.table.scores[~easy].mean(axis=0)).all()


def test_oracle_is_right_wherever_an_arm_is(halves: tuple[Sample, Sample]) -> None:
    train, test = halves
    chosen = choices(oracle().fit(train, seed=0).forecast(test), np.array([0.0]))
    picked = np.take_along_axis(test.table.scores, chosen, axis=1)[:, 0]
    assert (picked == test.table.scores.max(axis=1)).all()


def test_held_out_means_come_from_other_rows(halves: tuple[Sample, Sample]) -> None:
    train, _ = halves
    held_out = global_means().fit(train, seed=0).held_out
    assert held_out is not None
    assert len(np.unique(held_out.quality[:, 0])) == 5
    assert held_out.quality.mean(axis=0) == pytest.approx(train.table.scores.mean(axis=0), abs=0.01)


def test_only_yardsticks_read_labels() -> None:
    made = [make() for make in (fixed, cheapest, random, global_means, domain_table, oracle)]
    assert [each.name for each in made if each.needs_labels] == ["domain_table", "oracle"]


def test_registry_keeps_the_order_of_the_tables_and_takes_all_by_default() -> None:
    assert names_of(()) == tuple(FACTORIES)
    assert names_of(("oracle", "fixed", "oracle")) == ("fixed", "oracle")
    assert make_contender("random").name == "random"


def test_a_name_whose_module_is_absent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FACTORIES, "ghost", "training.no_such_module:make")
    with pytest.raises(ContenderError, match=r"'ghost' cannot be built: no module 'training.no_such_module'"):
        make_contender("ghost")


def test_policies_of_the_zoo_are_made_together_and_keep_their_place() -> None:
    names = ("fixed", "knn", "linear", "blend", "oracle")
    assert [each.name for each in make_contenders(names, encoder_id="hash-1")] == list(names)
