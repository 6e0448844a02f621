"""`gearshift collect` as a person runs it, against a real gateway with a scripted model behind it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.cli import main
from training.records.stream import open_records

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "acceptance"))

from running import RunningGateway

PRICE = {"small": {"input": 0.1, "output": 0.4}, "large": {"input": 1.0, "output": 4.0}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    script = folder / "script.json"
    answers = {"small": {"text": "The answer is (B)."}, "large": {"text": "Surely the answer is (C)."}}
    script.write_text(json.dumps({"models": answers, "default": {"first_s": 0.02}}))
    models = {
        name: {"deployments": [{"upstream": "fake", "base_url": script.as_uri(), "model": name}], "price": price}
        for name, price in PRICE.items()
    }
    config = {"models": models, "policy": {"name": "uniform"}, "encoder": {"name": "static"}}
    with RunningGateway(folder, config) as running:
        yield running


def billed_usd(gateway: RunningGateway) -> float:
    """What the gateway's own log says was spent."""
    return sum(row["usd"] or 0.0 for row in gateway.export())


def collect(gateway: RunningGateway, folder: Path, *more: str) -> int:
    prompts = folder / "prompts.jsonl"
    lines = [{"id": f"q{at}", "prompt": f"Which one, {at}?", "reference": "C", "domain": "tests"} for at in range(6)]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    paths = ["--prompts", str(prompts), "--out", str(folder / "out"), "--base-url", f"{gateway.url}/v1"]
    return main(["collect", *paths, "--check", "choice", "--json", *more])


def cells_in(folder: Path) -> list[tuple[str, str]]:
    """The graded cells in a journal, whole lines only."""
    file = folder / "out" / "calls.journal"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return [(row["query_id"], row["arm"]) for row in rows if row["kind"] == "cell"]


def test_a_full_table_is_collected_and_read_back(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = billed_usd(gateway)
    assert collect(gateway, tmp_path, "--max-usd", "0.2") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["complete"] == 6
    assert {line["arm"]: line["accuracy"] for line in summary["arms"]} == {"small/instant": 0.0, "large/instant": 1.0}
    records = list(open_records(tmp_path / "out").records())
    assert len(records) == 12
    assert all(record.usd and record.input_tokens and record.output_tokens for record in records)
    assert summary["spent_usd"] == pytest.approx(billed_usd(gateway) - before, abs=1e-9)


def test_the_cap_stops_it_with_status_1_and_a_word_on_what_is_missing(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(gateway, tmp_path, "--max-usd", "0.0001") == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["stopped"] == "cap"
    assert summary["spent_usd"] + summary["held_usd"] <= 0.0001
    assert sum(line["missing"] for line in summary["arms"]) > 0


def test_a_wrong_arm_is_named_beside_the_gateways_own(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(gateway, tmp_path, "--max-usd", "1", "--arms", "small") == 1
    assert "'small' is no arm of this gateway; it has small/instant, large/instant" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_asks_no_graded_cell_again(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[1:3]\n"
        "from types import SimpleNamespace; from test_collect_gateway import collect\n"
        "collect(SimpleNamespace(url=sys.argv[3]), Path(sys.argv[4]), '--max-usd', '1', '--concurrency', '1')"
    )
    here = Path(__file__).parent
    paths = [str(here), str(here.parents[1] / "acceptance"), gateway.url, str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", program, *paths], stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 20
        while len(cells_in(tmp_path)) < 4:
            assert running.poll() is None
            assert time.monotonic() < deadline
        running.kill()
    before = cells_in(tmp_path)
    assert 4 <= len(before) < 12
    assert collect(gateway, tmp_path, "--max-usd", "1") == 0
    after = cells_in(tmp_path)
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == 12
    assert json.loads(capsys.readouterr().out)["held_usd"] >= 0.0
