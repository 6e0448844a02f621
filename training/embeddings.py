"""Embeddings of training prompts, kept on disk by encoder and text, so that a second run embeds nothing."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from policies.encoders.base import Encoder
from policies.encoders.cache import cache_root

Floats = NDArray[np.float32]
Progress = Callable[[int], None]

_SAVE_EVERY_S = 60.0  # all of the file each time: after every 512 prompts it took a seventh of the time in the end
_MOST_THREADS = 8


def embed_prompts(
    encoder: Encoder, prompts: Sequence[str], *, cache_dir: Path | None = None, progress: Progress = lambda n: None
) -> Floats:
    """Embeddings of ``prompts``, shape (n, dim), float32; what is not yet on disk is computed and kept there.

    The cache holds text hashes and vectors, never text. ``progress`` is told how many prompts became ready. Each text
    goes through by itself, on one of as many threads as there are processors: their number changes no vector.
    """
    file = cache_root(cache_dir).parent / "embeddings" / f"{encoder.encoder_id}.npz"
    known = _read(file, dim=encoder.dim)
    keys = [hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest() for prompt in prompts]
    missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
    progress(len(prompts) - len(missing))
    n_saved, saved_s = len(known), monotonic()
    try:
        for key, vector in zip(missing, _each(encoder, missing.values()), strict=True):
            known[key] = vector
            progress(1)
            if monotonic() - saved_s > _SAVE_EVERY_S:
                _write(file, known)
                n_saved, saved_s = len(known), monotonic()
    finally:  # also what was embedded before an error or Ctrl-C
        if len(known) > n_saved:
            _write(file, known)
    return np.stack([known[key] for key in keys]) if keys else np.zeros((0, encoder.dim), np.float32)


def _each(encoder: Encoder, texts: Iterable[str]) -> Iterator[Floats]:
    """The vectors of texts, in their order."""
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, _MOST_THREADS)) as threads:
        try:
            yield from threads.map(lambda text: encoder.encode([text])[0], texts)
        finally:
            threads.shutdown(cancel_futures=True)  # one that failed, or a reader that went away, ends the others too


def _read(file: Path, *, dim: int) -> dict[bytes, Floats]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            keys, vectors = stored["keys"], stored["vectors"]
    except (OSError, ValueError, KeyError, BadZipFile):
        return {}  # absent, or cut short by an earlier crash: embedding again is always right
    if vectors.shape != (len(keys), dim):
        return {}
    return {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}


def _write(file: Path, vectors: dict[bytes, Floats]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    keys = np.frombuffer(b"".join(vectors), dtype=np.uint8).reshape(len(vectors), 32)
    fresh = file.with_name(f".{os.getpid()}.{file.name}")
    with fresh.open("wb") as stream:
        np.savez(stream, keys=keys, vectors=np.stack(list(vectors.values())))
    fresh.replace(file)
