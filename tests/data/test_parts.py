"""Joining parts into one file."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bench.api import BenchError
from bench.data.parts import join_parts, read_part
from bench.store import Order, Work, write_safetensors
from bench.store.writer import DISK


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "w.partial", Order(kind="pairs", name="n", identity={}), DISK)


def parts(work: Work, arrays: dict[str, np.ndarray], cuts: list[int]) -> list[Path]:
    found = []
    for number, (low, high) in enumerate(pairwise(cuts)):
        some = {name: array[low:high] for name, array in arrays.items()}
        found.append(write_safetensors(work, f"parts/{number}.safetensors", some))
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_join_is_the_whole(work: Work, dtype: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "winner": rng.normal(size=(7, 3, 5)).astype(dtype),
        "a": rng.normal(size=(7, 2)).astype("float32"),
    }
    joined = join_parts(work, "all.safetensors", parts(work, arrays, [0, 3, 6, 7]))
    found = load_file(joined)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    otherwise = join_parts(work, "otherwise.safetensors", parts(work, arrays, [0, 7]))
    assert otherwise.read_bytes() == joined.read_bytes()
    assert not list(work.path.glob("*.writing"))


def test_parts_that_do_not_fit_are_refused(work: Work) -> None:
    first = write_safetensors(work, "0.safetensors", {"a": np.zeros((2, 3), np.float32)})
    second = write_safetensors(work, "1.safetensors", {"a": np.zeros((2, 4), np.float32)})
    with pytest.raises(BenchError, match=r"1\.safetensors holds other tensors"):
        join_parts(work, "all.safetensors", [first, second])


def test_only_whole_parts_count(work: Work) -> None:
    path = write_safetensors(work, "0.safetensors", {"a": np.ones((2, 3), np.float32)})
    assert read_part(path, 2) is not None
    assert read_part(path, 3) is None
    assert read_part(work.path / "none.safetensors", 2) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert read_part(path, 2) is None
    path.write_bytes(b"")
    assert read_part(path, 2) is None


_FEW_FILES = """
    import json, resource, sys
    from pathlib import Path
    import numpy as np
    from safetensors.numpy import save_file
    from bench.data.parts import join_parts
    from bench.store import Order, Work, read_safetensors
    from bench.store.writer import DISK

    work = Work(Path(sys.argv[1]), Order(kind="pairs", name="n", identity={}), DISK)
    (work.path / "parts").mkdir()
    parts = []
    for number in range(2_000):
        part = work.path / f"parts/{number}.safetensors"
        rows = np.arange(4 * number, 4 * number + 4, dtype=np.float32)
        side = np.broadcast_to(rows[:, None, None, None], (4, 4, 2, 2))
        save_file({"winner": side.copy(), "loser": -side}, part)
        parts.append(part)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    joined = read_safetensors(join_parts(work, "latents.safetensors", parts))
    print(json.dumps({
        "shapes": {key: array.shape for key, array in joined.items()},
        "mapped": all(not array.flags.owndata for array in joined.values()),
        "right": bool(
            (joined["winner"][:, 3, 1, 1] == np.arange(8_000)).all()
            and (joined["loser"][:, 0, 0, 0] == -np.arange(8_000)).all()
        ),
    }))
"""


def test_thousands_of_parts_are_joined_with_few_open_files(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FEW_FILES), str(tmp_path / "w.partial")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    shape = [8_000, 4, 2, 2]
    expected = {"shapes": {"loser": shape, "winner": shape}, "mapped": True, "right": True}
    assert json.loads(found.stdout) == expected
