"""What pairs say of a floor, and the book that keeps them."""

from pathlib import Path

import numpy as np
import pytest
from watched_log import CHEAP, DEAR

from policies.floor_watch import FloorWatch
from training.collect.errors import CollectError
from training.floors.pair_book import Pair, PairBook
from training.floors.sampled import Drawn
from training.floors.watched import after, watched

FLOOR = 0.9


def pair(number: int, score: float, reference: float, *, weight: int = 1, arm: str = CHEAP) -> Pair:
    return Pair(Drawn(f"d{number}", float(number), FLOOR, arm, weight), score, reference)


def test_means_and_ratio_are_those_of_the_pairs() -> None:
    found = watched(
        FLOOR, [pair(0, 1.0, 1.0), pair(1, 0.0, 1.0), pair(2, 0.5, 0.0), pair(3, 0.0, 0.0)], false_alarm=0.05
    )
    assert (found.pairs, found.score, found.reference_score) == (4, 0.375, 0.5)
    assert found.ratio == pytest.approx(0.75)
    assert found.low is None  # four pairs are too few for an interval


def test_before_any_pair_rests_on_scores_nothing_is_claimed() -> None:
    found = watched(FLOOR, [pair(at, 0.0, 0.0, weight=0, arm=DEAR) for at in range(40)], false_alarm=0.05)
    assert (found.pairs, found.asked, found.score, found.ratio, found.low) == (40, 0, None, None, None)
    assert found.watch.capital == 1.0


def test_the_interval_covers_the_ratio_in_about_19_of_20_samples() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        scores = (rng.random((150, 2)) < [0.64, 0.8]).astype(float)
        found = watched(FLOOR, [pair(i, *each) for i, each in enumerate(scores)], false_alarm=0.05)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.8 <= found.high
    assert covered >= 88  # 95, less three standard errors


def test_one_that_speaks_for_ten_tells_on_average_what_all_would() -> None:
    rng, n = np.random.default_rng(1), 4_000
    right, asked = rng.random(n) < 0.6, rng.random(n) < 0.1
    every = watched(FLOOR, [pair(i, float(r), float(r), arm=DEAR) for i, r in enumerate(right)], false_alarm=0.05)
    some = [
        pair(i, float(r and a), float(r and a), weight=10 if a else 0, arm=DEAR)
        for i, (r, a) in enumerate(zip(right, asked, strict=True))
    ]
    told = watched(FLOOR, some, false_alarm=0.05)
    assert (told.pairs, told.ratio, told.watch.alarmed) == (n, 1.0, False)
    assert told.asked == asked.sum()
    assert told.score == pytest.approx(every.score, abs=4 * np.sqrt(0.24 * 10 / n))
    assert told.watch.n_pairs == every.watch.n_pairs


def test_a_floor_that_just_holds_seldom_alarms_though_few_pairs_of_the_reference_arm_are_asked() -> None:
    """Half are served by the reference arm (0.7 right); the cheap arm's scores make the ratio 0.9 exactly."""
    rng, alarms = np.random.default_rng(2), 0
    for _ in range(300):
        watch = FloorWatch(FLOOR, 0.2, window=200)
        own, asked, score = rng.random((200, 2)), rng.random(200) < 0.1, rng.random(200)
        for at, by_reference in enumerate(rng.random(200) < 0.5):
            if by_reference:
                right = float(asked[at] and score[at] < 0.7)
                each = pair(at, right, right, weight=10 if asked[at] else 0, arm=DEAR)
            else:
                each = pair(at, float(own[at, 0] < 0.56), float(own[at, 1] < 0.7))  # .5·(.56 + .7) = .9·.7
            watch = after(watch, each)
        alarms += watch.alarmed
    assert alarms / 300 <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 300)


def test_the_alarm_names_the_pair_that_raised_it() -> None:
    calm = [pair(i, 1.0, 1.0) for i in range(50)]
    found = watched(FLOOR, [*calm, *(pair(50 + i, 0.0, 1.0) for i in range(60))], false_alarm=0.05)
    assert found.alarmed_at_pair is not None
    assert 50 < found.alarmed_at_pair <= 110
    assert found.alarmed_at == found.alarmed_at_pair - 1.0  # its decision's time


def test_a_book_goes_on_where_it_ended_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    first, second = Drawn("d1", 1.0, FLOOR, CHEAP, prompt="a"), Drawn("d2", 2.0, FLOOR, CHEAP, prompt="b")
    with PairBook(tmp_path) as book:
        book.draw(first, version="v", seed=0)
        book.draw(second, version="v", seed=0)
        book.hear(Pair(first, 1.0, 0.5), version="v")
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(file.read_bytes() + b'{"kind":"pair","ver')
    with PairBook(tmp_path) as book:
        pairs = book.pairs(version="v", seed=0)
        assert (pairs.seen, pairs.waiting, pairs.newest_at) == ({"d1", "d2"}, [second], 2.0)
        assert pairs.heard == [Pair(first, 1.0, 0.5)]
        assert book.pairs(version="another", seed=3).seen == set()
        with pytest.raises(CollectError, match="--seed 0"):
            book.pairs(version="v", seed=1)
