"""Each part of a pool decided by the policy fitted on the other parts, offline.

``python -m training.left_out --data DIR --pools FILE --pool mmlu_pro_7`` prints the table for two halves of alike
prompts, the rehearsal of the live replay; ``--by domain`` for domains that the policy has never seen.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import OutcomeTable, load_pool, split_halves
from policies.tradeoff import TradeOff
from policies.zoo.linear import LinearPolicy
from training.embeddings import Floats, embed_prompts
from training.inputs import make_inputs
from training.linear import LinearSettings, fit_linear
from training.offline import contexts_of, play
from training.replay_report import BAR_USD_PER_CORRECT_ANSWER, Choice, ReplayReport, print_report, replay_report


class By(StrEnum):
    """What makes a part: a stable hash of the prompt, or the domain."""

    half = "half"
    domain = "domain"


def left_out_report(
    table: OutcomeTable,
    embeddings: Floats,
    parts: Sequence[str],
    *,
    encoder: Encoder,
    usd_per_correct_answer: Sequence[float] = BAR_USD_PER_CORRECT_ANSWER,
    settings: LinearSettings,
) -> ReplayReport:
    """Decide each part by what was fitted on the rest, judge all together; nothing of a part is used to decide it.

    Args:
        parts: Name of each query's part, length n; at least two different ones.
    """
    labels, contexts = np.array(parts), contexts_of(table, embeddings)
    routers: dict[str, list[Choice]] = {f"linear at {usd:g} USD/correct": [] for usd in usd_per_correct_answer}
    for part in sorted(set(parts)):
        train, test = labels != part, labels == part
        feature_map, ridge, _ = fit_linear(make_inputs(table.rows(train), embeddings[train]), settings)
        policy = LinearPolicy(feature_map, ridge, arms=table.arm_names, encoder_id=encoder.encoder_id, version="")
        unseen = [context for context, wanted in zip(contexts, test, strict=True) if wanted]
        for choices, usd in zip(routers.values(), usd_per_correct_answer, strict=True):
            choices += play(policy, unseen, table.rows(test), trade_off=TradeOff(quality_per_usd=1.0 / usd))
    return replay_report(table, routers)


def parts_of(table: OutcomeTable, by: By) -> list[str]:
    """The part of each query."""
    return list(table.domains) if by is By.domain else [str(int(side)) for side in split_halves(table.prompts)]


def main(
    data: Annotated[Path, typer.Option(help="Directory with one folder of Parquet files per outcome set.")],
    pools: Annotated[Path, typer.Option(help="JSON file that names pools of arms with prices.")],
    pool: Annotated[str, typer.Option(help="Pool to split.")] = "mmlu_pro_7",
    by: Annotated[By, typer.Option(help="What a part is.")] = By.half,
    encoder: Annotated[str, typer.Option(help="Encoder to embed with.")] = "minilm",
    seed: Annotated[int, typer.Option(min=0, help="Seed of landmarks and folds.")] = 0,
) -> None:
    """Print the table of a pool whose every part is decided by the policy fitted on the others."""
    prepare_encoder(encoder)
    opened = load_encoder(encoder)
    table = load_pool(data, pools, pool)
    embeddings = embed_prompts(opened, table.prompts)
    settings = LinearSettings(seed=seed)
    print_report(left_out_report(table, embeddings, parts_of(table, by), encoder=opened, settings=settings))


if __name__ == "__main__":
    typer.run(main)
