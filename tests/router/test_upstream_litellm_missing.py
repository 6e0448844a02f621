"""Without litellm the rest works, and whoever asks for it is told what to install."""

import importlib.util
import subprocess
import sys

import pytest

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call
from router.upstreams.litellm import LiteLLMMissing, LiteLLMUpstream

HERE = importlib.util.find_spec("litellm") is not None


@pytest.mark.asyncio
@pytest.mark.skipif(HERE, reason="litellm is installed")
async def test_a_missing_sdk_names_the_command() -> None:
    upstream = LiteLLMUpstream("m#0", Deployment(upstream="litellm"))
    with pytest.raises(LiteLLMMissing, match=r"pip install 'gearshift\[litellm\]'"):
        await upstream.send(Call(body={}, raw=b"", stream=False, request_id="r"), Timeouts())


def test_importing_the_upstreams_imports_no_sdk() -> None:
    modules = "router.upstreams.litellm, router.upstreams.dispatch, router.upstreams.makers"
    code = f"import sys, {modules}; print(sorted({{'litellm', 'openai', 'torch', 'pyarrow'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
