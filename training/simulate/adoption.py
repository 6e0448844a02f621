"""What came of a new arm: when and for how much it was taken in, how right that was, and what it brought."""

from dataclasses import dataclass

import numpy as np

from policies.prices import NANO
from training.simulate.adopting import AdoptingPlayer
from training.simulate.play import Played
from training.simulate.stream import Stream


@dataclass(frozen=True, slots=True)
class Adoption:
    """Of one player in one order. Qualities are means over the requests since the arm was there, 0..1.

    Attributes:
        joins_at: Request from which the arm can be asked.
        adopted_after: Requests from then until the policy knew it; None: it stayed a stranger.
        n_anchors / anchors_nano_usd: Anchors that it answered, and what they cost.
        trial_nano_usd: What exploring it has cost.
        trial_ended_after: Requests from ``joins_at`` until its trial's money was spent; None: it was not.
        true_quality: Known truth.
        error_joined: Distance of the quality it joined with from the truth; None for a stranger.
        error_end: The same of what is predicted of it at the end; a stranger counts as the other arms on average.
        share: Of the requests since ``joins_at`` that it answered.
        reward_before / reward_after: Mean reward of the requests before ``joins_at`` and of the others.
        reward_net: ``reward_after`` less what the anchors cost, spread over the same requests.
        told: What happened, in a sentence.
    """

    joins_at: int
    adopted_after: int | None
    n_anchors: int
    anchors_nano_usd: int
    trial_nano_usd: int
    trial_ended_after: int | None
    true_quality: float
    error_joined: float | None
    error_end: float
    share: float
    reward_before: float
    reward_after: float
    reward_net: float
    told: str


def report_adoption(player: AdoptingPlayer, played: Played, stream: Stream) -> Adoption:
    """Compare what a player that is through with ``stream`` knows of the new arm with what it is."""
    start, column = stream.joins_at, stream.changed
    since = slice(start, len(stream))
    truth, said = float(stream.scores[since, column].mean()), _predicted(player, stream)
    reward, entry, joined = float(played.rewards[since].mean()), player.entry, player.joined
    anchors_usd = entry.spent_nano_usd / NANO
    return Adoption(
        joins_at=start,
        adopted_after=_after(start, player.adopted_at),
        n_anchors=entry.n_asked,
        anchors_nano_usd=entry.spent_nano_usd,
        trial_nano_usd=player.trial_nano_usd,
        trial_ended_after=_after(start, player.trial_ended_at),
        true_quality=truth,
        error_joined=None if joined is None else abs(joined.standing.quality - truth),
        error_end=abs(said - truth),
        share=float((played.columns[since] == column).mean()),
        reward_before=float(played.rewards[:start].mean()),
        reward_after=reward,
        reward_net=reward - stream.quality_per_usd * anchors_usd / (len(stream) - start),
        told=_told(player, stream),
    )


def _predicted(player: AdoptingPlayer, stream: Stream) -> float:
    """Mean quality that is expected of the arm in the end, over the requests since it is there."""
    inputs, policy = stream.inputs.rows(np.arange(stream.joins_at, len(stream))), player.learned
    expected = policy.expect(inputs.embeddings, inputs.lexical).quality
    name = stream.facts[0][stream.changed].name
    known = expected[:, policy.arm_names.index(name)] if name in policy.arm_names else expected.mean(axis=1)
    return float(known.mean())


def _after(start: int, at: int | None) -> int | None:
    return None if at is None else at - start


def _told(player: AdoptingPlayer, stream: Stream) -> str:
    told = f"{stream.facts[0][stream.changed].name} {player.entry.tell()}"
    if player.joined is not None:
        low, high = player.joined.standing.interval
        told += (
            f" at request {player.adopted_at}: quality {player.joined.standing.quality:.3f} ({low:.3f} to {high:.3f})"
        )
    if player.trial_ended_at is not None:
        told += f"; its trial's money was spent at request {player.trial_ended_at}"
    return told
