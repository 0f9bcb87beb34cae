import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.api.errors import ContractError
from bench.store import code_identity, plugin_source_hash

PACKAGE = "a_plugin_package"
FILES = {
    "__init__.py": "",
    "method.py": (
        "from a_plugin_package.rules import K, late\n"
        "from a_plugin_package.base import Base\n"
        "import json\n"
        "class Method(Base):\n    version = 3\n    k = K\n    def f(self):\n        return late()\n"
    ),
    "base.py": "class Base:\n    pass\n",
    "rules.py": "def late():\n    from . import deep\n    return deep\nK = 1\n",
    "deep.py": "D = 1\n",
    "unrelated.py": "U = 1\n",
}
EDITED = {
    "method.py": FILES["method.py"].replace("3", "4"),
    "base.py": "class Base:\n    x = 1\n",
    "rules.py": FILES["rules.py"].replace("K = 1", "K = 2"),
    "deep.py": "D = 2\n",
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / PACKAGE
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def method_hash(plugin: Path) -> Callable[[], str]:
    cls = importlib.import_module(f"{PACKAGE}.method").Method
    return lambda: plugin_source_hash(cls)


@pytest.mark.parametrize("edited", ["method.py", "base.py", "rules.py", "deep.py"])
def test_an_edit_of_what_the_class_uses_changes_its_hash(
    plugin: Path, method_hash: Callable[[], str], edited: str
) -> None:
    before = method_hash()
    (plugin / edited).write_text(FILES[edited] + "# edited\n")
    assert method_hash() == before
    (plugin / edited).write_text(EDITED[edited])
    assert method_hash() != before
    (plugin / edited).write_text(FILES[edited])
    assert method_hash() == before


def test_an_edit_of_another_file_does_not(plugin: Path, method_hash: Callable[[], str]) -> None:
    before = method_hash()
    (plugin / "unrelated.py").write_text("U = 2\n")
    assert method_hash() == before


def test_the_hash_does_not_depend_on_where_the_package_lies(
    plugin: Path, method_hash: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = method_hash()
    moved = tmp_path / "elsewhere" / PACKAGE
    moved.parent.mkdir()
    plugin.rename(moved)
    for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(moved.parent))
    assert plugin_source_hash(importlib.import_module(f"{PACKAGE}.method").Method) == before


def test_a_module_outside_a_package_works(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "lone_plugin_module.py").write_text("class Lone:\n    pass\n")
    cls = importlib.import_module("lone_plugin_module").Lone
    before = plugin_source_hash(cls)
    (tmp_path / "lone_plugin_module.py").write_text("class Lone:\n    x = 1\n")
    assert plugin_source_hash(cls) != before
    del sys.modules["lone_plugin_module"]


def test_a_class_without_a_file_is_refused() -> None:
    cls = type("Typed", (), {"__module__": "no_such_module"})
    with pytest.raises(ContractError, match=r"no_such_module:Typed cannot be found.*\.py file"):
        plugin_source_hash(cls)


def test_code_identity_holds_class_version_and_source(method_hash: Callable[[], str]) -> None:
    cls = sys.modules[f"{PACKAGE}.method"].Method
    assert code_identity(cls) == {
        "version": 3,
        "source_sha256": method_hash(),
    }


def test_a_class_of_the_main_script_is_hashed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    found = []
    for value in (1, 2, 2):
        script.write_text(
            f"import sys\nsys.path.append({str(Path(__file__).parents[2])!r})\n"
            f"from bench.store import plugin_source_hash\nclass M:\n    x = {value}\n"
            "print(plugin_source_hash(M))\n"
        )
        ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
        found.append(ran.stdout)
    assert found[0] != found[1] == found[2]
