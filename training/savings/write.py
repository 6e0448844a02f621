"""Writes savings as a folder, and what is known of each request as CSV."""

import csv
from pathlib import Path

import numpy as np
import orjson

from training.ope.write import PageTable, write_page, write_picture
from training.report.drawing import look
from training.savings.picture import cumulative
from training.savings.show import HEADS, cells, lines_of
from training.savings.task import Savings


def as_json(savings: Savings) -> bytes:
    """As ``gearshift savings --json`` prints it; what is infinite or unknown is null."""
    return orjson.dumps(savings.plain(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)


def write_savings(savings: Savings, folder: Path) -> Path:
    """Write ``savings.json``, ``savings.html`` and ``savings.png``; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "savings.json").write_bytes(as_json(savings) + b"\n")
    rows = [(name, *cells(found)) for name, found in (*savings.groups.items(), ("all", savings.whole))]
    with look():
        drawn = write_picture(cumulative(savings), folder)
    return write_page(
        folder / "savings.html",
        "Savings",
        lines=list(lines_of(savings)),
        tables=[PageTable(f"against {savings.baseline.name}", ("", *HEADS), rows)],
        pictures=[drawn],
    )


def write_requests(savings: Savings, file: Path) -> int:
    """A line for each request with a drawn arm and a known cost; returns how many.

    ``baseline_predicted_usd`` is what its decision row predicted of the baseline, empty where it predicted nothing: of
    one request nobody knows more.
    """
    found = savings.paid.predicted
    with file.open("w", newline="") as target:
        rows = csv.writer(target, lineterminator="\n")
        rows.writerow(("request_id", "at", "tenant", "arm", "paid_usd", "predicted_usd", "baseline_predicted_usd"))
        if found is None:
            return 0
        shown = (found.request_id, found.at, found.tenant, found.arm, found.paid, found.taken, found.baseline)
        for row in zip(*(each.tolist() for each in shown), strict=True):
            rows.writerow([("" if isinstance(cell, float) and np.isnan(cell) else cell) for cell in row])
        return len(found.at)
