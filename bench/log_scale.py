"""How long a log takes to learn from and to be evaluated on: `gearshift train log`, then `gearshift evaluate`.

`python -m bench.log_scale --rounds 10000 100000 1000000` writes archives of so many rounds as a gateway would, runs
both commands on each in processes of their own, and prints seconds and peak memory as JSON and as a table. Files go to
bench/results/ unless --out names another folder; archives are removed unless --keep names a folder for them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

from bench.log_archive import write_log
from bench.log_picture import drawn
from policies.encoders.load import load_encoder, prepare_encoder

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Used:
    """What one command used: wall seconds, CPU seconds (user + system), and peak resident memory in MB (10⁶ bytes)."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Both commands on a log of ``rounds`` requests."""

    rounds: int
    train: Used
    evaluate: Used

    @property
    def wall_s(self) -> float:
        return self.train.wall_s + self.evaluate.wall_s

    @property
    def cpu_s(self) -> float:
        return self.train.cpu_s + self.evaluate.cpu_s

    @property
    def peak_mb(self) -> float:
        return max(self.train.peak_mb, self.evaluate.peak_mb)


def measured(n_rounds: int, folder: Path) -> Figures:
    """Both commands on an archive of ``n_rounds`` in ``folder``, which is written unless it is there.

    Raises:
        RuntimeError: A command failed; the message is what it printed on stderr.
    """
    log, artifact = folder / f"log-{n_rounds}", folder / f"artifact-{n_rounds}"
    if not log.exists():
        prepare_encoder("minilm")
        write_log(log, n_rounds, encoder_id=load_encoder("minilm").encoder_id)
    train = _run("train", "log", "--log", str(log), "--out", str(artifact), "--json")
    evaluate = _run("evaluate", "--log", str(log), "--policy", str(artifact), "--json")
    return Figures(n_rounds, train, evaluate)


def _run(*arguments: str) -> Used:
    command, start = [sys.executable, "-m", "policies.cli", *arguments], perf_counter()
    with tempfile.TemporaryFile() as told:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(child.pid, 0)  # not child.wait(): the usage would be of all children so far
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            told.seek(0)
            raise RuntimeError(f"{' '.join(arguments)}: {told.read().decode(errors='replace').strip()}")
    kib_per_mb = 1e6 / 1024.0
    return Used(perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / kib_per_mb)


def table(figures: Sequence[Figures]) -> str:
    """As Markdown."""
    lines = [
        "| rounds | train log, s | evaluate, s | CPU s of both | rounds/s | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for each in figures:
        cells = (
            each.rounds,
            each.train.wall_s,
            each.evaluate.wall_s,
            each.cpu_s,
            each.rounds / each.wall_s,
            each.peak_mb,
        )
        lines.append("| " + " | ".join(f"{cell:,.0f}" for cell in cells) + " |")
    return "\n".join(lines)


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="log-scale-") as folder:
        yield Path(folder)


def main(argv: Sequence[str]) -> int:
    """Measure every size asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.log_scale", description=__doc__)
    parser.add_argument("--rounds", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for log-scale.json and .png")
    parser.add_argument("--keep", type=Path, help="folder in which archives stay, and are used again")
    options = parser.parse_args(argv)
    with _place(options.keep) as folder:
        figures = [measured(n, folder) for n in sorted(options.rounds)]
    told = json.dumps([asdict(each) for each in figures], indent=1)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "log-scale.json").write_text(told + "\n")
    points = [(each.rounds, each.train.wall_s, each.evaluate.wall_s) for each in figures]
    (options.out / "log-scale.png").write_bytes(drawn(points))
    print(told)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
