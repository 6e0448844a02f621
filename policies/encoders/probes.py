"""Sixteen fixed texts whose vectors travel with an artifact, so that it is never served with another encoder."""

from __future__ import annotations

import numpy as np

from policies.encoders.base import Encoder, EncoderMismatch, Vectors

MIN_COSINE = 0.995
PROBE_TEXTS: tuple[str, ...] = (
    "",
    "hello",
    "What is the capital of France?",
    "Prove that the square root of 2 is irrational.",
    "Solve for x: 3x^2 - 12x + 9 = 0. Show each step.",
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\nWhy is this slow?",
    "Translate to German: The train leaves at seven in the morning.",
    "Résumez en trois phrases les causes de la Révolution française.",
    "请解释一下为什么天空是蓝色的。",
    "Which of the following is a noble gas?\nA) Nitrogen\nB) Argon\nC) Oxygen\nD) Chlorine",
    "A patient presents with fever, stiff neck and photophobia. What is the most likely diagnosis?",
    "Write a SQL query that returns the ten customers with the highest total spend in 2023.",
    "$\\int_0^1 \\frac{\\ln(1+x)}{x}\\,dx$",
    "Book a table for four tomorrow evening and add it to my calendar.",
    "Write a short poem about the sea in winter.",
    "The court held that the contract was void for lack of consideration. Discuss the ruling and its exceptions. " * 20,
)


def probe_vectors(encoder: Encoder) -> Vectors:
    """The encoder's vectors for the probe texts, shape (16, dim)."""
    return encoder.encode(PROBE_TEXTS)


def check_probes(encoder: Encoder, vectors: Vectors) -> None:
    """Check that the encoder still gives the vectors an artifact was trained with.

    Raises:
        EncoderMismatch: The shape differs, or the cosine of some probe is below .995.
    """
    ours = probe_vectors(encoder)
    remedy = "serve the artifact with the encoder it was trained with, or train it again with this one"
    if vectors.shape != ours.shape:
        raise EncoderMismatch(
            f"encoder {encoder.encoder_id}: probes have shape {ours.shape}, the artifact's {vectors.shape}; {remedy}"
        )
    theirs = np.asarray(vectors, np.float64)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(np.linalg.norm(theirs, axis=1), 1e-12)
    worst = int(np.argmin(np.nan_to_num(cosines, nan=-1.0)))
    if not cosines[worst] >= MIN_COSINE:
        raise EncoderMismatch(
            f"encoder {encoder.encoder_id}: probe {worst} has cosine {cosines[worst]:.4f} < {MIN_COSINE}; {remedy}"
        )
