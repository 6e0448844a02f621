"""Opens an encoder by name, and prepares the files that opening one needs."""

from __future__ import annotations

import subprocess
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from policies.encoders.base import Encoder, EncoderUnavailable, prepare_command
from policies.encoders.child import module_environment, python_module

GROUP = "gearshift.encoders"
BUILT_IN = {  # name: module here, suffix of its load, is_prepared and build
    "minilm": ("minilm", ""),
    "minilm-fp32": ("minilm", "_fp32"),
    "static": ("static", ""),
    "sentence-transformers": ("sentence", ""),
}


def load_encoder(name: str, *, source: str | None = None, cache_dir: Path | None = None) -> Encoder:
    """Open an encoder that is already prepared; never builds, downloads weights or falls back to another one.

    Args:
        name: A built-in name, or one of the entry-point group `gearshift.encoders` (a callable with the keywords
            `source` and `cache_dir` that returns an Encoder).
        source: Where the weights come from: a folder or a hub id; None means the encoder's own default.
        cache_dir: Where prepared encoders live; None means `GEARSHIFT_CACHE`, else `~/.cache/gearshift`.

    Raises:
        EncoderUnavailable: Unknown name, or something is missing; the message has the command to run.
        EncoderCorrupt: A prepared file was damaged; the message has the command that rebuilds it.
    """
    if name in BUILT_IN:
        encoder: Encoder = _built_in(name, "load")(source=source, cache_dir=cache_dir)
        return encoder
    for entry in entry_points(group=GROUP, name=name):
        plugin: Encoder = entry.load()(source=source, cache_dir=cache_dir)
        return plugin
    known = sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})
    raise EncoderUnavailable(f"no encoder is named {name!r}; choose one of {', '.join(known)}, or install its plug-in")


def prepare_encoder(name: str, *, source: str | None = None, cache_dir: Path | None = None) -> None:
    """Build and cache what `load_encoder` needs; returns at once when that is there and sound.

    The build runs in a child process, so the caller never imports the graph writer and gets its memory back. Several
    processes may call it together: one builds, the others wait for it. Progress goes to stderr.

    Raises:
        EncoderUnavailable: The source is missing or the build failed; the child's own words are on stderr.
    """
    if name not in BUILT_IN or _built_in(name, "is_prepared")(source=source, cache_dir=cache_dir):
        return
    command = [*python_module("policies.encoders"), "prepare", name]
    command += ["--source", source] if source else []
    command += ["--cache-dir", str(cache_dir)] if cache_dir else []
    done = subprocess.run(command, env=module_environment(), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise EncoderUnavailable(
            f"encoder {name} was not prepared; see the reason with: {prepare_command(name, source)}"
        )


def build_encoder(name: str, *, source: str | None = None, cache_dir: Path | None = None) -> None:
    """Build a built-in encoder in this process."""
    if name not in BUILT_IN:
        raise EncoderUnavailable(f"{name!r} is not one of {', '.join(BUILT_IN)}; a plug-in prepares itself")
    _built_in(name, "build")(source=source, cache_dir=cache_dir)


def _built_in(name: str, verb: str) -> Any:
    module, suffix = BUILT_IN[name]
    return getattr(import_module(f"policies.encoders.{module}"), verb + suffix)
