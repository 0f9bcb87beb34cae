"""A plug-in as a checkout, as loose files and as a wheel: one hash; what else is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.store.source.identity import meaning_of

PLUG = {
    "plug/__init__.py": "",
    "plug/method.py": (
        "import plug_helpers\nimport otherlib\nfrom . import rules\n"
        "class M:\n    x = plug_helpers.K + rules.f() + otherlib.value()\n"
    ),
    "plug/rules.py": "def f():\n    return 1\n",
    "plug_helpers.py": "K = 1\n",
}
OTHER = {"otherlib/__init__.py": "def value():\n    return 1\n"}
ROOT = ("plug.method:M",)


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def install(site: Path, name: str, version: str, files: dict[str, str], points: str = "") -> None:
    put(site, files)
    info = site / f"{name}-{version}.dist-info"
    put(
        info,
        {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "RECORD": "".join(f"{file},,\n" for file in files),
            **({"entry_points.txt": points} if points else {}),
        },
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "environment" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    return folder


POINTS = "[bench.methods]\nplug = plug.method:M\n"


def test_a_wheel_a_checkout_and_its_edits(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "otherlib", "1.0", OTHER)
    put(tmp_path / "checkout", PLUG)
    with monkeypatch.context() as local:
        local.syspath_prepend(str(tmp_path / "checkout"))
        checkout = meaning_of(ROOT)
    install(site, "plug", "0.3", PLUG, POINTS)
    wheel = meaning_of(ROOT)
    assert str(site) in next(iter(wheel.files))
    assert wheel.sha256 == checkout.sha256
    assert wheel.packages == checkout.packages == {"otherlib": "1.0"}
    (site / "plug_helpers.py").write_text("K = 2\n")
    assert meaning_of(ROOT).sha256 != wheel.sha256
    (site / "plug_helpers.py").write_text("K = 1  # again\n")
    assert meaning_of(ROOT).sha256 == wheel.sha256


def test_other_distributions_enter_by_name_and_version(site: Path) -> None:
    install(site, "plug", "0.3", PLUG, POINTS)
    install(site, "otherlib", "1.0", OTHER)
    before = meaning_of(ROOT)
    (site / "otherlib" / "__init__.py").write_text("def value():\n    return 2\n")
    assert meaning_of(ROOT) == before


def test_distributions_with_plug_ins_count_as_source(site: Path) -> None:
    install(site, "plug", "0.3", PLUG, POINTS)
    install(site, "otherlib", "1.0", OTHER, "[bench.evaluators]\no = otherlib:O\n")
    before = meaning_of(ROOT)
    assert before.packages == {}
    (site / "otherlib" / "__init__.py").write_text("def value():\n    return 2\n")
    assert meaning_of(ROOT).sha256 != before.sha256


def test_a_file_that_nobody_says_he_installed_counts_as_source(site: Path) -> None:
    put(site, {**PLUG, **OTHER})
    before = meaning_of(ROOT)
    (site / "otherlib" / "__init__.py").write_text("def value():\n    return 2\n")
    assert meaning_of(ROOT).sha256 != before.sha256


def test_every_supported_python_agrees() -> None:
    """Where another interpreter is on this machine; the versions that are listed are tried."""
    import shutil
    import subprocess

    root = Path(__file__).parents[2]
    program = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from bench.api.registry import EVALUATORS, METHODS\n"
        "from bench.store.source.identity import meaning_of\n"
        "targets = [e.target for r in (METHODS, EVALUATORS) for e in r.entries().values()]\n"
        "print(*(meaning_of((t,)).sha256 for t in targets))\n"
    )
    found = {}
    pyenv = Path("~/.pyenv/versions").expanduser()
    for version in ("3.11", "3.12", "3.13", "3.14"):
        beside = sorted(pyenv.glob(f"{version}.*/bin/python"))
        python = shutil.which(f"python{version}") or (str(beside[-1]) if beside else None)
        if python is None:
            continue
        ran = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True)
        if ran.returncode == 0:
            found[version] = ran.stdout
    own = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(found.values()) <= {own.stdout}, sorted(found)
