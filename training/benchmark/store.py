"""Keeps each finished forecast on disk under a name that says everything that decided it, so that a run can resume."""

import hashlib
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import orjson

from training.contender import Forecast

FORMAT = 1
_CODE = (
    "policies/**/*.py",
    "training/*.py",
    "training/contenders/*.py",
    "training/prior/**/*.py",
    "training/zoo/**/*.py",
)
_FITTING = tuple(f"training/benchmark/{name}.py" for name in ("fit", "latency", "robustness", "seeing", "splits"))
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "lightgbm", "torch")


@dataclass(frozen=True, slots=True)
class Record:
    """What one fit of one contender left behind.

    Attributes:
        forecast: Of the test rows.
        facts: ``fit_s``, ``reference_usd``, ``committed`` (level → index of λ), and, where measured, ``decision_us``,
            ``robustness``, ``settings``.
    """

    forecast: Forecast
    facts: dict[str, Any]


def code_version(root: Path | None = None) -> str:
    """Hash of the code and libraries that can change a forecast; what only measures or reports is left out."""
    base = root or Path(__file__).resolve().parents[2]
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    for pattern in (*_CODE, *_FITTING):
        for file in sorted(base.glob(pattern)):
            digest.update(str(file.relative_to(base)).encode() + b"\0" + file.read_bytes())
    for name in _LIBRARIES:
        digest.update(f"{name} {_version(name)}".encode())
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


class ForecastStore:
    """Records in a folder; a file that cannot be read counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: dict[str, Any]) -> Record | None:
        """The record kept for ``key``, None if there is none."""
        try:
            with self._file(key).open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            facts = orjson.loads(arrays.pop("facts").tobytes())
            return Record(Forecast(**arrays), facts)
        except (OSError, ValueError, KeyError, TypeError, BadZipFile):
            return None

    def write(self, key: dict[str, Any], record: Record) -> None:
        """Keep a record; readers see it whole or not at all."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        names = ("quality", "usd", "far", "seconds", "dist")
        arrays = {name: getattr(record.forecast, name) for name in names}
        facts = np.frombuffer(orjson.dumps(record.facts, option=orjson.OPT_SERIALIZE_NUMPY), dtype=np.uint8)
        fresh = file.with_name(f".{os.getpid()}.{file.name}")
        with fresh.open("wb") as stream:
            np.savez(stream, facts=facts, **{name: array for name, array in arrays.items() if array is not None})
        fresh.replace(file)

    def _file(self, key: dict[str, Any]) -> Path:
        digest = hashlib.sha256(orjson.dumps(key, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return self._folder / f"{key['pool']}-{key['policy']}-{digest[:24]}.npz"
