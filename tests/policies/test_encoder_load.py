"""Opening an encoder by name: the built-in ones, and those that another package registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.encoders.base import EncoderUnavailable
from policies.encoders.load import BUILT_IN, build_encoder, load_encoder, prepare_encoder

PLUGIN = """
class Plugin:
    encoder_id, name, dim = "plugin-0123456789ab", "plugin", 3
    def __init__(self, source): self.source = source
def load(*, source=None, cache_dir=None): return Plugin(source)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_encoder_plugin.py").write_text(PLUGIN)
    (tmp_path / "an_encoder_plugin-1.0.dist-info").mkdir()
    facts = tmp_path / "an_encoder_plugin-1.0.dist-info"
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: an-encoder-plugin\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[gearshift.encoders]\nplugin = an_encoder_plugin:load\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("plugin")
def test_an_encoder_of_another_package_is_loaded_by_its_entry_point() -> None:
    prepare_encoder("plugin")
    encoder = load_encoder("plugin", source="weights")
    assert encoder.encoder_id == "plugin-0123456789ab"
    assert vars(encoder) == {"source": "weights"}


@pytest.mark.usefixtures("plugin")
def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(EncoderUnavailable) as raised:
        load_encoder("word2vec")
    assert all(name in str(raised.value) for name in (*BUILT_IN, "plugin", "word2vec"))


def test_only_built_in_encoders_are_built_here() -> None:
    with pytest.raises(EncoderUnavailable, match="prepares itself"):
        build_encoder("plugin")


def test_a_failed_preparation_names_the_command_that_shows_why(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(EncoderUnavailable, match=r"see the reason with: python -m policies.encoders prepare minilm"):
        prepare_encoder("minilm", source=str(tmp_path), cache_dir=tmp_path / "cache")
    with pytest.raises(EncoderUnavailable, match=r"not a plain BERT encoder \(model_type='t5'\)"):
        build_encoder("minilm", source=str(tmp_path), cache_dir=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache" / "encoders").iterdir() if not path.name.endswith(".lock")]
