"""A descriptor as numbers: what is unknown becomes the known arms' mean beside a mark that it was unknown."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from policies.descriptors import ArmDescriptor
from policies.predictions import Reals
from policies.zoo.basis import Tensors, check_shapes

FIELDS = ("log_price_in", "log_price_out", "log_params", "log_context", "age", "effort")
_FLAGS = 2  # reasoning, agentic
_LEAST_USD = 0.01  # per million tokens: keeps a free model's logarithm finite


@dataclass(frozen=True, slots=True)
class ArmFeatures:
    """Descriptor -> F numbers: standardised facts, a mark for each unknown one, the mode, and directions of the text.

    Attributes:
        benchmarks: Published scores that count as facts, in order.
        mean / sd: Of each fact over the arms it was fitted on, shape (n_facts,).
        text_centre / text_projection: Of the embedded texts, shapes (dim,) and (dim, p); p = 0 without texts.
    """

    benchmarks: tuple[str, ...]
    mean: Reals
    sd: Reals
    text_centre: Reals
    text_projection: Reals

    @property
    def n_outputs(self) -> int:
        n_text = self.text_projection.shape[1]
        return int(2 * self.mean.size + _FLAGS + n_text + (1 if n_text else 0))

    def __call__(self, descriptors: Sequence[ArmDescriptor], texts: Reals | None = None) -> Reals:
        """Shape (a, F); ``texts`` are embeddings of the descriptors' texts, shape (a, dim), rows of NaN where none."""
        rows = [facts_of(each, self.benchmarks) for each in descriptors]
        facts = np.array(rows, dtype=np.float64).reshape(len(descriptors), self.mean.size)
        unknown = np.isnan(facts)
        standard = np.where(unknown, 0.0, (np.where(unknown, 0.0, facts) - self.mean) / self.sd)
        flags = np.array([[float(each.mode == mode) for mode in ("reasoning", "agentic")] for each in descriptors])
        parts = [standard, unknown.astype(np.float64), flags.reshape(len(descriptors), _FLAGS)]
        if self.text_projection.shape[1]:
            parts.append(self._text(len(descriptors), texts))
        return np.hstack(parts)

    def _text(self, n: int, texts: Reals | None) -> Reals:
        embedded = np.full((n, self.text_centre.size), np.nan) if texts is None else texts
        unknown = np.asarray(np.isnan(embedded).any(axis=1))
        directions = (np.where(unknown[:, None], self.text_centre, embedded) - self.text_centre) @ self.text_projection
        return np.hstack([directions, unknown[:, None].astype(np.float64)])

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        """As arrays named ``<prefix>.<part>``; the benchmarks' names as bytes of JSON."""
        parts = {part: getattr(self, part).astype(np.float32) for part in _PARTS}
        names = np.frombuffer(orjson.dumps(list(self.benchmarks)), dtype=np.uint8)
        return {f"{prefix}.{part}": values for part, values in parts.items()} | {f"{prefix}.benchmarks": names}

    @classmethod
    def from_tensors(cls, tensors: Tensors, prefix: str) -> "ArmFeatures":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        names = tuple(str(name) for name in orjson.loads(tensors[f"{prefix}.benchmarks"].tobytes()))
        features = cls(names, *(tensors[f"{prefix}.{part}"].astype(np.float64) for part in _PARTS))
        n, dim, p = len(FIELDS) + len(names), features.text_centre.size, features.text_projection.shape[-1]
        pairs = zip(_PARTS, ((n,), (n,), (dim,), (dim, p)), strict=True)
        check_shapes({f"{prefix}.{part}": (getattr(features, part).shape, shape) for part, shape in pairs})
        return features


_PARTS = ("mean", "sd", "text_centre", "text_projection")


def facts_of(descriptor: ArmDescriptor, benchmarks: Sequence[str]) -> list[float]:
    """Its facts in the order of ``FIELDS`` and then of ``benchmarks``, NaN where unknown."""
    usd_in, usd_out = descriptor.usd_per_mtok_in, descriptor.usd_per_mtok_out
    facts: list[float | None] = [
        None if usd_in is None else log(usd_in + _LEAST_USD),
        None if usd_out is None else log(usd_out + _LEAST_USD),
        log(descriptor.params_b) if descriptor.params_b else None,
        log(descriptor.context_tokens) if descriptor.context_tokens else None,
        descriptor.released_age,
        descriptor.effort_level,
    ]
    facts += [descriptor.scores.get(name) for name in benchmarks]
    return [float("nan") if fact is None else fact for fact in facts]
