import itertools

import numpy as np

from training.report import words
from training.report.frontier import mixed
from training.report.labels import place_labels
from training.report.result import Estimate


def test_labels_of_a_crowd_cover_neither_each_other_nor_a_point() -> None:
    points = [tuple(point) for point in np.random.default_rng(0).uniform(0, 0.4, size=(8, 2)).tolist()]
    places = place_labels(points, size=(0.13, 0.13))
    for (x, y), (u, v) in itertools.combinations(places, 2):
        assert abs(x - u) >= 0.13 or abs(y - v) >= 0.13
    for (x, y), (u, v) in itertools.product(places, points):
        assert max(abs(x - u), abs(y - v)) >= 0.85 * 0.13


def test_a_lone_label_stands_above_its_point() -> None:
    ((x, y),) = place_labels([(1.0, 2.0)], size=(0.1, 0.1))
    assert abs(x - 1.0) < 1e-9
    assert y > 2.0


def test_numbers_are_short_and_signed_truly() -> None:
    assert words.signless(-0.04, 1) == "0.0"
    assert words.points(0.04) == "0.0"
    assert words.points(-2.25) == "−2.2"
    assert words.usd_per_thousand(0.000608) == "$0.608"
    assert words.significant(12345.678) == "12,346"
    assert words.interval(Estimate(1.0, -2.4, 3.6)) == "[−2, 4]"
    assert words.interval(Estimate(1.0)) == ""
    assert words.interval(Estimate(9.0, 0.2, 20.0)) == "[0.2, 20.0]"
    assert [words.counted(n, "arm") for n in (1, 2)] == ["1 arm", "2 arms"]
    assert words.listed(["a", "b", "c"]) == "a, b and c"


def test_between_two_points_a_line_is_straight_in_usd() -> None:
    usd, accuracy = mixed(np.array([0.001, 0.011]), np.array([0.4, 0.8]))
    np.testing.assert_allclose(accuracy, 40 + 4 * (usd - 1.0))
    assert (np.diff(usd) >= 0).all()
    assert len(usd) == 200
