"""The registry: names, entry points, dotted paths, and what wrong ones get."""

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.api import Backend, ContractError, Evaluator, Method, PrerequisiteError, UsageError
from bench.api.registry import (
    BACKENDS,
    EVALUATORS,
    METHODS,
    Registry,
)
from bench.spec.profile import load_profile, profile_names

_METHOD = """
    from dataclasses import dataclass
    from bench.api import Method

    @dataclass(frozen=True, kw_only=True)
    class Mine(Method):
        name = "mine"
        version = 1

        def link(self, delta):
            return delta

    class NotAMethod:
        pass

    number = 3
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the search path with `plug_in_under_test.py`; forgotten afterwards."""
    write(tmp_path, "plug_in_under_test", _METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0].endswith("_under_test")]:
        del sys.modules[name]


def write(folder: Path, module: str, text: str) -> None:
    (folder / f"{module}.py").write_text(textwrap.dedent(text))


def distribution(folder: Path, name: str, points: str) -> None:
    """Lay out an installed distribution with entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(points))


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        *((METHODS, n) for n in ("sft", "diffusion-dpo", "ddspo")),
        *((EVALUATORS, n) for n in ("geneval", "t2i-compbench", "fid", "inception-score")),
        *((BACKENDS, n) for n in ("tiny-detector", "tiny-vqa", "tiny-clip", "tiny-features")),
    ],
)
def test_every_built_in_name_loads_and_names_itself(registry: Registry, name: str) -> None:
    loaded = registry.load(name)
    own = loaded.spec.name if issubclass(loaded, Evaluator) else loaded.name
    assert own == name
    assert registry.entry(name).origin == "built-in"


def test_names_are_listed_without_importing(package: Path) -> None:
    registry = Registry(
        kind="method", bases=(Method,), built_in={"mine": "plug_in_under_test:Mine"}, group="none"
    )
    assert registry.names() == ["mine"]
    assert "plug_in_under_test" not in sys.modules
    assert registry.load("mine").name == "mine"


def test_a_dotted_path_loads(package: Path) -> None:
    loaded = METHODS.load("plug_in_under_test:Mine")
    assert loaded.name == "mine"
    assert METHODS.entry("plug_in_under_test:Mine").origin == "path"


def test_a_file_loads(tmp_path: Path) -> None:
    write(tmp_path, "file_under_test", _METHOD)
    assert METHODS.load(f"{tmp_path}/file_under_test.py:Mine").name == "mine"
    del sys.modules["file_under_test"]
    sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("absent.py", "there is no file"),
        ("my-method.py", "cannot be imported under the name 'my-method'"),
        ("json.py", "the name 'json' already means"),
    ],
)
def test_a_file_that_cannot_be_a_module(tmp_path: Path, file: str, message: str) -> None:
    if not file.startswith("absent"):
        (tmp_path / file).write_text("")
    with pytest.raises(UsageError, match=message):
        METHODS.load(f"{tmp_path}/{file}:Mine")


def test_an_entry_point_loads_by_name_and_says_where_it_is_from(package: Path) -> None:
    distribution(package, "some-package", "[bench.methods]\nmine = plug_in_under_test:Mine\n")
    assert METHODS.entry("mine").origin == "some-package 1.0"
    assert METHODS.load("mine").__name__ == "Mine"


def test_a_second_owner_of_a_name_is_refused(package: Path) -> None:
    distribution(package, "some-package", "[bench.methods]\nsft = plug_in_under_test:Mine\n")
    with pytest.raises(UsageError, match=r"two methods are named 'sft'.*some-package 1\.0"):
        METHODS.load("ddspo")


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown method 'difusion-dpo'. Did you mean") as caught:
        METHODS.load("difusion-dpo")
    assert "'diffusion-dpo'" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plug_in_under_test.Mine", r"A dotted path has a colon.*plug_in_under_test:Mine"),
        ("plug_in_under_test:Mime", r"has no attribute 'Mime'\. Did you mean 'Mine'"),
        ("absent_under_test:Mine", r"there is no module 'absent_under_test'"),
        ("plug_in_under_test.sub:Mine", r"there is no module 'plug_in_under_test.sub'"),
        ("plug_in_under_test:", r"expected pkg.mod:Class"),
        ("a b:Mine", r"expected pkg.mod:Class"),
    ],
)
def test_a_wrong_path_is_explained(package: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        METHODS.load(name)


@pytest.mark.parametrize("attribute", ["NotAMethod", "number"])
def test_what_is_no_method_is_refused(package: Path, attribute: str) -> None:
    with pytest.raises(ContractError, match=r"expected a subclass of bench\.api\.method\.Method"):
        METHODS.load(f"plug_in_under_test:{attribute}")


def test_a_method_is_no_evaluator(package: Path) -> None:
    with pytest.raises(ContractError, match=r"expected a subclass of .*Evaluator"):
        EVALUATORS.load("plug_in_under_test:Mine")


def test_a_missing_package_is_a_prerequisite(package: Path) -> None:
    write(package, "needy_under_test", "import no_such_package_at_all\n")
    with pytest.raises(PrerequisiteError, match="pip install no_such_package_at_all") as caught:
        METHODS.load("needy_under_test:Mine")
    assert caught.value.exit_code == 3


def test_a_package_that_is_installed_by_another_name_is_called_by_it(package: Path) -> None:
    write(package, "looks_under_test", "raise ModuleNotFoundError('no', name='skimage.draw')\n")
    with pytest.raises(PrerequisiteError, match="pip install scikit-image"):
        METHODS.load("looks_under_test:Mine")


def test_a_module_an_installed_package_lacks_is_not_one_to_install(package: Path) -> None:
    write(package, "needy_under_test", "import bench.no_such_module\n")
    with pytest.raises(ContractError, match="bench has no such module"):
        METHODS.load("needy_under_test:Mine")


def test_a_module_that_raises_is_a_broken_contract(package: Path) -> None:
    write(package, "broken_under_test", "1 / 0\n")
    with pytest.raises(ContractError, match="raised ZeroDivisionError: division by zero"):
        METHODS.load("broken_under_test:Mine")


def test_the_back_ends_that_profiles_name_are_back_ends() -> None:
    for profile in map(load_profile, profile_names()):
        for own in (profile.backends, *profile.evaluator_backends.values()):
            for name in own.values():
                assert BACKENDS.entry(name).origin == "built-in"
    for name in load_profile("tiny").backends.values():
        assert issubclass(BACKENDS.load(name), Backend)
