"""Any sentence-transformers model as an encoder, run in a child process that is started again when it dies."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies.encoders.base import EncoderError, EncoderUnavailable, Vectors, make_encoder_id, prepare_command
from policies.encoders.bounds import Bounds
from policies.encoders.cache import file_sha256
from policies.encoders.child import module_environment, python_module
from policies.encoders.source import find_source
from policies.encoders.wire import WireClosed, WireTimeout, read_frame, write_frame

NAME = "sentence-transformers"
BOUNDS = Bounds(head_chars=4096, tail_chars=4096, head_tokens=0, tail_tokens=0)  # tokens: the model's own bound
_VERSION = 1
_START_S, _ANSWER_S, _END_S = 180.0, 60.0, 5.0
_INSTALL = "pip install 'gearshift[sentence-transformers]'"
_DECIDING = (".safetensors", ".bin", ".json", ".txt", ".model")
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*/*.json", "*/*.safetensors"]


class SentenceTransformersEncoder:
    """Sends texts to the child one request at a time; safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        """Start the child and wait until the model is loaded.

        Raises:
            EncoderUnavailable: The model cannot be loaded.
        """
        self.name, self._folder = NAME, folder
        self.encoder_id = make_encoder_id(
            NAME, {"version": _VERSION, "bounds": BOUNDS.facts(), "files": _digests(folder)}
        )
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self.dim = self._start()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is no child."""
        return None if self._child is None else self._child.pid

    def encode(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised embeddings, shape (len(texts), dim).

        Raises:
            EncoderUnavailable: The child died or hung (the next call starts another), or the model failed on a text.
        """
        if not texts:
            return np.empty((0, self.dim), np.float32)
        with self._lock:
            if self._child is None:
                self._start()
            header, vectors = self._ask({"texts": [BOUNDS.clip_text(text) for text in texts]}, within_s=_ANSWER_S)
        if vectors is None:
            raise EncoderUnavailable(f"sentence-transformers failed on a text: {header.get('error')}")
        return vectors

    def close(self) -> None:
        """End the child. Idempotent; `encode` would start another."""
        with self._lock:
            self._end()

    def _start(self) -> int:
        command = [*python_module("policies.encoders.sentence_child"), str(self._folder), str(os.getpid())]
        environment = {**module_environment(), "TOKENIZERS_PARALLELISM": "false"}
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        header, _ = self._ask(None, within_s=_START_S)
        if "dim" not in header:
            self._end()
            raise EncoderUnavailable(f"sentence-transformers cannot load {self._folder}: {header.get('error')}")
        return int(header["dim"])

    def _ask(self, request: dict[str, list[str]] | None, *, within_s: float) -> tuple[dict[str, Any], Vectors | None]:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise EncoderUnavailable("the encoder's process is not running")
        try:
            if request is not None:
                write_frame(child.stdin.fileno(), request)
            return read_frame(child.stdout.fileno(), within_s=within_s)
        except (WireClosed, WireTimeout, OSError, ValueError) as error:
            late = isinstance(error, WireTimeout)
            status = self._end()
            what = f"gave no answer within {within_s:g} s" if late else f"ended with status {status}"
            message = f"the sentence-transformers process {what}; the next text starts another, its words are on stderr"
            raise EncoderUnavailable(message) from error

    def _end(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            return child.wait(0.2)  # it ends by itself when stdin does, unless it is at work
        except subprocess.TimeoutExpired:
            child.terminate()
        try:
            return child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def load(*, source: str | None = None, cache_dir: Path | None = None) -> SentenceTransformersEncoder:
    """Start the encoder on a local folder, or on a hub id that is already in the hub's cache; None means MiniLM.

    Raises:
        EncoderUnavailable: The library or the model is missing; the message has the command.
    """
    _require_library()
    return SentenceTransformersEncoder(_folder(source, download=False))


def is_prepared(*, source: str | None = None, cache_dir: Path | None = None) -> bool:
    """Whether `load` would find the library and the model."""
    try:
        _require_library()
        _folder(source, download=False)
    except EncoderError:
        return False
    return True


def build(*, source: str | None = None, cache_dir: Path | None = None) -> Path:
    """Download the model if it is a hub id; returns its folder, which is in the hub's own cache."""
    _require_library()
    return _folder(source, download=True)


def _require_library() -> None:
    missing = [name for name in ("torch", "sentence_transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise EncoderUnavailable(f"{' and '.join(missing)} not installed; run: {_INSTALL}")


def _folder(source: str | None, *, download: bool) -> Path:
    if source is None:
        return find_source(None).folder
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise EncoderUnavailable(f"encoder source {source!r} is neither a folder nor a hub id such as owner/model")
    return _hub_folder(source, download=download)


def _hub_folder(repository: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=_WANTED, local_files_only=not download))
    except (OSError, ValueError) as error:
        what = "the hub did not give" if download else "the hub's cache does not hold"
        message = f"{what} {repository!r} ({type(error).__name__}); run: {prepare_command(NAME, repository)}"
        raise EncoderUnavailable(message) from error


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in _DECIDING and path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
