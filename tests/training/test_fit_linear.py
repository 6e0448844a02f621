import numpy as np
import pytest

from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from policies.zoo.linear import LinearPolicy
from training.fold_report import domain_choices, held_out_report, natural_trade_offs
from training.inputs import make_inputs
from training.landmarks import k_means, whitener
from training.left_out import By, left_out_report, parts_of
from training.linear import LinearSettings, fit_linear, ridge_path, split_quality
from training.offline import arm_facts, contexts_of

SETTINGS = LinearSettings(n_dims=6, n_landmarks=16, sharpness=(2.0,), n_folds=3)


def test_ridge_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    x, y, penalty = rng.normal(size=(40, 5)) + 3.0, rng.normal(size=(40, 2)), 2.5
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    exact = np.linalg.solve(xc.T @ xc + penalty * np.eye(5), xc.T @ yc)
    assert ridge_path(x, y, [penalty])[0] == pytest.approx(exact)


def test_shared_and_contrast_parts_add_up_to_the_scores() -> None:
    scores = np.random.default_rng(0).random((20, 3))
    shared, contrast = split_quality(scores)
    assert shared + contrast == pytest.approx(scores)
    assert contrast.sum(axis=1) == pytest.approx(np.zeros(20))


def test_k_means_finds_separated_clusters() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(scale=0.01, size=(50, 2)) + centre for centre in ([0, 0], [5, 0], [0, 5])])
    centres = k_means(points, 3, seed=1)
    assert sorted(np.round(centres).tolist()) == [[0, 0], [0, 5], [5, 0]]


def test_k_means_takes_the_mean_of_what_is_nearest() -> None:
    points = np.random.default_rng(0).normal(size=(300, 5))
    centres = k_means(points, 7, seed=0, n_steps=200)
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert centres == pytest.approx(np.stack([points[nearest == cell].mean(axis=0) for cell in range(7)]))


def test_served_predictions_equal_a_kernel_ridge_written_out(world: OutcomeTable, encoder: object) -> None:
    embeddings = encoder.encode(world.prompts)  # type: ignore[attr-defined]
    inputs = make_inputs(world, embeddings)
    feature_map, ridge, chosen = fit_linear(inputs, SETTINGS)
    phi = feature_map(inputs.embeddings, inputs.lexical)[0] @ whitener(feature_map)
    centred, (shared, contrast) = phi - phi.mean(axis=0), split_quality(world.scores)
    gram, eye = centred.T @ centred, np.eye(phi.shape[1])
    exact = world.scores.mean(axis=0) + centred @ (
        np.linalg.solve(gram + chosen.shared_penalty * eye, centred.T @ (shared - shared.mean(axis=0)))
        + np.linalg.solve(gram + chosen.contrast_penalty * eye, centred.T @ (contrast - contrast.mean(axis=0)))
    )
    policy = LinearPolicy(feature_map, ridge, arms=world.arm_names, encoder_id="hash-1", version="")
    served = policy.expect(inputs.embeddings, inputs.lexical)
    familiar = served.familiarity > 0.9999
    assert familiar.sum() > 100
    assert served.quality[familiar] == pytest.approx(np.clip(exact, 0, 1)[familiar], abs=2e-3)


def test_it_learns_who_is_good_at_what_and_what_it_costs(world: OutcomeTable, encoder: object) -> None:
    embeddings = encoder.encode(world.prompts)  # type: ignore[attr-defined]
    feature_map, ridge, _ = fit_linear(make_inputs(world, embeddings), SETTINGS)
    policy = LinearPolicy(feature_map, ridge, arms=world.arm_names, encoder_id="hash-1", version="")
    easy = np.array([domain == "easy" for domain in world.domains])
    contexts = contexts_of(world, embeddings)
    scores = [policy.score(context, arm_facts(world), TradeOff(quality_per_usd=100.0)) for context in contexts]
    dear = np.array([score.dist[1] for score in scores])
    assert dear[~easy].mean() > 0.95
    assert dear[easy].mean() < 0.05
    predicted = np.mean([score.predictions.usd for score in scores], axis=0)
    assert predicted == pytest.approx(world.usd.mean(axis=0), rel=0.02)


def test_halves_are_judged_above_the_hull_where_there_is_something_to_learn(
    world: OutcomeTable, encoder: object
) -> None:
    embeddings = encoder.encode(world.prompts)  # type: ignore[attr-defined]
    report = left_out_report(
        world,
        embeddings,
        parts_of(world, By.half),
        encoder=encoder,  # type: ignore[arg-type]
        usd_per_correct_answer=(0.01,),
        settings=SETTINGS,
    )
    gain = report.routers[0].gain
    # Half of the queries to either arm: the hull gives (.5 + .9) / 2, knowing gives .9.
    assert gain.gain.value == pytest.approx(0.2, abs=0.05)
    assert gain.gain.low > 0.1


def test_held_out_folds_stand_beside_the_domain_means(world: OutcomeTable, encoder: object) -> None:
    embeddings = encoder.encode(world.prompts)  # type: ignore[attr-defined]
    inputs = make_inputs(world, embeddings)

    def fit(mask: np.ndarray) -> LinearPolicy:  # type: ignore[type-arg]
        feature_map, ridge, _ = fit_linear(inputs.rows(mask), SETTINGS)
        return LinearPolicy(feature_map, ridge, arms=world.arm_names, encoder_id="hash-1", version="")

    report = held_out_report(world, embeddings, fit, usd_per_correct_answer=(0.01,), n_folds=3)
    assert [row.name.split(" at ")[0] for row in report.routers] == ["linear", "domain means"]
    learned, told = (row.gain.accuracy.value for row in report.routers)
    assert learned == pytest.approx(told, abs=0.03)


def test_domain_means_of_an_unseen_domain_fall_back_to_the_overall_best(world: OutcomeTable) -> None:
    easy = np.array([domain == "easy" for domain in world.domains])
    choices = domain_choices(world.rows(~easy), world.rows(easy), usd=0.01)
    assert {choice.arm for choice in choices} == {"dear/instant"}


def test_the_natural_trade_off_is_the_slope_of_the_last_edge(world: OutcomeTable) -> None:
    usd, accuracy = world.usd.mean(axis=0), world.scores.mean(axis=0)
    edge = (usd[1] - usd[0]) / (accuracy[1] - accuracy[0])
    assert natural_trade_offs(world) == pytest.approx((edge, 2 * edge))


def test_a_domain_never_seen_is_given_no_more_than_a_coin_toss_could(world: OutcomeTable, encoder: object) -> None:
    embeddings = encoder.encode(world.prompts)  # type: ignore[attr-defined]
    report = left_out_report(
        world,
        embeddings,
        parts_of(world, By.domain),
        encoder=encoder,  # type: ignore[arg-type]
        usd_per_correct_answer=(0.01,),
        settings=SETTINGS,
    )
    assert report.routers[0].gain.gain.high < 0.05
