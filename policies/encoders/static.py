"""The static encoder: a vector per token, summed and normalised; numpy and a tokenizer, a tenth of a millisecond.

A static encoder is a folder, whoever wrote it (`distil.py` here, or a trainer that fitted it to a teacher):

- `table.safetensors`: `vectors` (vocabulary, width), float16 or float32, row = token id; optionally `map` (width, dim),
  float32, applied to the sum of the rows.
- `tokenizer.json`: a Hugging Face tokenizer whose ids are the rows.
- `manifest.json`: `format`, `name` ("static"), `encoder_id`, `recipe` (free), `bounds`, `files` (name to SHA-256).

`save_static` writes such a folder, `load(source=FOLDER)` opens it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.encoders.base import EncoderCorrupt, EncoderUnavailable, Vectors, make_encoder_id, prepare_command
from policies.encoders.bounds import Bounds
from policies.encoders.cache import MANIFEST, build_lock, file_sha256, is_sound, publish, read_verified, write_manifest
from policies.encoders.distil import distil, distilled_folder, distilled_id
from policies.encoders.source import find_source
from policies.wording import WORDING_ID

NAME = "static"
BOUNDS = Bounds(head_tokens=256, tail_tokens=256)
TABLE, TOKENIZER = "table.safetensors", "tokenizer.json"
_TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


class StaticEncoder:
    """Sum of token vectors, optionally mapped, L2-normalised. The table stays on disk, shared between processes."""

    is_quick = True  # bounded by characters and tokens: 0.1 ms for 30 words, 0.6 ms for the longest text

    def __init__(self, folder: Path, *, encoder_id: str, bounds: Bounds) -> None:
        from tokenizers import Tokenizer

        from policies.encoders.words import WordMemory

        self.encoder_id, self.name, self._bounds = encoder_id, NAME, bounds
        tensors = _map_tensors(folder / TABLE)
        self._vectors, self._map = tensors["vectors"], tensors.get("map")
        self.dim = int((self._vectors if self._map is None else self._map).shape[1])
        # Set up once: changing a tokenizer while another thread uses it raises "Already borrowed".
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._words = WordMemory(self._tokenizer)
        if self._tokenizer.get_vocab_size() > len(self._vectors):
            raise EncoderCorrupt(
                f"{folder}: {len(self._vectors)} vectors for {self._tokenizer.get_vocab_size()} tokens"
            )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised embeddings, shape (len(texts), dim); a text without tokens gets the first unit vector."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._encode(text)
        return vectors

    def _encode(self, text: str) -> Vectors:
        found = self._words.ids(self._bounds.clip_text(text))
        total: Vectors = self._vectors[self._bounds.clip_tokens(found)].sum(axis=0, dtype=np.float32)
        if self._map is not None:
            total = total @ self._map
        norm = float(np.sqrt(total @ total))
        if norm == 0.0:
            total[0], norm = 1.0, 1.0
        return total / np.float32(norm)


def save_static(
    folder: Path,
    vectors: NDArray[np.float16] | NDArray[np.float32],
    *,
    tokenizer_json: bytes,
    map_to_dim: NDArray[np.float32] | None = None,
    recipe: dict[str, Any] | None = None,
    bounds: Bounds = BOUNDS,
    encoder_id: str | None = None,
) -> str:
    """Write a static encoder as the module describes, whole or not at all, and return its id.

    Args:
        folder: Where; replaced if it exists.
        vectors: Token vectors, shape (vocabulary, width), finite.
        tokenizer_json: The content of `tokenizer.json`.
        map_to_dim: Optional linear map, shape (width, dim).
        recipe: How the vectors came about, JSON values, for the reader of the manifest.
        bounds: How much of a text is read.
        encoder_id: The id; None makes it from the content of the files.

    Raises:
        ValueError: A vector is not finite, or the map's shape does not fit.
    """
    if not np.isfinite(vectors).all() or (map_to_dim is not None and not np.isfinite(map_to_dim).all()):
        raise ValueError("token vectors or their map hold a number that is not finite; float16 ends at 65504")
    if map_to_dim is not None and map_to_dim.shape[0] != vectors.shape[1]:
        raise ValueError(f"a map of shape {map_to_dim.shape} does not fit vectors of width {vectors.shape[1]}")
    written = ""

    def build(place: Path) -> None:
        nonlocal written
        _save_tensors(place / TABLE, vectors, map_to_dim)
        (place / TOKENIZER).write_bytes(tokenizer_json)
        content = {
            "bounds": bounds.facts(),
            "table": file_sha256(place / TABLE),
            "text": file_sha256(place / TOKENIZER),
        }
        written = encoder_id or make_encoder_id(NAME, content)
        facts = {"name": NAME, "encoder_id": written, "recipe": recipe or {}, "bounds": bounds.facts()}
        write_manifest(place, facts)

    publish(folder, build)
    return written


def load(*, source: str | None = None, cache_dir: Path | None = None) -> StaticEncoder:
    """Open a static encoder: the folder `source`, or the one distilled from MiniLM (or from the teacher `source`).

    Raises:
        EncoderUnavailable: Nothing is prepared, or the folder is no static encoder.
        EncoderCorrupt: A file differs from the manifest.
    """
    folder = _folder(source, cache_dir)
    manifest = read_verified(folder, remedy=prepare_command(NAME, source))
    try:
        # Written before bounds named their wording: it read texts as they are.
        bounds, encoder_id = Bounds(**{"wording": "", **manifest["bounds"]}), str(manifest["encoder_id"])
    except (KeyError, TypeError) as error:
        raise EncoderCorrupt(f"{folder / MANIFEST} is not the manifest of a static encoder") from error
    if bounds.wording != WORDING_ID:
        raise EncoderUnavailable(
            f"{folder}: made for texts in wording {bounds.wording or 'as they are'!r}, this version reads "
            f"{WORDING_ID!r}; make it again with the command that made it (gearshift train encoder)"
        )
    return StaticEncoder(folder, encoder_id=encoder_id, bounds=bounds)


def is_prepared(*, source: str | None = None, cache_dir: Path | None = None) -> bool:
    """Whether `load` would find a sound encoder."""
    return is_sound(_folder(source, cache_dir))


def build(*, source: str | None = None, cache_dir: Path | None = None) -> Path:
    """Distil the static encoder from its teacher unless a sound one is there; returns its folder.

    Raises:
        EncoderUnavailable: The teacher is missing, or `source` is a damaged static encoder, which only its maker can
            write again.
    """
    folder = _folder(source, cache_dir)
    if _is_static_folder(source):
        read_verified(folder, remedy="the training command that made it")
        return folder
    teacher = find_source(source)
    with build_lock(folder):
        if not is_sound(folder):
            vectors = distil(teacher)
            encoder_id = distilled_id(NAME, teacher, BOUNDS)
            text = teacher.tokenizer.read_bytes()
            save_static(folder, vectors, tokenizer_json=text, recipe={"distilled": "model2vec"}, encoder_id=encoder_id)
    return folder


def _is_static_folder(source: str | None) -> bool:
    return source is not None and (Path(source).expanduser() / TABLE).is_file()


def _folder(source: str | None, cache_dir: Path | None) -> Path:
    if source is not None and _is_static_folder(source):
        return Path(source).expanduser()
    return distilled_folder(NAME, find_source(source), BOUNDS, cache_dir)


def _save_tensors(path: Path, vectors: NDArray[Any], map_to_dim: NDArray[np.float32] | None) -> None:
    from safetensors.numpy import save_file

    tensors = {"vectors": np.ascontiguousarray(vectors)}
    if map_to_dim is not None:
        tensors["map"] = np.ascontiguousarray(map_to_dim, np.float32)
    save_file(tensors, path)


def _map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file as views of the mapped file; the library's own reader copies them."""
    whole = np.memmap(path, np.uint8, mode="r")
    header_end = 8 + int.from_bytes(whole[:8].tobytes(), "little")
    header = json.loads(whole[8:header_end].tobytes())
    tensors: dict[str, NDArray[Any]] = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        if facts["dtype"] not in _TYPES:
            raise EncoderUnavailable(f"{path}: tensor {name!r} is {facts['dtype']}; write F16 or F32")
        begin, end = (header_end + offset for offset in facts["data_offsets"])
        tensors[name] = np.asarray(whole[begin:end]).view(_TYPES[facts["dtype"]]).reshape(facts["shape"])
    if "vectors" not in tensors:
        raise EncoderCorrupt(f"{path} holds no tensor 'vectors'")
    return tensors
