"""Artifacts: a directory with a fitted policy that is refused rather than served wrongly.

``weights.safetensors`` holds the numbers and ``manifest.json`` everything else: format, policy, the hash of every file,
arms with revisions and prices at training, encoder and features, data range, settings and evaluation. Nothing pickled.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from policies.encoders.base import Encoder, EncoderMismatch
from policies.encoders.probes import check_probes, probe_vectors
from policies.errors import ArtifactError, PolicyMismatch
from policies.features import FEATURES_ID

FORMAT = 1
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
PROBES = "encoder_probes"  # tensor of the encoder's vectors for the probe texts

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A fitted policy as data.

    Attributes:
        policy: Registered name of the policy that serves it.
        arms: ``{"name", "model", "mode", "effort", "revision", "price"}`` of each arm, in the order of the weights.
        encoder_id / features_id: What its inputs must come from.
        version: First 12 hex digits of the manifest's hash; empty until saved.
        data: What it was fitted on: source, rows, range.
        training: Settings and seed that repeat the fit.
        evaluation: Measured on held-out data, with baselines and intervals.
        floors: Quality floors it promises, as ``policies.floors`` writes them; empty: none.
        tensors: Arrays by name.
    """

    policy: str
    arms: tuple[Mapping[str, Any], ...]
    encoder_id: str
    features_id: str
    tensors: Tensors
    version: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    floors: Mapping[str, Any] = field(default_factory=dict)


def save_artifact(artifact: Artifact, folder: Path | str, *, encoder: Encoder) -> Path:
    """Write the directory whole or not at all: beside its place first, then renamed. An earlier artifact is replaced.

    Raises:
        PolicyMismatch: ``encoder`` is not the one the artifact was fitted with.
        ArtifactError: ``folder`` exists and is no artifact; nothing is touched.
    """
    from safetensors.numpy import save

    target = Path(folder)
    if encoder.encoder_id != artifact.encoder_id:
        raise PolicyMismatch(f"the artifact was fitted with {artifact.encoder_id}, not with {encoder.encoder_id}")
    if target.exists() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise ArtifactError(f"{target} holds something that is no artifact; choose another folder")
    tensors = {name: np.ascontiguousarray(values) for name, values in artifact.tensors.items()}
    weights = save(tensors | {PROBES: probe_vectors(encoder)})
    manifest = orjson.dumps(_manifest(artifact, weights), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fresh.chmod(0o755)
        _write(fresh / WEIGHTS, weights)
        _write(fresh / MANIFEST, manifest + b"\n")
        _replace(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def load_artifact(folder: Path | str, *, encoder: Encoder | None) -> Artifact:
    """Read and check an artifact that is to serve.

    Raises:
        ArtifactError: Missing, of an unknown or newer format, changed since it was saved, or with unexpected files.
        PolicyMismatch: Encoder or features are not those it was fitted with.
    """
    artifact, probes = _read_whole(Path(folder))
    _check_inputs(artifact, probes, place=Path(folder), encoder=encoder)
    return artifact


def read_artifact(folder: Path | str) -> Artifact:
    """Read an artifact for embeddings that are there already, logged ones say; who asks compares ``encoder_id``.

    Raises:
        ArtifactError: As ``load_artifact``.
        PolicyMismatch: The features are not those it was fitted with.
    """
    artifact, _ = _read_whole(Path(folder))
    _check_features(artifact, place=Path(folder))
    return artifact


def _read_whole(place: Path) -> tuple[Artifact, NDArray[Any]]:
    """The artifact and its encoder's vectors for the probe texts."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    raw = _read(place / MANIFEST)
    manifest = _checked_manifest(raw, place)
    contents = _checked_files(manifest["files"], place)
    try:
        tensors = load(contents[WEIGHTS])
        artifact = Artifact(
            policy=manifest["policy"],
            arms=tuple(manifest["arms"]),
            encoder_id=manifest["encoder_id"],
            features_id=manifest["features_id"],
            version=hashlib.sha256(raw).hexdigest()[:12],
            data=manifest["data"],
            training=manifest["training"],
            evaluation=manifest["evaluation"],
            floors=manifest.get("floors", {}),  # an older artifact promises none
            tensors={name: values for name, values in tensors.items() if name != PROBES},
        )
        return artifact, tensors[PROBES]
    except (SafetensorError, KeyError) as problem:
        raise ArtifactError(f"{place}: not a whole artifact ({problem}); train it again") from problem


def _manifest(artifact: Artifact, weights: bytes) -> dict[str, Any]:
    files = {WEIGHTS: {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}}
    described = {name: value for name, value in asdict(artifact).items() if name not in ("tensors", "version")}
    return {"format": FORMAT, "files": files, **described}


def _write(file: Path, contents: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(contents)
        stream.flush()
        os.fsync(stream.fileno())


def _replace(fresh: Path, target: Path) -> None:
    """Put ``fresh`` where ``target`` is; a reader finds the old artifact or the new one, for an instant none."""
    if not target.exists():
        fresh.rename(target)
        return
    aside = fresh.with_name(fresh.name + ".old")
    target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise ArtifactError(f"{file}: {reason}; name a folder written by `gearshift train`") from problem


def _checked_manifest(raw: bytes, place: Path) -> dict[str, Any]:
    try:
        read = orjson.loads(raw)
    except ValueError as problem:
        raise ArtifactError(f"{place / MANIFEST}: not JSON ({problem}); train it again") from problem
    manifest: dict[str, Any] = read if isinstance(read, dict) else {}
    version = manifest.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtifactError(f"{place / MANIFEST}: format {version!r} is unknown; train it again")
    if version > FORMAT:
        raise ArtifactError(f"{place / MANIFEST}: format {version} is newer than {FORMAT}; upgrade gearshift")
    if not isinstance(manifest.get("files"), dict) or set(manifest["files"]) != {WEIGHTS}:
        raise ArtifactError(f"{place / MANIFEST}: an artifact of format {FORMAT} lists {WEIGHTS} alone")
    return manifest


def _checked_files(files: Mapping[str, Any], place: Path) -> dict[str, bytes]:
    """Contents of every listed file, after its hash; what is hashed is what is used."""
    unexpected = sorted(entry.name for entry in place.iterdir() if entry.name not in files and entry.name != MANIFEST)
    if unexpected:
        raise ArtifactError(f"{place}: holds {unexpected[0]!r}, which its manifest does not list; remove it")
    contents = {}
    for name, facts in files.items():
        contents[name] = _read(place / name)
        if hashlib.sha256(contents[name]).hexdigest() != facts.get("sha256"):
            raise ArtifactError(f"{place / name}: its hash is not the manifest's: damaged or changed; train it again")
    return contents


def _check_features(artifact: Artifact, *, place: Path) -> None:
    if artifact.features_id != FEATURES_ID:
        raise PolicyMismatch(f"{place}: fitted on features {artifact.features_id}, not {FEATURES_ID}; train it again")


def _check_inputs(artifact: Artifact, probes: NDArray[Any], *, place: Path, encoder: Encoder | None) -> None:
    _check_features(artifact, place=place)
    if encoder is None or encoder.encoder_id != artifact.encoder_id:
        ours = "there is none" if encoder is None else f"this one is {encoder.encoder_id}"
        raise PolicyMismatch(
            f"{place}: fitted with encoder {artifact.encoder_id}, {ours}; serve it with that encoder or train it again"
        )
    try:
        check_probes(encoder, probes)
    except EncoderMismatch as problem:
        raise PolicyMismatch(f"{place}: {problem}") from problem
