"""Quality floors that a learned policy promises: how thrifty it may be, by how much of the reference arm's quality.

A promise says: over queries like those of the calibration, the mean score is at least ``floor`` times the reference
arm's. It is wrong with a probability of at most 1 − ``confidence``, over the draw of the calibration rows. What is
promised is the policy as it was tested: the same arms at the same prices, at one of the tested λ.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Protocol, runtime_checkable

from policies.errors import ArtifactError
from policies.prices import Price

SERVED_CONFIDENCE = 0.95
_SAME = 1e-9  # floors and confidences this close are one


@dataclass(frozen=True, slots=True)
class Cell:
    """What is promised at one floor with one confidence.

    Attributes:
        last: Index of the highest tested λ up to which the promise holds; None: it holds for the reference arm alone.
        saving_pct / ratio: At that λ on the calibration rows: cost saved and quality kept, against the reference arm.
    """

    floor: float
    confidence: float
    last: int | None
    saving_pct: float = 0.0
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """How thrifty a request may be: λ of ``quality_per_usd`` at ``floor`` or a stricter one, None: not at all."""

    floor: float
    quality_per_usd: float | None


@dataclass(frozen=True, slots=True)
class Floors:
    """The promises of one artifact.

    Attributes:
        reference: Arm that the floors are relative to.
        arms: Name and price at calibration of every arm that may be chosen.
        quality_per_usd: The λ that were tested, rising.
        cells: For each floor and confidence asked for.
        n_calibration: Rows that the promises rest on; the policy has learned from none of them.
    """

    reference: str
    arms: tuple[tuple[str, Price | None], ...]
    quality_per_usd: tuple[float, ...]
    cells: tuple[Cell, ...]
    n_calibration: int

    def at(self, confidence: float) -> tuple[Cell, ...]:
        """The cells of one confidence, floors rising."""
        found = (cell for cell in self.cells if abs(cell.confidence - confidence) < _SAME)
        return tuple(sorted(found, key=lambda cell: cell.floor))

    def limits(self, *, confidence: float = SERVED_CONFIDENCE) -> "Limits":
        """The same, for quick lookups."""
        cells = self.at(confidence)
        return Limits(tuple(cell.floor for cell in cells), tuple(cell.last for cell in cells), self.quality_per_usd)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for a manifest."""
        arms = [{"name": name, "price": None if price is None else asdict(price)} for name, price in self.arms]
        return asdict(self) | {"arms": arms}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Floors":
        """The inverse of ``as_dict``.

        Raises:
            ArtifactError: A field is missing or says what cannot be.
        """
        try:
            prices = (None if arm["price"] is None else Price(**arm["price"]) for arm in plain["arms"])
            names = (str(arm["name"]) for arm in plain["arms"])
            floors = cls(
                reference=str(plain["reference"]),
                arms=tuple(zip(names, prices, strict=True)),
                quality_per_usd=tuple(float(value) for value in plain["quality_per_usd"]),
                cells=tuple(Cell(**cell) for cell in plain["cells"]),
                n_calibration=int(plain["n_calibration"]),
            )
            floors.check()
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ArtifactError(f"the artifact's floors cannot be kept ({problem}); train it again") from problem
        return floors

    def check(self) -> None:
        """Raises:
        ValueError: The parts do not belong together; a promise must never be read wrongly.
        """
        tested = self.quality_per_usd
        if self.reference not in [name for name, _ in self.arms]:
            raise ValueError(f"the reference arm {self.reference!r} is none of its arms")
        if any(not isfinite(value) or value < 0.0 for value in tested) or list(tested) != sorted(set(tested)):
            raise ValueError("quality_per_usd must be finite and rise")
        for cell in self.cells:
            if not (0.0 < cell.floor <= 1.0 and 0.0 < cell.confidence < 1.0):
                raise ValueError(f"a cell of floor {cell.floor} and confidence {cell.confidence}")
            if cell.last is not None and not 0 <= cell.last < len(tested):
                raise ValueError(f"floor {cell.floor} names λ number {cell.last} of {len(tested)}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Lookups for serving, with one confidence.

    Attributes:
        floors: Rising.
        last: As in ``Cell``, one per floor.
        tested: The tested λ, rising.
    """

    floors: tuple[float, ...]
    last: tuple[int | None, ...]
    tested: tuple[float, ...]

    def at(self, floor: float, quality_per_usd: float) -> Limit:
        """The highest tested λ that is not above ``quality_per_usd`` and promises ``floor`` or more.

        A λ below all that were tested is taken up to the first, which is next to nothing.
        """
        index = bisect_left(self.floors, floor - _SAME)  # the floor asked for, else the next stricter one
        last = self.last[index] if index < len(self.last) else None
        if last is None:
            return Limit(floor, None)
        own = max(bisect_right(self.tested, quality_per_usd) - 1, 0)
        return Limit(self.floors[index], self.tested[min(own, last)])


def same_cost(price: Price | None, other: Price | None) -> bool:
    """Whether both give the same predicted USD, which knows of input, output and GPU time alone."""
    if price is None or other is None:
        return price is other
    return (price.input, price.output, price.gpu_second) == (other.input, other.output, other.gpu_second)


@runtime_checkable
class KeepsFloors(Protocol):
    """A policy that keeps quality floors by itself where it has promises."""

    floors: Floors | None


def keeps_floor(policy: object, reference: str | None) -> bool:
    """Whether ``policy`` promises floors relative to ``reference``; None: whichever arm it names."""
    floors = policy.floors if isinstance(policy, KeepsFloors) else None
    return floors is not None and reference in (None, floors.reference)
