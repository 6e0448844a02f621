"""What noisy judgements are worth, learned where a trusted one is beside them: a line and the noise about it.

A source says s = a + b·q + noise of an answer whose quality is q. The label of an answer that the source alone judged
is the q of which it says s on average, q̄ + (s − s̄) / b, and not the q to expect of s: what is expected of a noisy s
lies near the mean whatever the arm, and a fit to it takes arms for more alike than they are (regression dilution:
Carroll et al., "Measurement Error in Nonlinear Models", 2006, chapters 2 and 4). Such a label errs on neither side, so
it counts by the inverse of its variance. Left out: curved lines, noise that depends on q, noise that sources share.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from training.ope.rounds import Reals


@dataclass(frozen=True, slots=True)
class Source:
    """A metric that stands in for the one that is the quality.

    Attributes:
        rounds: Which it alone, or with other sources, judged.
        overlap: Rounds that both judged: all that is known of it comes from them.
        slope / slope_sd: What it says more of an answer that is better by 1, in its own unit; its standard error.
        said / quality: A point of its line: the mean quality where both judged, and what it says of such answers,
            between its mean there and its mean elsewhere.
        sd: Of the noise of a label, in quality.
        weight: Of a label beside a judgement by the metric that is the quality.
        leans: Arms whose answers it rates higher (or lower) than others of the same quality, by how much quality.
        left_out: Why it labels nothing; empty where it does.
    """

    name: str
    rounds: int
    overlap: int
    slope: float = 0.0
    slope_sd: float = 0.0
    said: float = 0.0
    quality: float = 0.0
    sd: float = 0.0
    weight: float = 0.0
    leans: dict[str, float] = field(default_factory=dict)
    left_out: str = ""

    @property
    def shrunken_slope(self) -> float:
        """A slope so uncertain is on average too flat by its relative variance where it is divided by."""
        return self.slope + self.slope_sd**2 / self.slope

    def labels(self, said: Reals) -> Reals:
        """Quality that makes the source say this on average, outside 0..1 where it must; shape as ``said``."""
        return self.quality + (said - self.said) / self.shrunken_slope


@dataclass(frozen=True, slots=True)
class Noise:
    """What was learned of every source.

    Attributes:
        reference: The metric that is the quality.
        reference_rounds: Which it judged.
        reference_sd: Of its judgements of one arm's answers, queries being different: its own noise, or a little more.
    """

    reference: str
    reference_rounds: int
    reference_sd: float
    sources: tuple[Source, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics of the sources, those left out too."""
        return tuple(source.name for source in self.sources)

    def labels(self, quality: Reals, others: Reals) -> tuple[Reals, Reals]:
        """Quality and weight of each round, (n,): as judged by the reference, else by the sources' precision.

        Args:
            quality: By the reference, NaN where it said nothing, shape (n,).
            others: By the sources, in their order, NaN where they said nothing, shape (n, k).
        """
        precision, sum_ = np.zeros(len(quality)), np.zeros(len(quality))
        for source, said in zip(self.sources, others.T, strict=True):
            if not source.left_out:
                share = np.where(np.isnan(said), 0.0, source.sd**-2)
                precision += share
                sum_ += share * np.nan_to_num(source.labels(said))
        stands_in = np.isnan(quality) & (precision > 0.0)
        least = np.where(stands_in, precision, 1.0)
        label = np.where(stands_in, sum_ / least, quality)
        return label, np.where(stands_in, weight_of(self.reference_sd, least**-0.5), 1.0)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def weight_of(reference_sd: float, sd: Reals | float) -> Any:
    """Of a label whose noise has ``sd`` beside one without: both scatter by ``reference_sd`` about what is learned."""
    return reference_sd**2 / (reference_sd**2 + np.square(sd))


def lines_of(told: Mapping[str, Any]) -> list[str]:
    """For people, of what ``Noise.plain`` gives."""
    reference = told["reference"]
    line = (
        f"judged by {reference}: {told['reference_rounds']:,} rounds, sd {told['reference_sd']:.2f}; where it said "
        "nothing others stand in"
    )
    return [line, *(each for source in told["sources"] for each in _about(source, reference))]


def _about(source: Mapping[str, Any], reference: str) -> list[str]:
    name = source["name"]
    seen = f"{name}: {source['rounds']:,} rounds without {reference}, {source['overlap']:,} with both"
    if source["left_out"]:
        return [f"{seen}; LEFT OUT: {source['left_out']}"]
    line = (
        f"{seen}; says {source['said']:.2f} at quality {source['quality']:.2f} and {source['slope']:+.2f} "
        f"± {source['slope_sd']:.2f} per unit of quality; noise sd {source['sd']:.2f}, weight {source['weight']:.3f}"
    )
    leans = ", ".join(f"{arm} {lean:+.2f}" for arm, lean in source["leans"].items())
    return [
        line,
        *([f"WARNING: {name} rates answers of equal quality by who gave them, in quality: {leans}"] if leans else []),
    ]
