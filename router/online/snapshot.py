"""The learned state as it lies in the store: for workers the offsets, for the next learner also what goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from policies.online.learner import Learner
from policies.online.settings import LearnerSettings
from policies.zoo.default import DefaultPolicy
from policies.zoo.offsets import Offsets
from policies.zoo.thompson import Exploring
from router.online.record import StreamId
from router.online.tail import Positions

FORMAT = 1
Fields = Mapping[bytes, bytes]


class StateUnreadable(Exception):
    """What lies in the store is no state of this artifact that this version can read."""

    def __init__(self, artifact: str, why: object) -> None:
        super().__init__(
            f"what was learned of artifact {artifact} cannot be read ({why}); serve it with the version that wrote it, "
            f"or delete the key gs:{{gs}}:online:{artifact} to begin anew"
        )


@dataclass(frozen=True, slots=True)
class Served:
    """What workers serve.

    Attributes:
        sequence: Changes whenever a decision could; it is part of the policy's version.
    """

    artifact: str
    sequence: int
    exploring: Exploring
    offsets: bytes

    def dressed(self, policy: DefaultPolicy) -> DefaultPolicy:
        """The artifact's policy with what was learned.

        Raises:
            StateUnreadable: The offsets are not of this policy.
        """
        return policy.with_offsets(
            offsets_of(self.offsets, policy),
            exploring=self.exploring,
            version=f"{self.artifact}+{self.sequence}",
        )


def served_fields(served: Served) -> dict[str, bytes | str | int | float]:
    """As a hash's fields."""
    return {
        "format": FORMAT,
        "artifact": served.artifact,
        "sequence": served.sequence,
        "explore_share": served.exploring.share,
        "extra_usd": served.exploring.extra_usd,
        "barred": orjson.dumps(sorted(served.exploring.barred)),
        "offsets": served.offsets,
    }


def read_served(fields: Fields, *, artifact: str) -> Served:
    """The inverse of `served_fields`.

    Raises:
        StateUnreadable: Another artifact's or version's, or not whole.
    """
    try:
        if int(fields[b"format"]) != FORMAT:
            raise ValueError(f"format {int(fields[b'format'])}, this version reads {FORMAT}")
        if fields[b"artifact"].decode() != artifact:
            raise ValueError(f"it is of artifact {fields[b'artifact'].decode()}")
        return Served(artifact, int(fields[b"sequence"]), _exploring(fields), fields[b"offsets"])
    except (KeyError, TypeError, ValueError) as problem:
        raise StateUnreadable(artifact, problem) from problem


def _exploring(fields: Fields) -> Exploring:
    """A state from before there were trials bars nobody, and no spend."""
    barred = frozenset(str(arm) for arm in orjson.loads(fields.get(b"barred", b"[]")))
    extra_usd = float(fields.get(b"extra_usd", b"inf"))
    return Exploring(share=float(fields[b"explore_share"]), extra_usd=extra_usd, barred=barred)


def offsets_of(raw: bytes, policy: DefaultPolicy) -> Offsets:
    """Offsets for this policy. Raises StateUnreadable."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return Offsets.from_tensors(load(raw), n_landmarks=len(policy.offsets.cells))
    except (SafetensorError, KeyError, ValueError) as problem:
        raise StateUnreadable(policy.version, problem) from problem


def memory_of(learner: Learner) -> bytes:
    """What the next learner needs beside the offsets."""
    return packed(learner.memory())


def recalled(served: Served, memory: bytes, policy: DefaultPolicy, settings: LearnerSettings) -> Learner:
    """The learner as it was when it published. Raises StateUnreadable."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return Learner.recalled(policy.with_offsets(offsets_of(served.offsets, policy)), settings, load(memory))
    except (SafetensorError, KeyError, ValueError) as problem:
        raise StateUnreadable(served.artifact, problem) from problem


def packed(tensors: Mapping[str, Any]) -> bytes:
    """As safetensors bytes."""
    import numpy as np
    from safetensors.numpy import save

    raw: bytes = save({name: np.ascontiguousarray(values) for name, values in tensors.items()})
    return raw


def dump_positions(positions: Positions) -> bytes:
    """Shard -> stream id, as JSON."""
    return orjson.dumps({f"{shard}": str(stream_id) for shard, stream_id in positions.items()})


def load_positions(raw: bytes) -> Positions:
    """The inverse of `dump_positions`."""
    return {int(shard): StreamId.parse(text) for shard, text in orjson.loads(raw).items()}
