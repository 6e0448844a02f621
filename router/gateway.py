"""Everything a worker serves with, wired once; only `setup` is ever replaced."""

from dataclasses import dataclass, field

from numpy.random import Generator

from router.client import Admission
from router.encoding import EmbeddingService
from router.metrics import Metrics
from router.pacing import Pacing
from router.sessions import Sessions
from router.setup import Setup
from router.shares import Shares
from router.store.base import Store


@dataclass(slots=True)
class Gateway:
    """The parts of one worker process.

    Attributes:
        setup: The configuration in force; swapped whole on SIGHUP.
        secret: Keys the HMACs of API keys and sessions.
        rng: The only source of draws.
        pacing: How fast this worker's tenants may spend.
        shares: Modes that the store said to have their share.
    """

    setup: Setup
    store: Store
    encoder: EmbeddingService
    sessions: Sessions
    admission: Admission
    metrics: Metrics
    rng: Generator
    secret: bytes
    pacing: Pacing = field(default_factory=Pacing)
    shares: Shares = field(default_factory=Shares)
