"""Builds a worker's gateway out of a configuration: the only place where the parts meet."""

import asyncio

import aiohttp
import numpy as np

from policies.encoders.base import Encoder
from policies.encoders.load import load_encoder
from policies.registry import load_policy
from router.client import Admission
from router.config.arms import arm_table
from router.config.load import default_trade_offs
from router.config.schema import Config
from router.encoding import EmbeddingService
from router.gateway import Gateway
from router.metrics import Metrics
from router.sessions import Sessions
from router.setup import Setup, build_setup
from router.store.base import Store
from router.tenants import trade_off_of
from router.upstreams.deployments import Maker, build_deployments
from router.upstreams.local import LocalUpstream
from router.upstreams.makers import standard_makers


def make_setup(
    config: Config,
    *,
    config_hash: str,
    encoder: Encoder,
    session: aiohttp.ClientSession,
    secret: bytes,
    local: Maker = LocalUpstream,
) -> Setup:
    """Make one configuration ready to serve.

    Args:
        local: What stands for `upstream: local`; where no local process was started, a plain OpenAI one.

    Raises:
        PolicyError: The policy or its artifact cannot be loaded, or does not fit the encoder.
    """
    arms = arm_table(config)
    named = default_trade_offs() | dict(config.trade_offs)
    return build_setup(
        config,
        config_hash=config_hash,
        arms=arms,
        trade_offs={name: trade_off_of(each) for name, each in named.items()},
        policy=load_policy(config.policy, list(arms.values()), encoder),
        encoder_id=encoder.encoder_id,
        deployments=build_deployments(config, session, makers=dict(standard_makers()) | {"local": local}),
        secret=secret,
    )


async def make_gateway(
    config: Config,
    *,
    config_hash: str,
    store: Store,
    session: aiohttp.ClientSession,
    secret: bytes,
    local: Maker = LocalUpstream,
) -> Gateway:
    """Load encoder and policy (off the loop: the store's start goes on meanwhile) and wire everything."""
    encoder = await asyncio.to_thread(load_encoder, config.encoder.name, source=config.encoder.source)
    metrics = Metrics()
    return Gateway(
        setup=make_setup(config, config_hash=config_hash, encoder=encoder, session=session, secret=secret, local=local),
        store=store,
        encoder=EmbeddingService(encoder, cache_entries=config.encoder.cache_entries),
        sessions=Sessions(store),
        admission=Admission(metrics),
        metrics=metrics,
        rng=np.random.default_rng(),
        secret=secret,
    )
