"""What a plug-in does that the harness imports is seen, in whatever way it does it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from bench.api import observed
from bench.api.loading import import_target

NAME = "observed_under_test"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with data, on the path plug-ins are imported from."""
    (tmp_path / "plug").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scale.yaml").write_text("scale: 1")
    (tmp_path / "data" / "config.py").write_text("SCALE = 1")
    monkeypatch.syspath_prepend(tmp_path / "plug")
    monkeypatch.setenv("OBSERVED_UNDER_TEST", "1")
    monkeypatch.setattr(observed, "SEEN", observed.Observed())
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop(NAME, None)


def imported(place: Path, text: str) -> observed.Observed:
    """Import a plug-in of this text as the harness does, and return what was seen."""
    (place / "plug" / f"{NAME}.py").write_text(f"{text}\nclass Own:\n    pass\n")
    importlib.invalidate_caches()
    import_target(f"{NAME}:Own")
    return observed.SEEN


WAYS = {
    "itself": "from pathlib import Path; Path('data/scale.yaml').read_text()",
    "in a thread": "import threading\nfrom pathlib import Path\n"
    "t = threading.Thread(target=lambda: Path('data/scale.yaml').read_text())\nt.start(); t.join()",
    "in a thread where nothing of it is on the stack": "import concurrent.futures\n"
    "from pathlib import Path\nwith concurrent.futures.ThreadPoolExecutor(1) as pool:\n"
    "    pool.submit(Path('data/scale.yaml').read_text).result()",
    "by a reader of the harness": "from pathlib import Path\n"
    "from bench.config.files import load_yaml\nload_yaml(Path('data/scale.yaml'))",
    "by another library": "import yaml\nwith open('data/scale.yaml') as f: yaml.safe_load(f)",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_seen(place: Path, way: str) -> None:
    seen = imported(place, WAYS[way])
    file = str(place / "data" / "scale.yaml")
    assert file in seen.files and seen.relative[file] == str(place)


def test_source_that_lies_elsewhere_is_seen(place: Path) -> None:
    text = (
        "import importlib.util\nfrom pathlib import Path\n"
        "spec = importlib.util.spec_from_file_location('c', Path.cwd() / 'data' / 'config.py')\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)"
    )
    assert str(place / "data" / "config.py") in imported(place, text).files


@pytest.mark.parametrize(
    "text",
    [
        "import os; VALUE = os.environ['OBSERVED_UNDER_TEST']",
        "import os; VALUE = os.getenv('OBSERVED_UNDER_TEST')",
        "import os; VALUE = os.environb[b'OBSERVED_UNDER_TEST'].decode()",
        "import os; VALUE = os.path.expandvars('$OBSERVED_UNDER_TEST')",
        "import os; VALUE = dict(os.environ)['OBSERVED_UNDER_TEST']",
    ],
)
def test_a_variable_is_seen_and_read_as_it_is(place: Path, text: str) -> None:
    seen = imported(place, text)
    assert sys.modules[NAME].VALUE == "1"
    assert seen.variables["OBSERVED_UNDER_TEST"] == "1"


def test_what_a_library_takes_away_and_puts_back_is_what_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(place, "")
    observed._set("OBSERVED_UNDER_TEST", None, _frame_of_ours())
    assert observed.variable("OBSERVED_UNDER_TEST") == "1"
    monkeypatch.delenv("OBSERVED_UNDER_TEST")
    assert observed.variable("OBSERVED_UNDER_TEST") == "1"
    observed._set("OBSERVED_UNDER_TEST", "1", _frame_of_ours())
    assert "OBSERVED_UNDER_TEST" not in observed._BEFORE


def _frame_of_ours() -> FrameType:
    """A frame as of a library that the harness called."""
    made: list[FrameType] = []
    code = compile("made.append(frame())", str(Path(observed.__file__)), "exec")
    exec(code, {"made": made, "frame": lambda: sys._getframe(1)})
    return made[0]


def test_what_it_sets_or_writes_itself_comes_from_nowhere_else(place: Path) -> None:
    text = (
        "import os\nfrom pathlib import Path\n"
        "os.environ['OBSERVED_UNDER_TEST'] = '2'; os.environ['OBSERVED_UNDER_TEST']\n"
        "Path('data/made').write_text('1'); Path('data/made').read_text()"
    )
    seen = imported(place, text)
    observed._SET.discard("OBSERVED_UNDER_TEST")
    assert "OBSERVED_UNDER_TEST" not in seen.variables
    assert not seen.files


def test_what_the_script_reads_that_calls_the_harness_is_not_the_plug_ins(place: Path) -> None:
    seen = imported(place, "def read():\n    return open('data/scale.yaml').read()")
    assert sys.modules[NAME].read() == "scale: 1"
    assert not seen.files and os.environ["OBSERVED_UNDER_TEST"] not in seen.variables
