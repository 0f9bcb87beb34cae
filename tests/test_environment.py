"""How threads wait and what memory is kept: set on CPU, and only where the user set nothing."""

import subprocess
import sys

import pytest

from bench.environment import cuda_requested, keep_freed_memory, prefer_passive_waiting
from bench.executors import process


def test_sets_passive_waiting_where_nothing_is_set() -> None:
    variables = {"CUDA_VISIBLE_DEVICES": ""}
    assert prefer_passive_waiting(variables)
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_keeps_what_the_user_set(name: str) -> None:
    variables = {"CUDA_VISIBLE_DEVICES": "", name: "ACTIVE"}
    assert not prefer_passive_waiting(variables)
    assert variables == {"CUDA_VISIBLE_DEVICES": "", name: "ACTIVE"}


def test_leaves_a_gpu_machine_alone() -> None:
    variables = {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert not prefer_passive_waiting(variables)
    assert "OMP_WAIT_POLICY" not in variables


@pytest.mark.parametrize(("value", "wanted"), [("", False), ("-1", False), ("0", True)])
def test_visible_devices_decide(value: str, wanted: bool) -> None:
    assert cuda_requested({"CUDA_VISIBLE_DEVICES": value}) is wanted


def test_importing_bench_sets_it_in_a_fresh_process() -> None:
    code = "import os, bench; print(os.environ['OMP_WAIT_POLICY'])"
    variables = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}
    out = subprocess.run(
        [sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True
    )
    assert out.stdout == "PASSIVE\n"


def test_workers_keep_the_memory_they_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    found = process.worker_environment()
    assert found["MALLOC_MMAP_THRESHOLD_"] == found["MALLOC_TRIM_THRESHOLD_"] == str(1 << 28)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "MALLOC_MMAP_THRESHOLD_" not in process.worker_environment()


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD"])
def test_an_allocator_that_the_user_set_is_left_alone(name: str) -> None:
    variables = {"CUDA_VISIBLE_DEVICES": "", name: "1"}
    assert not keep_freed_memory(variables)
    assert variables == {"CUDA_VISIBLE_DEVICES": "", name: "1"}
