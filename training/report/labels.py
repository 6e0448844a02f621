"""Places for labels beside points so that none covers a point or another label."""

import math
from collections.abc import Iterator, Sequence

Place = tuple[float, float]


def place_labels(points: Sequence[Place], *, size: Place, obstacles: Sequence[Place] = ()) -> list[Place]:
    """A centre for the label of each point: the nearest free place around it.

    Args:
        points: Centres of the points, in any unit that is the same in both directions.
        size: Width and height of a label, same unit.
        obstacles: More points to keep free.
    """
    taken: list[Place] = []
    keep_free = [*points, *obstacles]
    for point in points:
        free = next((at for at in _around(point, size) if _is_free(at, size, taken, keep_free)), None)
        taken.append(free or next(_around(point, size)))
    return taken


def _around(point: Place, size: Place) -> Iterator[Place]:
    """Sixteen directions at growing distance, upwards first."""
    for reach in (1.1, 1.5, 2.1, 2.9, 3.9):
        for step in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8):
            angle = math.pi / 2 + step * math.pi / 8
            yield point[0] + reach * size[0] * math.cos(angle), point[1] + reach * size[1] * math.sin(angle)


def _is_free(at: Place, size: Place, taken: Sequence[Place], points: Sequence[Place]) -> bool:
    clear_of_labels = all(abs(at[0] - x) >= size[0] or abs(at[1] - y) >= size[1] for x, y in taken)
    return clear_of_labels and all(
        abs(at[0] - x) >= 0.85 * size[0] or abs(at[1] - y) >= 0.85 * size[1] for x, y in points
    )
