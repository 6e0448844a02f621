"""Each half of a pool decided by the policy fitted on the other half: the offline rehearsal of the live replay.

``python -m training.halves --data DIR --pools FILE --pool mmlu_pro_7`` prints the table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder, prepare_encoder
from policies.tables import OutcomeTable, load_pool, split_halves
from policies.tradeoff import TradeOff
from policies.zoo.linear import LinearPolicy
from training.embeddings import Floats, embed_prompts
from training.linear import LinearSettings, fit_linear, make_inputs
from training.offline import contexts_of, play
from training.replay_report import BAR_USD_PER_CORRECT_ANSWER, Choice, ReplayReport, print_report, replay_report


def halves_report(
    table: OutcomeTable,
    embeddings: Floats,
    *,
    encoder: Encoder,
    usd_per_correct_answer: Sequence[float] = BAR_USD_PER_CORRECT_ANSWER,
    settings: LinearSettings,
) -> ReplayReport:
    """Fit on each half, decide the other, judge both together; nothing of a half is used to decide it."""
    side, contexts = split_halves(table.prompts), contexts_of(table, embeddings)
    routers: dict[str, list[Choice]] = {f"linear at {usd:g} USD/correct": [] for usd in usd_per_correct_answer}
    for half in (False, True):
        train, test = side == half, side != half
        feature_map, ridge, _ = fit_linear(make_inputs(table.rows(train), embeddings[train]), settings)
        policy = LinearPolicy(feature_map, ridge, arms=table.arm_names, encoder_id=encoder.encoder_id, version="")
        unseen = [context for context, wanted in zip(contexts, test, strict=True) if wanted]
        for choices, usd in zip(routers.values(), usd_per_correct_answer, strict=True):
            choices += play(policy, unseen, table.rows(test), trade_off=TradeOff(quality_per_usd=1.0 / usd))
    return replay_report(table, routers)


def main(
    data: Annotated[Path, typer.Option(help="Directory with one folder of Parquet files per outcome set.")],
    pools: Annotated[Path, typer.Option(help="JSON file that names pools of arms with prices.")],
    pool: Annotated[str, typer.Option(help="Pool to split.")] = "mmlu_pro_7",
    encoder: Annotated[str, typer.Option(help="Encoder to embed with.")] = "minilm",
    seed: Annotated[int, typer.Option(help="Seed of landmarks and folds.")] = 0,
) -> None:
    """Print the table of a pool's two halves, each decided by the policy fitted on the other."""
    prepare_encoder(encoder)
    opened = load_encoder(encoder)
    table = load_pool(data, pools, pool)
    report = halves_report(
        table, embed_prompts(opened, table.prompts), encoder=opened, settings=LinearSettings(seed=seed)
    )
    print_report(report)


if __name__ == "__main__":
    typer.run(main)
