"""What a fresh checkout and a wheel hold."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import bench

ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.]+)")
_BOUND = re.compile(r"(?P<name>[\w.-]+)>=(?P<version>[\w.]+)(,<[\w.]+)?")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    found = [_PIN.fullmatch(line.strip()) for line in lines if line and not line.startswith("#")]
    assert all(found), f"{file}: every line is `name==version`"
    return {normal(m["name"]): m["version"] for m in found if m}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def runtime() -> list[str]:
    return [*project()["dependencies"], *project()["optional-dependencies"]["metrics"]]


def test_the_minimum_constraints_are_the_lower_bounds() -> None:
    lowest = pins("constraints-minimum.txt")
    for requirement in runtime():
        bound = _BOUND.fullmatch(requirement)
        assert bound, f"{requirement}: expected name>=version"
        assert lowest[normal(bound["name"])] == bound["version"], requirement


def test_the_constraints_pin_every_direct_dependency() -> None:
    tested = pins("constraints.txt")
    extras = project()["optional-dependencies"]
    for requirement in [*runtime(), *extras["dev"]]:
        assert normal(re.split(r"[><=,]", requirement)[0]) in tested, requirement


def test_both_files_pin_one_torch() -> None:
    tested, lowest = pins("constraints.txt"), pins("constraints-minimum.txt")
    for name in ("torch", "torchvision"):
        assert tested[name] == lowest[name]


def test_the_version_is_in_the_changelog_or_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog or f"## [{bench.__version__}]" in changelog
    assert "### Numbers" in changelog


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("script", [".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    done = subprocess.run(["bash", "-n", ROOT / script])
    assert done.returncode == 0


def test_make_does_nothing_twice(tmp_path: Path) -> None:
    """`make venv` is up to date as soon as its stamp is newer than what it depends on."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    wanted = subprocess.run(["make", "-n", "venv"], cwd=tmp_path, capture_output=True, text=True)
    assert "pip install" in wanted.stdout
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").touch()
    again = subprocess.run(["make", "-n", "venv"], cwd=tmp_path, capture_output=True, text=True)
    assert "pip install" not in again.stdout


@pytest.mark.slow
def test_a_wheel_holds_code_tables_and_weights(tmp_path: Path) -> None:
    """Built from a copy: what is left of other builds does not slip in."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("bench", "methods", "evaluators", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--wheel-dir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        info = next(name for name in held if name.endswith("entry_points.txt"))
        assert "bench = bench.cli:main" in archive.read(info).decode()
    wanted = {
        str(file.relative_to(ROOT))
        for top in ("bench", "methods", "evaluators")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert any(name.endswith(".safetensors") for name in wanted)
    assert any(name.startswith("bench/tables/") and name.endswith(".yaml") for name in wanted)
    assert not wanted - held, f"the wheel lacks {sorted(wanted - held)[:5]}"
    assert not {name.partition("/")[0] for name in held} & {"tests", "benchmarks", "examples"}
