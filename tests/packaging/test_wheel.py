"""The distribution as a user gets it: sdist, the wheel built from it, and the command in an environment of its own."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"policies", "router", "training"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ENTRIES = "from importlib.metadata import entry_points\nentries = entry_points(group={group!r})\n"
LIST = ENTRIES + "print(*(entry.name for entry in entries))"
LOAD = ENTRIES + "print(*(callable(entry.load()) for entry in entries))"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from the sdist, not from the tree."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel, and sees this one's packages behind its own."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # A .pth file inside a folder named by a .pth file is not read, so an editable install stays out of sight.
    (site / "dependencies.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")) + "\n")
    wheel = next(built.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def sources(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sources")
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """Run a program of the environment in a folder whose `router.py` and `training/` would end it."""
    (tmp_path / "training").mkdir()
    for decoy in (tmp_path / "router.py", tmp_path / "training" / "__init__.py"):
        decoy.write_text("raise SystemExit('a file of the working folder was imported')\n")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "GEARSHIFT_CACHE") if name in os.environ}

    def call(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [str(environment / "bin" / program), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env={**kept, **variables}, capture_output=True, text=True, timeout=60, check=False
        )

    return call


def test_the_wheel_holds_the_three_packages_and_nothing_else(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == PACKAGES
    assert not [name for name in names if "__pycache__" in name or name.endswith(".so")]


def test_the_wheel_holds_every_tracked_file_of_the_packages(built: Path) -> None:
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    assert {name for name in listed.stdout.split() if (ROOT / name).exists()} - names == set()


def test_the_sdist_holds_the_example_the_licence_and_no_tests(sources: Path) -> None:
    present = {path.name for path in sources.iterdir()}
    assert {"examples", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} | PACKAGES <= present
    assert not present & {"tests", "bench", ".venv", "deploy"}
    assert [path.name for path in (sources / "examples").iterdir()] == ["gearshift.yaml"]


def test_a_module_run_from_the_folder_would_meet_the_decoy(run: Run) -> None:
    assert "working folder was imported" in run("python", "-c", "import router").stderr


def test_the_command_ignores_files_of_the_working_folder(run: Run, sources: Path) -> None:
    config = sources / "examples" / "gearshift.yaml"
    done = run(
        "gearshift", "check", "--config", str(config), "--no-probe", OPENAI_API_KEY="sk-test", ACME_KEY="sk-" + "a" * 32
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_fails_on_a_broken_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("models: {m: {deployments: [], price: {input: -1, output: 0}}}\n")
    done = run("gearshift", "check", "--config", "broken.yaml", "--no-probe")
    assert done.returncode != 0
    assert "models.m" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_declared_command_without_importing_any(run: Run) -> None:
    done = run("gearshift", "--help", PYTHONPROFILEIMPORTTIME="1")
    commands = run("python", "-I", "-c", LIST.format(group="gearshift.commands")).stdout.split()
    assert done.returncode == 0, done.stderr
    assert len(commands) >= 8
    assert [name for name in commands if name not in done.stdout] == []
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert not {"router", "training", "torch", "numpy", "onnxruntime", "aiohttp"} & imported


@pytest.mark.parametrize("group", ["gearshift.commands", "gearshift.policies", "gearshift.encoders"])
def test_every_entry_point_leads_to_something_callable(run: Run, group: str) -> None:
    done = run("python", "-I", "-c", LOAD.format(group=group))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * len(done.stdout.split()) != []
