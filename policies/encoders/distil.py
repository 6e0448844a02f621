"""Distils a static encoder from a BERT teacher without prompts: each token alone through it, PCA, Zipf weights.

Source: model2vec (Tulkens and van Dongen, 2024, github.com/MinishLab/model2vec), with the smooth inverse frequency of
Arora, Liang and Ma, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings" (2017). We depart in two points: the
teacher's vectors are L2-normalised before the PCA, and unused and special tokens get a zero vector instead of no row.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.encoders.base import make_encoder_id
from policies.encoders.bounds import Bounds
from policies.encoders.cache import cache_root
from policies.encoders.minilm import FP32, graph_bytes, open_session
from policies.encoders.source import ModelSource

DIM = 256
SIF_COEFFICIENT = 1e-4
_VERSION = 1
_BATCH = 512
_SKIPPED = re.compile(r"\[(unused\d+|PAD|UNK|CLS|SEP|MASK)\]")
Floats = NDArray[np.float32]


def distilled_id(name: str, teacher: ModelSource, bounds: Bounds) -> str:
    """The id of the encoder distilled from a teacher: of the recipe, so that every machine gives it the same one."""
    facts = {"version": _VERSION, "dim": DIM, "sif": SIF_COEFFICIENT, "bounds": bounds.facts(), "pooling": "sum"}
    return make_encoder_id(name, {**facts, "teacher": teacher.digests()})


def distilled_folder(name: str, teacher: ModelSource, bounds: Bounds, cache_dir: Path | None) -> Path:
    """Where the encoder distilled from a teacher is kept."""
    return cache_root(cache_dir) / distilled_id(name, teacher, bounds)


def distil(teacher: ModelSource) -> NDArray[np.float16]:
    """Token vectors, shape (vocabulary, 256); progress goes to stderr. About half a minute on two cores."""
    vocabulary: dict[str, int] = json.loads(teacher.tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    kept = np.array(sorted(i for token, i in vocabulary.items() if not _SKIPPED.fullmatch(token)), np.int64)
    alone = _token_embeddings(teacher, kept, first=vocabulary["[CLS]"], last=vocabulary["[SEP]"])
    weighted = principal_components(alone, DIM) * zipf_weights(len(kept))[:, None]
    vectors = np.zeros((max(vocabulary.values()) + 1, weighted.shape[1]), np.float16)
    vectors[kept] = weighted.astype(np.float16)
    return vectors


def zipf_weights(n_tokens: int) -> Floats:
    """Smooth inverse frequency a / (a + p) with p ∝ 1 / (rank + 1): vocabularies are ordered by frequency."""
    frequency = 1.0 / np.arange(2, n_tokens + 2)
    frequency /= frequency.sum()
    weights: Floats = (SIF_COEFFICIENT / (SIF_COEFFICIENT + frequency)).astype(np.float32)
    return weights


def principal_components(vectors: Floats, dim: int) -> Floats:
    """The centred vectors on their first `dim` principal axes, each with a fixed sign; shape (n, dim)."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # ascending
    axes = axes[:, ::-1][:, :dim]
    # LAPACK leaves the sign of an axis open; without this, two machines could distil mirrored tables.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    components: Floats = (centred @ axes).astype(np.float32)
    return components


def _token_embeddings(teacher: ModelSource, ids: NDArray[np.int64], *, first: int, last: int) -> Floats:
    from rich.console import Console
    from rich.progress import track

    parts: list[Floats] = []
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "teacher.onnx"
        model.write_bytes(graph_bytes(teacher, FP32))
        session = open_session(model, threads=min(os.cpu_count() or 1, 8))
        console = Console(stderr=True)
        starts = range(0, len(ids), _BATCH)
        for start in track(starts, "distilling the static encoder", console=console, disable=not console.is_terminal):
            some = ids[start : start + _BATCH]
            framed = np.stack([np.full_like(some, first), some, np.full_like(some, last)], axis=1)
            parts.append(session.run(None, {"ids": framed})[0])
    return np.concatenate(parts)
