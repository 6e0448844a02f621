"""Which class serves which `upstream:` of a configuration."""

from collections.abc import Mapping

import aiohttp

from router.config.schema import Deployment
from router.upstreams.base import Upstream
from router.upstreams.deployments import Maker
from router.upstreams.openai import OpenAIUpstream


def standard_makers() -> Mapping[str, Maker]:
    """Makers of `openai`, `litellm` and `fake`; `local` is added by who runs the local model's process."""
    return {"openai": OpenAIUpstream, "litellm": _litellm, "fake": _fake}


def _litellm(name: str, deployment: Deployment, session: aiohttp.ClientSession) -> Upstream:
    from router.upstreams.litellm import LiteLLMUpstream

    return LiteLLMUpstream(name, deployment)


def _fake(name: str, deployment: Deployment, session: aiohttp.ClientSession) -> Upstream:
    from router.upstreams.fake import FakeUpstream

    return FakeUpstream(name, deployment)
