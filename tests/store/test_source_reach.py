"""What enters the hash of a class's source and what does not, on small plug-in packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from bench.store.source.identity import meaning_of

Files = dict[str, str]
PLUGIN: Files = {
    "plug/__init__.py": "",
    "plug/method.py": """
        import math
        from plug import rules as r
        from plug.base import Base
        from . import tables
        class Method(Base):
            scale: float = r.SCALE
            def loss(self, x):
                from plug.deep import late
                return late(x) * r.weight(x) + tables.of(x) + math.sqrt(2)
        """,
    "plug/base.py": "class Base:\n    offset = 1\n",
    "plug/rules.py": """
        import json
        SCALE = 2
        HALF = SCALE / 4
        def weight(x):
            return x * HALF
        def unrelated(x):
            return x
        """,
    "plug/tables.py": """
        TABLE = {}
        def entry(f):
            TABLE[len(TABLE)] = f
            return f
        def of(x):
            return TABLE[x]
        @entry
        def registered(x):
            return 5
        """,
    "plug/deep.py": """
        import numpy as np
        def late(x):
            return np.mean(x)
        """,
}
ROOT = "plug.method:Method"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Files], Path]:
    """Write files into a new folder of modules, in place of the one before."""
    count = iter(range(100))

    def put(files: Files) -> Path:
        folder = tmp_path / f"try{next(count)}"
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        monkeypatch.setattr(sys, "path", [str(folder), *_others(tmp_path)])
        return folder

    return put


def _others(tmp_path: Path) -> list[str]:
    return [entry for entry in sys.path if not entry.startswith(str(tmp_path))]


@pytest.fixture
def digest(write: Callable[[Files], Path]) -> Callable[..., str]:
    """The hash of a plug-in after edits: (file, old text, new text)."""

    def of(*edits: tuple[str, str, str], files: Files = PLUGIN, root: str = ROOT) -> str:
        edited = {name: dedent(text) for name, text in files.items()}
        for name, old, new in edits:
            assert old in edited[name], (name, old)
            edited[name] = edited[name].replace(old, new)
        write(edited)
        return meaning_of((root,)).sha256

    return of


SILENT = {
    "a comment": ("plug/rules.py", "SCALE = 2", "SCALE = 2  # the scale"),
    "a docstring": ("plug/rules.py", "return x * HALF", '"""Weight."""\n    return x * HALF'),
    "layout": ("plug/rules.py", "return x * HALF", "return (\n        x\n        * HALF)"),
    "how a number is written": ("plug/rules.py", "SCALE = 2", "SCALE = 0x2"),
    "an unrelated function": ("plug/rules.py", "def unrelated(x):", "def other(x):"),
    "a new function": ("plug/rules.py", "import json\n", "import json\ndef new():\n    return 1\n"),
    "an unused constant": ("plug/rules.py", "import json\n", "import json\nNEW = 3\n"),
    "an import that nobody uses": ("plug/rules.py", "import json", "import json, re"),
    "another form of import": (
        "plug/method.py",
        "from plug.base import Base",
        "from .base import Base",
    ),
    "another name for an import": ("plug/deep.py", "numpy as np", "numpy as np"),
    "the class's own name": ("plug/method.py", "class Method", "class Renamed"),
    "order of definitions": (
        "plug/rules.py",
        "import json\n",
        "def weight(x):\n    return x * HALF\nimport json\n",
    ),
}


@pytest.mark.parametrize("what", SILENT)
def test_what_means_nothing_does_not_enter(what: str, digest: Callable[..., str]) -> None:
    edits = [SILENT[what]]
    root = ROOT
    if what == "the class's own name":
        root = "plug.method:Renamed"
    if what == "order of definitions":
        edits = [("plug/rules.py", "def weight(x):\n    return x * HALF\n", ""), edits[0]]
    if what == "another name for an import":
        edits = [("plug/deep.py", "as np", "as n"), ("plug/deep.py", "np.mean", "n.mean")]
    assert digest(*edits, root=root) == digest()


LOUD = {
    "its own body": ("plug/method.py", "late(x) *", "late(x) +"),
    "a base class": ("plug/base.py", "offset = 1", "offset = 2"),
    "a helper's constant, two steps away": ("plug/rules.py", "SCALE / 4", "SCALE / 3"),
    "a default": ("plug/rules.py", "def weight(x)", "def weight(x, y=1)"),
    "what is imported inside a function": ("plug/deep.py", "np.mean(x)", "np.mean(x) + 1"),
    "what a name of another library means": ("plug/deep.py", "numpy as np", "torch as np"),
    "a registered function nobody names": ("plug/tables.py", "return 5", "return 6"),
    "the decorator": ("plug/tables.py", "return f\n", "return None\n"),
    "a function of another library": ("plug/method.py", "math.sqrt", "math.exp"),
    "a setting made on import": ("plug/rules.py", "import json\n", "import torch\ntorch.seed(3)\n"),
    "a name bound twice": ("plug/rules.py", "HALF = SCALE / 4", "HALF = 1\nHALF = SCALE / 4"),
    "a changed entry": ("plug/tables.py", "def of(x)", "TABLE['a'] = 1\ndef of(x)"),
    "a type of a field": ("plug/method.py", "scale: float", "scale: int"),
}


@pytest.mark.parametrize("what", LOUD)
def test_what_can_change_a_number_enters(what: str, digest: Callable[..., str]) -> None:
    assert digest(LOUD[what]) != digest()


FOLDERS = {
    "m.py": """
        from rules import weight
        class Metric:
            def score(self, x):
                return weight(x)
            def read_folder(self, root):
                from layout import read
                return read(root, 1)
        """,
    "rules.py": "def weight(x):\n    return x\n",
    "layout.py": "NAME = 'a'\ndef read(root, k):\n    return NAME, root, k\n",
}


@pytest.mark.parametrize(
    "rule", ["", "self.read_folder(x) + ", "getattr(self, 'read_folder')(x) + "]
)
def test_how_a_folder_is_read_enters_only_where_a_rule_reads_it(
    rule: str, digest: Callable[..., str]
) -> None:
    calls = ("m.py", "return weight(x)", f"return {rule}weight(x)")
    before = digest(calls, files=FOLDERS, root="m:Metric")
    edits = [("m.py", "read(root, 1)", "read(root, 2)"), ("layout.py", "NAME, root", "root, NAME")]
    for edit in edits:
        after = digest(calls, edit, files=FOLDERS, root="m:Metric")
        assert (after == before) == (not rule), edit
    assert (
        digest(calls, ("rules.py", "return x", "return -x"), files=FOLDERS, root="m:Metric")
        != before
    )


def test_names_that_change_places_between_modules_are_noticed(digest: Callable[..., str]) -> None:
    """The texts are the same, taken together: what a name stands for is not."""
    files = {
        "m.py": "from a import f\nfrom b import g\nclass M:\n    x = f() - g()\n",
        "a.py": "K = 1\ndef f():\n    return K\n",
        "b.py": "K = 2\ndef g():\n    return K\n",
    }
    swapped = digest(("a.py", "1", "2"), ("b.py", "2", "1"), files=files, root="m:M")
    assert swapped != digest(files=files, root="m:M")
    other = digest(("m.py", "f() - g()", "g() - f()"), files=files, root="m:M")
    assert other != digest(files=files, root="m:M")


def test_branches_of_an_import_are_told_apart(digest: Callable[..., str]) -> None:
    files = {
        "m.py": """
            try:
                from fast import f
            except ImportError:
                from slow import f
            class M:
                x = f()
            """,
        "fast.py": "def f():\n    return 1\n",
        "slow.py": "def f():\n    return 2\n",
    }
    before = digest(files=files, root="m:M")
    assert digest(("slow.py", "2", "3"), files=files, root="m:M") != before
    swapped = (("m.py", "fast", "?"), ("m.py", "slow", "fast"), ("m.py", "?", "slow"))
    assert digest(*swapped, files=files, root="m:M") != before


def test_moving_and_renaming_packages_changes_nothing(digest: Callable[..., str]) -> None:
    """An evaluator in one file, in a package, and in a package of another name."""
    flat = {
        "eva/__init__.py": "",
        "eva/score.py": """
            from eva import score_rules as rules
            from eva.score_rules import LIMIT
            class Score:
                def score(self, x):
                    return rules.judge(x) if x < LIMIT else 0
            """,
        "eva/score_rules.py": "LIMIT = 4\ndef judge(x):\n    return x + OFFSET\nOFFSET = 1\n",
    }
    packed = {
        "eva/__init__.py": "",
        "eva/score/__init__.py": "from eva.score.metric import Score\n",
        "eva/score/metric.py": """
            from . import rules
            from .limits import LIMIT as limit
            class Score:
                def score(self, x):
                    return rules.judge(x) if x < limit else 0
            """,
        "eva/score/limits.py": "LIMIT = 4\n",
        "eva/score/rules.py": "OFFSET = 1\ndef judge(x):\n    return x + OFFSET\n",
    }
    renamed = {
        name.replace("eva/", "other/deeply/"): text.replace("eva.", "other.deeply.")
        for name, text in packed.items()
    }
    first = digest(files=flat, root="eva.score:Score")
    assert digest(files=packed, root="eva.score.metric:Score") == first
    assert digest(files=packed, root="eva.score:Score") == first
    assert digest(files=renamed, root="other.deeply.score.metric:Score") == first
    assert digest(("eva/score_rules.py", "= 1", "= 2"), files=flat, root="eva.score:Score") != first


LOOSE = {
    "m.py": "import helper\nclass M:\n    x = helper.f()\n",
    "helper.py": "K = 1\ndef f():\n    return K\ndef g():\n    return 2\n",
}


def test_a_helper_beside_a_loose_file_enters(digest: Callable[..., str]) -> None:
    before = digest(files=LOOSE, root="m:M")
    assert digest(("helper.py", "K = 1", "K = 2"), files=LOOSE, root="m:M") != before
    assert digest(("helper.py", "return 2", "return 3"), files=LOOSE, root="m:M") == before


@pytest.mark.parametrize(
    "body",
    [
        "import helper\nclass M:\n    x = getattr(helper, 'g')()\n",
        "from helper import *\nclass M:\n    x = g()\n",
        "import helper\nuse = helper\nclass M:\n    def f(self, name):\n"
        "        return use.__dict__[name]\n",
        "import importlib\nclass M:\n    x = importlib.import_module('helper').g()\n",
        "from importlib import import_module\nNAMES = ('helper',)\nclass M:\n"
        "    def f(self, n):\n        return import_module(n).g()\n",
        "from importlib import import_module\nclass M:\n    def f(self, n):\n"
        "        return import_module('help' + n).g()\n",
        "import sys, helper\nclass M:\n    def f(self):\n"
        "        return sys.modules['helper'].g()\n",
        "import helper as h\nclass M:\n    def f(self, n):\n        return eval(n)\n",
        "class M:\n    from helper import g\n    def f(self):\n        return self.g()\n",
        "def load():\n    global g\n    from helper import g\n"
        "class M:\n    def f(self):\n        return g()\n",
        "from bench.api.registry import import_target\nclass M:\n"
        "    rule = 'helper:g'\n    def f(self):\n        return import_target(self.rule)()\n",
        "from pathlib import Path\nimport runpy\nclass M:\n    def f(self):\n"
        "        return runpy.run_path(Path(__file__).with_name('helper.py'))['g']()\n",
    ],
)
def test_what_is_reached_by_a_computed_name_enters(body: str, digest: Callable[..., str]) -> None:
    files = {**LOOSE, "m.py": body}
    before = digest(files=files, root="m:M")
    assert digest(("helper.py", "return 2", "return 3"), files=files, root="m:M") != before


def test_a_name_that_a_function_sets_is_what_that_function_makes_of_it(
    digest: Callable[..., str],
) -> None:
    files = {
        "m.py": "K = None\ndef set_up():\n    global K\n    K = 1\nclass M:\n    x = lambda s: K\n"
    }
    edit = ("m.py", "K = 1", "K = 2")
    assert digest(edit, files=files, root="m:M") != digest(files=files, root="m:M")


def test_eval_and_globals_reach_the_whole_module(digest: Callable[..., str]) -> None:
    for body in ("eval(name)", "globals()[name]"):
        files = {"m.py": f"HIDDEN = 1\nclass M:\n    def f(self, name):\n        return {body}\n"}
        edit = ("m.py", "HIDDEN = 1", "HIDDEN = 2")
        assert digest(edit, files=files, root="m:M") != digest(files=files, root="m:M")


def test_subclasses_that_register_themselves_enter(digest: Callable[..., str]) -> None:
    base = {
        "registers": (
            "class Rule:\n    def __init_subclass__(cls):\n        ALL.append(cls)\nALL = []\n"
        ),
        "asked": "class Rule:\n    pass\ndef all_of():\n    return Rule.__subclasses__()\n",
    }
    use = {"registers": "ALL", "asked": "all_of()"}
    for kind, text in base.items():
        files = {
            "m.py": f"import more\nfrom rule import *\nclass M:\n    rules = {use[kind]}\n",
            "rule.py": text,
            "more.py": "from rule import Rule\nclass One(Rule):\n    value = 1\n",
        }
        edit = ("more.py", "value = 1", "value = 2")
        assert digest(edit, files=files, root="m:M") != digest(files=files, root="m:M"), kind


def test_docstrings_and_names_enter_where_the_code_asks_for_them(
    digest: Callable[..., str],
) -> None:
    files = {
        "m.py": 'class M:\n    """Say yes."""\n    def f(self):\n        return self.__doc__\n'
    }
    edit = ("m.py", "yes", "no")
    assert digest(edit, files=files, root="m:M") != digest(files=files, root="m:M")
    files = {"m.py": "class M:\n    def f(self):\n        return type(self).__name__\n"}
    edit = ("m.py", "class M", "class N")
    assert digest(edit, files=files, root="m:N") != digest(files=files, root="m:M")


@pytest.mark.parametrize(
    ("body", "file"),
    [
        ("RULES = Path(__file__).parent / 'rules.yaml'\n", "rules.yaml"),
        ("RULES = Path(__file__).with_name('rules.yaml')\n", "rules.yaml"),
        ("HERE = Path(__file__).parent\nRULES = HERE / 'data' / 'rules.yaml'\n", "data/rules.yaml"),
        ("RULES = Path(__file__).parent / f'{NAME}.yaml'\nNAME = 'rules'\n", "rules.yaml"),
        ("RULES = files('plug') / 'data'\n", "data/deep/rules.json"),
    ],
)
def test_files_that_the_code_names_enter(
    body: str, file: str, write: Callable[[Files], Path]
) -> None:
    text = (
        "from pathlib import Path\nfrom importlib.resources import files\n"
        f"{body}class M:\n    rules = RULES\n"
    )
    folder = write({"plug/__init__.py": "", "plug/m.py": text, f"plug/{file}": "a: 1\n"})
    before = meaning_of(("plug.m:M",)).sha256
    (folder / "plug" / "other.txt").write_text("nobody names it")
    assert meaning_of(("plug.m:M",)).sha256 == before
    (folder / "plug" / file).write_text("a: 2\n")
    assert meaning_of(("plug.m:M",)).sha256 != before


def test_circles_of_imports_and_of_calls_end(digest: Callable[..., str]) -> None:
    files = {
        "m.py": "from a import f\nclass M:\n    x = f\n",
        "a.py": "import b\nfrom b import g, lost\ndef f(x):\n    return b.g(x - 1) + lost\n",
        "b.py": "from a import f, lost\nimport a\ndef g(x):\n    return x and f(x) + 1\n",
    }
    before = digest(files=files, root="m:M")
    assert before == digest(files=files, root="m:M")
    assert digest(("b.py", "+ 1", "+ 2"), files=files, root="m:M") != before


def test_a_class_made_by_a_function_or_changed_where_it_is_named(
    write: Callable[[Files], Path],
) -> None:
    """The name it is asked for by is reached, not only where the class says it is from."""
    made = "from lib import make\nM = make(3)\n"
    lib = "def make(n):\n    class Made:\n        x = n\n    return Made\n"
    roots = ("lib:make.<locals>.Made", "m:M")
    write({"m.py": made, "lib.py": lib})
    before = meaning_of(roots).sha256
    write({"m.py": made.replace("3", "4"), "lib.py": lib})
    assert meaning_of(roots).sha256 != before
    for value in (1, 2):
        write({"m.py": f"from lib import M\nM.x = {value}\n", "lib.py": "class M:\n    x = 0\n"})
        before, other = meaning_of(("lib:M", "m:M")).sha256, before
        assert before != other


def test_nothing_is_run(write: Callable[[Files], Path]) -> None:
    write({"m.py": "import bad\nclass M:\n    x = bad.f()\n", "bad.py": "1 / 0\ndef f(): ...\n"})
    meaning_of(("m:M",))
    assert "m" not in sys.modules and "bad" not in sys.modules


def test_source_that_this_python_cannot_read_stands_for_its_bytes(
    digest: Callable[..., str],
) -> None:
    files = {"m.py": "import new\nclass M:\n    x = new.f()\n", "new.py": "def f(: 1\n"}
    assert digest(("new.py", "1", "2"), files=files, root="m:M") != digest(files=files, root="m:M")
