"""Whether a watch hears the traffic at all: silence would look like a floor that is kept."""

from training.floors.askable import ADVICE, NO_ANSWER
from training.floors.sampled import Sample, version_of

LEAST_LEFT_OUT = 5  # fewer may be chance: a day's sample is small where traffic or --share is


def unheard(sample: Sample, *, version: str) -> str:
    """Why nothing of this traffic can be heard, and what to do; empty where something can.

    Args:
        sample: What one reading of the log gave.
        version: Of the artifact that is watched.
    """
    others = {label: count for label, count in sample.n_newer.items() if version_of(label) != version}
    if others and len(others) == len(sample.n_newer):
        n, names = sum(others.values()), ", ".join(sorted(others))
        return (
            f"all {n} decisions under a floor since the newest that was drawn are of {names}, none of {version}; "
            "name the artifact that serves now"
        )
    # An answer that is still under way, or failed, says nothing of whether this traffic can be asked again.
    reasons = {why: count for why, count in sample.left_out.items() if why != NO_ANSWER}
    n = sum(reasons.values())
    if sample.drawn or sample.n_known or n < LEAST_LEFT_OUT:
        return ""
    most = max(reasons, key=reasons.__getitem__)
    return f"none of {n} decisions of the sample can be asked again, most for this: {most}; {ADVICE[most]}"
