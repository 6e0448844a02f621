"""A result of the shape that ``gearshift benchmark`` writes, made by formula: no run, no data."""

import math
from typing import Any

import pytest

_ARMS = (  # name, mode, effort, accuracy, USD, seconds; two nearly on top of each other
    ("phi-mini/instant", "instant", None, 0.426, 0.000021, 0.4),
    ("llama-8b/instant", "instant", None, 0.436, 0.000027, 0.6),
    ("mathstral-7b/instant", "instant", None, 0.428, 0.000020, None),
    ("mixtral-8x7b/instant", "instant", None, 0.425, 0.000074, 0.9),
    ("flash/instant", "instant", None, 0.641, 0.000044, 0.7),
    ("llama-70b/reasoning:low", "reasoning", "low", 0.627, 0.000125, 1.9),
    ("pro/reasoning:high", "reasoning", "high", 0.702, 0.000608, 6.5),
)
# Height of the curve above the mix of arms, as a share of the way to 75 %.
_SKILL = {
    "default": 0.20, "default_teacher": 0.21, "knn": 0.16, "linear": 0.13, "gbdt": 0.15, "cluster": 0.12, "irt": 0.14,
    "mf": 0.13, "global_means": 0.0, "domain_table": 0.19, "cheapest": -0.5,
}  # fmt: skip
_DOMAINS = {"law": -0.06, "math": 0.03, "physics": 0.02, "history": -0.015, "biology": 0.01, "engineering": -0.03}


def example_policy(name: str, skill: float, *, half_width: float) -> dict[str, Any]:
    """A policy whose curve is a bent line between the cheapest and the best arm, lifted by its skill."""
    steps = [at / 40 for at in range(41)]
    curve = []
    for at in steps:
        usd = 0.000044 * (0.000608 / 0.000044) ** at
        accuracy = 0.641 + 0.061 * at + skill * 0.25 * math.sin(math.pi * (0.15 + 0.8 * at))
        curve.append([1000 * (1 - at) ** 3, usd, accuracy, usd * 0.97, usd * 1.03, accuracy - 0.008, accuracy + 0.008])
    save = dict(zip(("95", "97", "99", "100"), _saves(skill), strict=True))
    ci = {f"save_{q}": [value - half_width, value + half_width] for q, value in save.items() if value is not None}
    top = max(row[2] for row in curve)
    return {
        "label_free": name != "domain_table",
        "save": save,
        "save_committed": {
            q: {"lambda": 9.0, "saving_pct": value and value - 3, "realised_ratio": int(q) / 100 - 0.002}
            for q, value in save.items()
        },
        "max_accuracy": top, "aiq": 0.67 + skill / 20, "apgr": 0.5 + skill, "cpt50": 40 - 60 * skill,
        "cpt80": 75 - 80 * skill, "cost_of_pass": 0.000068, "e3": 1180.0, "gap_at_oracle": 100 * (1 - top / 0.88),
        "cost_of_pass_saving_pct": 100 * skill + 40,
        "ece": 0.03 - skill / 20, "brier": 0.187, "far_share": 0.031,
        "decision_us": 63.2 if name == "default" else None,
        "fit_s": 21.4,
        "ci": ci | {"max_accuracy": [top - 0.008, top + 0.008]},
        "versus": {},
        "curve": curve,
        "chosen_at_97": {"flash/instant": 0.71, "pro/reasoning:high": 0.22, "llama-70b/reasoning:low": 0.07},
        "modes_by_usd": [
            [row[1], {"instant": 1 - at, "reasoning:low": at * (1 - at), "reasoning:high": at * at}]
            for at, row in zip(steps[::2], curve[::2], strict=True)
        ],
        "calibration": [[at / 10 + 0.05, 0.1 - skill / 5 + 0.086 * at, 100 + 40 * at] for at in range(10)],
        "by_domain": {
            domain: {
                "n": 900 + 150 * at, "usd": 0.0002 if domain != "history" else 0.0007, "accuracy": 0.68 + gap,
                "best_single_usd": 0.0006, "best_single_accuracy": 0.70,
            }
            for at, (domain, gap) in enumerate(_DOMAINS.items())
        },
        "robustness": {
            "typos": 83.1 + 50 * skill,
            "lower_case": 97.0, "upper_case": 88.4, "sentence_case": 96.2, "white_space": 98.0,
            "paraphrase": 94.4, "prefix": 91.5, "suffix": 95.9,
        },
    }  # fmt: skip


def _saves(skill: float) -> list[float | None]:
    at_97 = 32.0 + 170 * skill if skill >= 0 else None
    return [53 + 130 * skill, at_97, 11 + 170 * skill if skill > 0 else None, 180 * skill if skill > 0 else None]


def example_pool(half_width: float = 5.0, n_test: int = 12_002) -> dict[str, Any]:
    """A pool in which ``default`` beats some, ties with some and loses to the table of labels at 99 and 100 %."""
    policies = {name: example_policy(name, skill, half_width=half_width) for name, skill in _SKILL.items()}
    fixed = example_policy("fixed", -0.2, half_width=0.5) | {"save": dict.fromkeys(("95", "97", "99", "100"), 0.0)}
    oracle = example_policy("oracle", 0.2, half_width=2.0) | {"label_free": False}
    oracle["save"], oracle["ci"] = dict.fromkeys(("95", "97", "99", "100"), 97.0), {}
    oracle["curve"] = [[0.0, 0.00007, 0.877], [10.0, 0.00005, 0.86], [1000.0, 0.00002, 0.43]]
    default = policies["default"]
    for name, other in policies.items():
        lead = 100 * (_SKILL["default"] - _SKILL[name])
        default["versus"][name] = {
            f"save_{q}": [lead, lead - half_width, lead + half_width]
            for q in ("95", "97", "99", "100")
            if other["save"][q] is not None and name != "default"
        }
    default["versus"]["domain_table"] |= {"save_99": [-4.2, -6.0, -2.4], "save_100": [-3.1, -5.9, -0.3]}
    default["versus"]["fixed"] = {"max_accuracy": [0.014, 0.009, 0.019]}
    return {
        "n_test": n_test, "n_train": n_test * 0.8, "domains": dict.fromkeys(_DOMAINS, 100),
        "arms": [dict(zip(("arm", "mode", "effort", "accuracy", "usd", "seconds"), arm, strict=True)) for arm in _ARMS],
        "best_single": {"arm": "pro/reasoning:high", "accuracy": 0.702, "usd": 0.000608},
        "cheapest": {"arm": "mathstral-7b/instant", "accuracy": 0.428, "usd": 0.000020},
        "hull": [[0.000020, 0.428], [0.000044, 0.641], [0.000608, 0.702]],
        "policies": policies | {"fixed": fixed, "oracle": oracle},
    }  # fmt: skip


def example_result() -> dict[str, Any]:
    """Two pools: one where routing pays, a small one where nothing is proven."""
    small = example_pool(half_width=90.0, n_test=117)
    small["policies"] = {name: small["policies"][name] for name in ("default", "knn", "global_means", "oracle")}
    return {
        "format": 1, "seed": 0, "split": "5-fold", "encoder": "static-fitted", "data": "outcome sets of 2026-11",
        "command": "gearshift benchmark --train data --pools data/pools.json --folds 5 --seeds 1 --json",
        "pools": {"mmlu_pro_7": example_pool(), "tiny_pool": small},
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    return example_result()


@pytest.fixture(scope="session")
def whole_result() -> dict[str, Any]:
    """For tests that only read it."""
    return example_result()
