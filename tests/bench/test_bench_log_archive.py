"""The archives that the log benchmark writes are logs as a gateway's: whole, with repeats, drawn as they say."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.log_archive import write_log
from bench.log_scale import Figures, Used, table
from bench.log_world import ARMS, DIM
from policies.archive_schema import read_log, schema
from training.ope.draws import Draws
from training.ope.log import Tally, open_rounds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log"), 3_000, encoder_id="e")


def test_every_request_is_there_once_with_every_column(folder: Path) -> None:
    found = [each for part in read_log(folder, columns=["request_id"]) for each in part["request_id"].to_pylist()]
    assert len(found) == len(set(found)) == 3_000
    for kind in ("decisions", "outcomes", "feedback"):
        path = next(folder.glob(f"archive/{kind}/*/*.parquet"))
        assert pq.read_schema(path).equals(schema(kind))


def test_arms_are_drawn_as_often_as_the_propensities_say(folder: Path) -> None:
    log, draws, tally = open_rounds(folder), Draws.empty(len(ARMS)), Tally()
    for rounds in log.chunks(tally):
        draws.add(rounds)
        assert rounds.embeddings.shape == (len(rounds), DIM)
        assert np.linalg.norm(rounds.embeddings, axis=1) == pytest.approx(1.0, abs=0.002)  # float16
    assert draws.p_value() > 0.001
    assert {"sticky", "forced", "single", "late", "open", "unjudged"} == set(tally.excluded)
    assert tally.n_rounds > 2_000


def test_a_long_log_holds_partitions_that_a_crash_left(tmp_path: Path) -> None:
    folder = write_log(tmp_path, 6_000, encoder_id="e", batch_rows=64)
    begins = Counter(path.name.rsplit("-", 2)[0] for path in folder.glob("archive/decisions/shard=07/*.parquet"))
    assert max(begins.values()) == 2
    assert sum(part.num_rows for part in read_log(folder, columns=["kind"])) == 6_000


def test_the_table_has_a_row_for_each_size() -> None:
    used = Used(wall_s=100.0, cpu_s=50.0, peak_mb=400.0)
    assert table([Figures(10_000, used, used)]).splitlines()[-1] == "| 10,000 | 100 | 100 | 100 | 50 | 400 |"
