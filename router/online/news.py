"""What whoever runs the gateway has to hear: told after the state that holds it, and again until that is recorded."""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import orjson

from policies.online.alarm import Alarm
from policies.prices import NANO
from router.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """The money of this arm's trial is spent: so much."""

    arm: str
    nano_usd: int


Item = Alarm | TrialEnd
_KINDS: dict[str, type[Item]] = {"alarm": Alarm, "trial": TrialEnd}


class News:
    """Of one artifact: published with the state as untold, told, and with the next state no longer published.

    A learner that dies between publishing and telling leaves it to the next one, which tells it then. One that dies
    between telling and the next state has it told twice: two lines about one broken arm cost a glance, and a broken arm
    that nobody hears of costs until somebody notices.
    """

    def __init__(self, metrics: Metrics, *, artifact: str, untold: Iterable[Item] = ()) -> None:
        self._metrics, self._artifact, self._untold = metrics, artifact, list(untold)

    def add(self, items: Iterable[Item]) -> None:
        """What the next state holds and nobody has heard yet."""
        self._untold += items

    def dump(self) -> bytes:
        """As the state holds it."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        return orjson.dumps([[kinds[type(item)], asdict(item)] for item in self._untold])

    def tell(self) -> bool:
        """Tell all of it, once it is published; True if there was anything."""
        untold, self._untold = self._untold, []
        for item in untold:
            if isinstance(item, Alarm):
                self._tell_alarm(item)
            else:
                self._metrics.trials_ended.labels(item.arm).inc()
                usd = f"{item.nano_usd // NANO}.{item.nano_usd % NANO:09d}"
                log.warning("trial_ended arm=%s usd=%s artifact=%s", item.arm, usd, self._artifact)
        return bool(untold)

    def _tell_alarm(self, alarm: Alarm) -> None:
        direction = "worse" if alarm.fell else "better"
        self._metrics.arm_alarms.labels(alarm.arm, direction).inc()
        log.warning(
            "arm_alarm arm=%s direction=%s at=%.3f since=%.3f outcomes=%d shift=%+.3f fortune=%.0f artifact=%s",
            alarm.arm, direction, alarm.at, alarm.since, alarm.n_outcomes, alarm.shift, alarm.statistic,
            self._artifact,
        )  # fmt: skip


def load_untold(raw: bytes) -> list[Item]:
    """The inverse of `News.dump`.

    Raises:
        ValueError: It is none.
    """
    try:
        return [_KINDS[name](**told) for name, told in orjson.loads(raw)]
    except (KeyError, TypeError) as problem:
        raise ValueError(f"untold news: {problem}") from problem
