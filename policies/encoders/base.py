"""What every text encoder promises, and the errors by which one refuses to serve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Turns texts into unit vectors; a row depends on its text alone, bit-equal alone and in any batch.

    Several threads may call it at once.
    """

    @property
    def encoder_id(self) -> str:
        """`<name>-<12 hex digits>`: a hash of source weights, recipe version, pooling and bounds."""

    @property
    def name(self) -> str:
        """The registered name, e.g. `minilm`."""

    @property
    def dim(self) -> int:
        """Length of one embedding."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised embeddings, shape (len(texts), dim)."""


class EncoderError(Exception):
    """An encoder cannot be used; the message says what to do."""


class EncoderUnavailable(EncoderError):
    """Something that the encoder needs is not installed, not prepared or does not answer."""


class EncoderCorrupt(EncoderError):
    """A file of a prepared encoder differs from its manifest."""


class EncoderMismatch(EncoderError):
    """An encoder gives other vectors than the one an artifact was trained with."""


def prepare_command(name: str, source: str | None = None) -> str:
    """The shell command that prepares an encoder."""
    return f"python -m policies.encoders prepare {name}" + (f" --source {source}" if source else "")


def make_encoder_id(name: str, facts: object) -> str:
    """The encoder's id from its name and from everything that decides its vectors (JSON values)."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"
