import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from bench.api.errors import CorruptArtifactError, UsageError
from bench.harness.records import parquet_bytes
from bench.store import (
    Store,
    Work,
    ordered_safetensors,
    read_jsonl,
    read_parquet,
    read_safetensors,
    write_jsonl,
    write_safetensors,
)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    with Store(tmp_path).create("pairs", "p", {}) as made:
        made.write_bytes("something", b"1")
        yield made


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "latents": rng.standard_normal((3, 4, 2, 2)).astype(np.float16),
        "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "scalar": np.float32(2.5).reshape(()),
        "empty": np.zeros((0, 4), np.int64),
        "mask": np.array([True, False, True]),
    }


def test_safetensors_round_trip_through_both_readers(work: Work) -> None:
    path = write_safetensors(work, "t.safetensors", tensors(), {"b": "2", "a": "1"})
    for read in (read_safetensors(path), load_file(path)):
        assert sorted(read) == sorted(tensors())
        for name, expected in tensors().items():
            assert read[name].dtype == expected.dtype
            assert read[name].shape == expected.shape
            np.testing.assert_array_equal(read[name], expected)
    some = read_safetensors(path, ["mask"])
    assert list(some) == ["mask"]
    assert not some["mask"].flags.writeable
    assert isinstance(some["mask"].base, np.memmap)


def test_safetensors_bytes_do_not_depend_on_order_or_process(work: Work) -> None:
    metadata = {letter: "1" for letter in "qwertyuiop"}
    one = write_safetensors(work, "1", tensors(), metadata).read_bytes()
    shuffled = dict(reversed(tensors().items()))
    two = write_safetensors(work, "2", shuffled, dict(sorted(metadata.items()))).read_bytes()
    assert one == two
    code = """
import sys, numpy as np
from safetensors.numpy import save
from bench.store import ordered_safetensors
data = save({"a": np.arange(3)}, metadata={c: "é" for c in "qwertyuiop"})
sys.stdout.buffer.write(ordered_safetensors(data))
"""
    command = [sys.executable, "-c", code]
    runs = {subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)}
    assert len(runs) == 1
    path = work.write_bytes("3", runs.pop())
    np.testing.assert_array_equal(load_file(path)["a"], np.arange(3))
    without = save({"a": np.arange(3)})
    assert ordered_safetensors(without) == without


def test_damaged_safetensors_are_refused(work: Work) -> None:
    data = write_safetensors(work, "t", tensors()).read_bytes()
    for damaged in (data[:-1], data[:50], data[:4], data + b"x", b"\xff" * 40):
        path = work.write_bytes("damaged", damaged)
        with pytest.raises(CorruptArtifactError, match="no intact safetensors"):
            read_safetensors(path)
    with pytest.raises(UsageError, match="no tensor 'nothing'"):
        read_safetensors(work.path / "t", ["nothing"])


def test_jsonl_round_trip_and_damage(work: Work) -> None:
    rows = [{"b": 0.1, "a": "π\u2028"}, {"a": None, "n": [1, 2]}]
    path = write_jsonl(work, "r.jsonl", rows)
    assert read_jsonl(path) == rows
    assert path.read_bytes().startswith(b'{"a":')
    cut = work.write_bytes("cut.jsonl", path.read_bytes()[:-1])
    with pytest.raises(CorruptArtifactError, match="line 2"):
        read_jsonl(cut)
    with pytest.raises(UsageError, match="nan"):
        write_jsonl(work, "n.jsonl", [{"a": float("nan")}])


def test_parquet_round_trip_determinism_and_damage(work: Work) -> None:
    rows = [{"id": "a", "score": 0.5}, {"id": "b", "score": 0.25, "tag": "x"}]
    path = work.write_bytes("run=3/r.parquet", parquet_bytes(rows, {}))
    assert read_parquet(path) == [{**rows[0], "tag": None}, rows[1]]
    assert parquet_bytes(rows, {}) == path.read_bytes()
    cut = work.write_bytes("cut.parquet", path.read_bytes()[:-9])
    with pytest.raises(CorruptArtifactError, match="no intact Parquet"):
        read_parquet(cut)
