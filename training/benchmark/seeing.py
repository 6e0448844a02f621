"""How the prompts of a run become embeddings: by one ready encoder, or by one fitted inside every part.

What is slow is computed once, in the parent's process, and kept on disk; workers read it there.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from policies.encoders.base import Encoder
from policies.tables import Mask, OutcomeTable
from training.benchmark.splits import BenchmarkError
from training.contender import Sample
from training.embeddings import Floats, embed_prompts
from training.inputs import Inputs, make_inputs
from training.rewordings import Embed, Reworded, make_reworded, reworded_texts

TOO_FEW = "static (too few prompts to fit one)"  # the encoder of a part that no encoder can be fitted inside


class Seeing(Protocol):
    """An encoder, or a way to get one for each part.

    Attributes:
        encoder_id: Decides, with the training prompts, every embedding.
        slow: The encoder whose embeddings are kept on disk.
        fits_inside: Every part has its own encoder.
    """

    encoder_id: str
    slow: Encoder
    fits_inside: bool

    def of(self, train: OutcomeTable, *, seed: int) -> Embed:
        """What embeds for the part that is fitted on ``train``."""
        ...

    def falls_back(self, prompts: Iterable[str]) -> bool:
        """Whether a part with these training prompts gets the encoder ``TOO_FEW`` rather than one of its own."""
        ...


class ReadyEncoder:
    """The same encoder everywhere."""

    fits_inside = False

    def __init__(self, encoder: Encoder) -> None:
        self.slow, self.encoder_id = encoder, encoder.encoder_id

    def of(self, train: OutcomeTable, *, seed: int) -> Embed:
        """Whatever is not yet on disk is computed and kept there."""
        return lambda prompts: embed_prompts(self.slow, prompts)

    def falls_back(self, prompts: Iterable[str]) -> bool:
        """Never: there is one encoder for all."""
        return False


class FittedInside:
    """The static encoder, fitted without labels to a teacher's embeddings of a part's training prompts alone.

    A part with too few prompts for that has the distilled one as it is, as a deployment with so few would.
    """

    fits_inside = True

    def __init__(self, teacher: Encoder, folder: Path, *, encoder_id: str | None = None) -> None:
        """Fitted encoders are kept in ``folder``; a worker is told the id by its parent."""
        self.slow, self._folder = teacher, folder
        self.encoder_id = encoder_id or f"static-fitted-to-{teacher.encoder_id}-{_recipe()}"

    def of(self, train: OutcomeTable, *, seed: int) -> Embed:
        """Fitted now, or by whoever needed it before.

        Raises:
            BenchmarkError: No encoder can be fitted to the prompts.
            EncoderError: Weights to start from are missing.
        """
        from training.encoder.study_encoders import DISTILLED, FITTED, FoldData, encoder_for
        from training.encoder.weights import EncoderFitError

        fold = FoldData(train.prompts, train.scores, self._folder, seed)
        name = DISTILLED if self.falls_back(train.prompts) else FITTED
        try:
            encoder, _ = encoder_for(name, fold, teacher=self.slow)
        except EncoderFitError as problem:
            raise BenchmarkError(f"table {train.name!r}: --encoder fitted: {problem}") from problem
        return lambda prompts: np.asarray(encoder.encode(prompts), np.float32)

    def falls_back(self, prompts: Iterable[str]) -> bool:
        """Whether fewer of them are distinct and hold text than an encoder can be fitted to."""
        from training.encoder.prompts import LEAST_PROMPTS

        return len({prompt for prompt in prompts if prompt.strip()}) < LEAST_PROMPTS


class SeenTable:
    """A table's prompts as learners see them; features are computed when first asked for, embeddings for each part."""

    def __init__(self, table: OutcomeTable, *, reworded_by: int | None = None) -> None:
        """Queries in other words come along if there is a seed to reword by."""
        self.table, self._seed = table, reworded_by

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything there is to embed."""
        return (*self.table.prompts, *([] if self._seed is None else self._rewordings[1]))

    def rows(self, mask: Mask, embed: Embed) -> Sample:
        """The queries where ``mask`` is true."""
        table = self.table.rows(mask)
        inputs = replace(self._plain.rows(mask), embeddings=embed(table.prompts))
        return Sample(table, inputs, None if self._seed is None else self._reworded(mask, embed))

    def _reworded(self, mask: Mask, embed: Embed) -> Reworded:
        rows, texts = self._rewordings
        own = [text for row, text in zip(rows, texts, strict=True) if mask[row]]
        return replace(self._plain_rewordings.among(mask), embeddings=embed(own))

    @cached_property
    def _plain(self) -> Inputs:
        return make_inputs(self.table, _no_embeddings(self.table.prompts))

    @cached_property
    def _rewordings(self) -> tuple[NDArray[np.intp], list[str]]:
        return reworded_texts(self.table.prompts, seed=self._seed or 0)

    @cached_property
    def _plain_rewordings(self) -> Reworded:
        return make_reworded(*self._rewordings, embed=_no_embeddings)


def _recipe() -> str:
    """Hash of what decides a part's encoder: what was forecast from another recipe's embeddings is not this one's."""
    from training.encoder.prompts import LEAST_PROMPTS
    from training.encoder.study_encoders import code_of_fitting

    code = b"".join(file.read_bytes() for file in code_of_fitting())
    return hashlib.sha256(code + f"{TOO_FEW} below {LEAST_PROMPTS}".encode()).hexdigest()[:8]


def _no_embeddings(texts: Sequence[str]) -> Floats:
    return np.zeros((len(texts), 0), np.float32)
