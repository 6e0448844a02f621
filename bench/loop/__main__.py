"""`python -m bench.loop`: the closed loop over HTTP on recorded outcomes, with figures before and after."""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from bench.loop.plan import LoopFailed, Settings
from bench.loop.run import LoopResult, run_loop
from bench.loop.show import lines_of, markdown, tables_of
from policies.pools import PoolError


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    default = {each.name: each.default for each in fields(Settings)}
    parser = argparse.ArgumentParser(prog="python -m bench.loop", description=__doc__)
    data = os.environ.get("GEARSHIFT_DATA") or str(Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data), help="recorded outcome sets (or GEARSHIFT_DATA)")
    parser.add_argument("--pool", default=default["pool"], help="pool of pools.json there")
    parser.add_argument("--prompts", type=int, default=default["prompts"], help="logged and learned from")
    parser.add_argument("--fresh", type=int, default=default["fresh"], help="logged after that, evaluated on")
    parser.add_argument("--live", type=int, default=default["live"], help="served live at most; 0: all that are left")
    parser.add_argument("--explore", type=float, default=default["explore"], help="exploration while logging")
    parser.add_argument("--usd-per-correct-answer", type=float, default=default["usd_per_correct_answer"])
    parser.add_argument("--encoder", default=default["encoder"], help="static or minilm")
    parser.add_argument("--concurrency", type=int, default=default["concurrency"], help="requests at once")
    parser.add_argument("--seed", type=int, default=default["seed"], help="of the parts and the fit")
    parser.add_argument("--folder", type=Path, help="keep configurations, log and artifact here; it must be empty")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Exit status 0: the loop closed; 1: a step failed."""
    options, err = _arguments(argv), Console(stderr=True)
    kept = {each.name: getattr(options, each.name) for each in fields(Settings) if each.name != "folder"}
    with tempfile.TemporaryDirectory(prefix="gs-loop-", ignore_cleanup_errors=True) as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if any(folder.iterdir()):
                raise LoopFailed(f"{folder} is not empty; a log of another run would mix with this one")
            with err.status("starting") as status:
                result = run_loop(Settings(folder=folder, **kept), tell=lambda step: _next(err, status, step))
        except (LoopFailed, PoolError) as problem:
            err.print(f"error: {problem}", style="red", markup=False)
            return 1
    command = shlex.join(["python", "-m", "bench.loop", *argv])
    if options.markdown:
        options.markdown.write_text(f"Made by `{command}`.\n\n{markdown(result)}")
    _print(result, as_json=options.json)
    return 0


def _next(err: Console, status: object, step: str) -> None:
    err.print(f"→ {step}")
    status.update(step)  # type: ignore[attr-defined]


def _print(result: LoopResult, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(asdict(result), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    screen = Console(width=None if sys.stdout.isatty() else 160)
    for shown in tables_of(result):
        table = Table(*shown.head, title=shown.title, title_justify="left")
        for row in shown.rows:
            table.add_row(*(cell.replace("**", "") for cell in row))
        screen.print(table)
    for line in lines_of(result):
        screen.print(line, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
