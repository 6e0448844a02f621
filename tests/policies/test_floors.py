from typing import Any

import orjson
import pytest

from policies.errors import ArtifactError
from policies.floors import Cell, Floors, keeps_floor
from policies.prices import Price

TESTED = (1.0, 2.0, 4.0, 8.0)
CELLS = (Cell(0.97, 0.95, 1, 30.0, 0.98), Cell(0.9, 0.95, 3, 60.0, 0.95), Cell(0.99, 0.95, None), Cell(0.97, 0.99, 0))


def made(**changed: Any) -> Floors:
    plain: dict[str, Any] = {
        "reference": "b/instant",
        "arms": (("a/instant", Price(1, 2)), ("b/instant", None)),
        "quality_per_usd": TESTED,
        "cells": CELLS,
        "n_calibration": 1_000,
    }
    return Floors(**(plain | changed))


def test_what_is_written_is_what_is_read() -> None:
    assert Floors.from_dict(orjson.loads(orjson.dumps(made().as_dict()))) == made()


@pytest.mark.parametrize(
    ("floor", "asked", "promised", "served"),
    [
        (0.97, 100.0, 0.97, 2.0),
        (0.97, 3.0, 0.97, 2.0),
        (0.97, 1.5, 0.97, 1.0),
        (0.97, 0.0, 0.97, 1.0),
        (0.95, 100.0, 0.97, 2.0),  # the next stricter floor
        (0.9, 100.0, 0.9, 8.0),
        (0.3 * 3, 5.0, 0.9, 4.0),  # 0.9 but for rounding
        (0.5, 5.0, 0.9, 4.0),
        (0.98, 5.0, 0.98, None),  # the next stricter floor is not promised
        (1.0, 5.0, 1.0, None),  # none is as strict
    ],
)
def test_a_request_is_as_thrifty_as_it_asks_up_to_what_is_promised(
    floor: float, asked: float, promised: float, served: float | None
) -> None:
    limit = made().limits().at(floor, asked)
    assert (limit.floor, limit.quality_per_usd) == (pytest.approx(promised), served)


def test_each_confidence_has_its_own_limits() -> None:
    assert made().limits(confidence=0.99).at(0.97, 100.0).quality_per_usd == 1.0
    assert made().limits(confidence=0.5).at(0.97, 100.0).quality_per_usd is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"reference": "c/instant"}, "is none of its arms"),
        ({"quality_per_usd": (2.0, 1.0, 4.0, 8.0)}, "rise"),
        ({"quality_per_usd": (1.0, float("inf"))}, "finite"),
        ({"cells": (Cell(0.97, 0.95, 4),)}, "λ number 4 of 4"),
        ({"cells": (Cell(0.97, 0.95, -1),)}, "λ number -1"),
        ({"cells": (Cell(1.7, 0.95, 1),)}, "a cell of floor 1.7"),
    ],
)
def test_promises_that_cannot_be_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        Floors.from_dict(made(**changed).as_dict())


@pytest.mark.parametrize("lacking", ["reference", "arms", "cells", "n_calibration"])
def test_a_part_that_is_missing_is_told(lacking: str) -> None:
    plain = {name: value for name, value in made().as_dict().items() if name != lacking}
    with pytest.raises(ArtifactError, match=f"floors cannot be kept .*{lacking}.*train it again"):
        Floors.from_dict(plain)


def test_a_policy_keeps_the_floors_of_its_own_reference_arm() -> None:
    class Promising:
        floors: Floors | None = made()

    class Silent:
        floors: Floors | None = None

    assert keeps_floor(Promising(), None)
    assert keeps_floor(Promising(), "b/instant")
    assert not keeps_floor(Promising(), "a/instant")
    assert not keeps_floor(Silent(), None)
    assert not keeps_floor(object(), None)
