"""A million logged rounds with their embeddings: learned from and evaluated on in minutes, in time linear in them."""

from pathlib import Path

import pytest

from bench.log_scale import Figures, measured

MOST_S, MOST_MB = 300.0, 3_000.0  # both commands on two cores
MOST_BYTES_PER_ROUND = 150.0  # by which memory may grow: labels, weights and the join, never what a decision carries
SLACK = 1.3  # of linear: timings on a shared machine


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Figures]:
    folder: Path = tmp_path_factory.mktemp("log-scale")
    return {n: measured(n, folder) for n in (10_000, 100_000, 1_000_000)}


@pytest.mark.accept
@pytest.mark.timeout(1_800)
def test_a_million_rounds_take_minutes_and_a_part_of_the_memory(figures: dict[int, Figures]) -> None:
    longest = figures[1_000_000]
    assert longest.wall_s <= MOST_S
    assert longest.peak_mb <= MOST_MB


@pytest.mark.accept
@pytest.mark.timeout(1_800)
def test_time_grows_no_faster_than_the_log(figures: dict[int, Figures]) -> None:
    for shorter, longer in ((10_000, 100_000), (100_000, 1_000_000)):
        assert figures[longer].cpu_s <= SLACK * longer / shorter * figures[shorter].cpu_s


@pytest.mark.accept
@pytest.mark.timeout(1_800)
def test_memory_grows_by_some_bytes_a_round(figures: dict[int, Figures]) -> None:
    for command in ("train", "evaluate"):
        low, high = (getattr(figures[n], command).peak_mb for n in (100_000, 1_000_000))
        assert (high - low) * 1e6 / 900_000 <= MOST_BYTES_PER_ROUND
