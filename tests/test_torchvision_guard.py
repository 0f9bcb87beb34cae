"""The guard: a torchvision whose native library does not load imports all the same.

The states are made with a stand-in package that does what the real one does at import (it
registers a shape function for torchvision::nms), beside a native library that loads or does not.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_STAND_IN = """\
import torch

@torch.library.register_fake("torchvision::nms")
def _nms(dets, scores, iou_threshold):
    return dets
"""
_REPORT = "import torch; from bench import torchvision_guard as guard; print(guard.state().name)"


def _python(code: str, *search: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parent.parent
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*search, root]))}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=variables, cwd=root
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(_STAND_IN)
    (package / "_C.so").write_bytes(b"not a shared library")
    return tmp_path


def test_importing_bench_imports_neither_torch_nor_torchvision() -> None:
    code = (
        "import sys, bench, importlib.util; importlib.util.find_spec('torchvision'); "
        "print(sorted({'torch', 'torchvision', 'numpy'} & set(sys.modules)))"
    )
    assert _python(code).stdout == "[]\n"


def test_without_the_guard_the_import_fails(stand_in: Path) -> None:
    done = _python("import torchvision", stand_in)
    assert done.returncode == 1
    assert "torchvision::nms does not exist" in done.stderr


def test_with_the_guard_the_import_works(stand_in: Path) -> None:
    done = _python(f"import bench, torchvision; {_REPORT}", stand_in)
    assert (done.stdout, done.returncode) == ("DECLARED\n", 0), done.stderr


def test_a_loadable_library_is_left_to_itself(stand_in: Path) -> None:
    import torch

    package = stand_in / "torchvision"
    (package / "__init__.py").write_text("")
    (package / "_C.so").unlink()
    (package / "_C.so").symlink_to(torch._C.__file__)
    code = (
        f"import bench, torchvision; {_REPORT}\n"
        "print(hasattr(torch.ops.torchvision, 'nms'), hasattr(torch.ops.torchvision, 'qnms'))"
    )
    done = _python(code, stand_in)
    assert done.stdout == "NATIVE\nFalse False\n", done.stderr


def test_too_late_is_said(stand_in: Path) -> None:
    (stand_in / "torchvision" / "__init__.py").write_text("")
    done = _python(f"import torchvision, bench; {_REPORT}", stand_in)
    assert done.stdout == "TOO_LATE\n", done.stderr


def test_the_installed_torchvision_and_what_looks_for_it_import() -> None:
    code = (
        "import bench, torchvision.transforms.v2, torchvision.models\n"
        "from transformers import CLIPTextModel\n"
        "import peft, open_clip, cleanfid.fid\n"
        f"{_REPORT}"
    )
    done = _python(code)
    assert done.stdout.strip() in ("NATIVE", "DECLARED"), done.stderr


def test_installing_twice_installs_one() -> None:
    from bench import torchvision_guard

    before = list(sys.meta_path)
    torchvision_guard.install()
    assert sys.meta_path == before
