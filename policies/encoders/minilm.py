"""MiniLM-L6-v2 on ONNX Runtime: int8 per channel (`minilm`) or float32 (`minilm-fp32`), built once from safetensors.

Texts go through one at a time: the int8 scheme scales activations per tensor, so a batch would change a row's bits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policies.encoders.base import EncoderUnavailable, Vectors, make_encoder_id, prepare_command
from policies.encoders.bounds import Bounds
from policies.encoders.cache import build_lock, cache_root, is_sound, publish, read_verified, write_manifest
from policies.encoders.probes import PROBE_TEXTS
from policies.encoders.source import ModelSource, find_source

_SPECIAL_TOKENS = 2
_MODEL, _TOKENIZER = "model.onnx", "tokenizer.json"
_MIN_INT8_COSINE = 0.97
_VERSION = 4  # raise it when the same sources would give other vectors


@dataclass(frozen=True)
class Recipe:
    """How the vectors come from the weights; part of the encoder's id."""

    name: str
    int8: bool
    bounds: Bounds = field(default_factory=Bounds)

    def encoder_id(self, source: ModelSource) -> str:
        """The id of the encoder that this recipe makes from those weights."""
        facts = {"version": _VERSION, "int8": self.int8, "pooling": "mean", "bounds": self.bounds.facts()}
        return make_encoder_id(self.name, {**facts, "source": source.digests()})


INT8, FP32 = Recipe("minilm", int8=True), Recipe("minilm-fp32", int8=False)


class BertEncoder:
    """One ONNX session and one tokenizer; safe to call from several threads, each text on its caller's thread."""

    def __init__(self, folder: Path, recipe: Recipe, *, encoder_id: str) -> None:
        from tokenizers import Tokenizer

        from policies.encoders.words import WordMemory

        self.encoder_id, self.name = encoder_id, recipe.name
        self._bounds = recipe.bounds
        self._session = open_session(folder / _MODEL)
        self.dim = int(self._session.get_outputs()[0].shape[1])
        # Set up once: changing a tokenizer while another thread uses it raises "Already borrowed".
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._words = WordMemory(tokenizer)
        self._first, self._last = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised embeddings, shape (len(texts), dim)."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._session.run(None, {"ids": self._token_ids(text)})[0][0]
        return vectors

    def _token_ids(self, text: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        found = self._words.ids(self._bounds.clip_text(text))
        return np.array([[self._first, *self._bounds.clip_tokens(found), self._last]], np.int64)


def open_session(model: Path, *, threads: int = 1) -> Any:
    """An ONNX Runtime session on the processor that neither spins nor hoards memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # One text at a time needs little scratch memory; the arena would keep the largest it ever saw.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def load(*, source: str | None = None, cache_dir: Path | None = None, recipe: Recipe = INT8) -> BertEncoder:
    """Open the prepared encoder after checking its files against their hashes.

    Raises:
        EncoderUnavailable: The weights are not installed or the encoder is not prepared.
        EncoderCorrupt: A prepared file was damaged.
    """
    encoder_id = recipe.encoder_id(find_source(source))
    folder = cache_root(cache_dir) / encoder_id
    read_verified(folder, remedy=prepare_command(recipe.name, source))
    return BertEncoder(folder, recipe, encoder_id=encoder_id)


def is_prepared(*, source: str | None = None, cache_dir: Path | None = None, recipe: Recipe = INT8) -> bool:
    """Whether `load` would find a sound encoder."""
    return is_sound(cache_root(cache_dir) / recipe.encoder_id(find_source(source)))


def build(*, source: str | None = None, cache_dir: Path | None = None, recipe: Recipe = INT8) -> Path:
    """Build the ONNX file into the cache unless a sound one is there; returns its folder. Safe in several processes."""
    found = find_source(source)
    target = cache_root(cache_dir) / recipe.encoder_id(found)
    with build_lock(target):
        if not is_sound(target):
            publish(target, partial(_write, found, recipe, encoder_id=target.name))
    return target


load_fp32 = partial(load, recipe=FP32)
is_prepared_fp32 = partial(is_prepared, recipe=FP32)
build_fp32 = partial(build, recipe=FP32)


def _write(source: ModelSource, recipe: Recipe, folder: Path, *, encoder_id: str) -> None:
    (folder / _MODEL).write_bytes(graph_bytes(source, recipe))
    (folder / _TOKENIZER).write_bytes(source.tokenizer.read_bytes())
    if recipe.int8:
        _check_int8(source, recipe, folder)
    write_manifest(folder, {"encoder_id": encoder_id, "name": recipe.name, "bounds": recipe.bounds.facts()})


def graph_bytes(source: ModelSource, recipe: Recipe) -> bytes:
    """The ONNX model of a recipe.

    Raises:
        EncoderUnavailable: The source is not a plain BERT with mean pooling.
    """
    from safetensors.numpy import load_file

    from policies.encoders.bert_graph import BertShape, build_graph

    remedy = "use the encoder sentence-transformers for it"
    try:
        shape = BertShape.from_config(source.config())
    except ValueError as error:
        raise EncoderUnavailable(f"{source.folder}: {error}; {remedy}") from error
    if source.pooling() != "mean":
        raise EncoderUnavailable(f"{source.folder}: pooling {source.pooling()!r} is not the mean of tokens; {remedy}")
    weights = load_file(source.weights)
    max_tokens = recipe.bounds.head_tokens + recipe.bounds.tail_tokens + _SPECIAL_TOKENS
    return build_graph(weights, shape, max_tokens=max_tokens, int8=recipe.int8)


def _check_int8(source: ModelSource, recipe: Recipe, folder: Path) -> None:
    """Compare with float32 on the probes: int8 kernels of processors without VNNI may saturate."""
    rounded = BertEncoder(folder, recipe, encoder_id="").encode(PROBE_TEXTS)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        exact = Path(place)
        (exact / _MODEL).write_bytes(graph_bytes(source, FP32))
        (exact / _TOKENIZER).write_bytes(source.tokenizer.read_bytes())
        reference = BertEncoder(exact, FP32, encoder_id="").encode(PROBE_TEXTS)
    worst = float((rounded * reference).sum(axis=1).min())
    if worst < _MIN_INT8_COSINE:
        message = f"int8 on this processor is too far from float32 (cosine {worst:.3f}); use encoder {FP32.name}"
        raise EncoderUnavailable(message)
