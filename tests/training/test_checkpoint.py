"""Checkpoints survive crashes, full disks and damage."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api.errors import StoreError
from bench.backbones.sd import StableDiffusionBackbone
from bench.training import atomic
from bench.training.atomic import JsonLines, atomic_folder
from bench.training.checkpoint import (
    differences,
    latest_checkpoint,
    pack_optimiser,
    save_checkpoint,
    unpack_optimiser,
)
from tests.training.nets import normal
from tests.training.runs import assert_equal_tensors, exported, run

OPTIONS: dict[str, Any] = {"steps": 4, "save_every": 2}


class Crash(BaseException):
    """Not an Exception: nothing in the program may tidy up after it."""


def save(root: Path, step: int, keep: int = 2) -> Path:
    return save_checkpoint(
        root,
        groups={"trainable": {"w": normal((3, 2), step)}},
        state={"step": step, "identity": {}},
        keep=keep,
    )


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Make the `number`-th fsync or rename from now on crash before it happens."""
    count = [0]

    def wrap(function: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                raise Crash
            return function(*args)

        return wrapped

    monkeypatch.setattr(atomic, "flush_to_disk", wrap(atomic.flush_to_disk))
    monkeypatch.setattr(atomic, "rename", wrap(atomic.rename))
    return count


def boundaries(tmp_path: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        count = crash_at(patch, -1)
        save(tmp_path / "count", 1)
    return count[0]


def test_a_crash_at_any_boundary_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    total = boundaries(tmp_path)
    assert total >= 6
    for number in range(1, total + 1):
        root = tmp_path / str(number)
        save(root, 1)
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, number)
            with pytest.raises(Crash):
                save(root, 2)
        latest = latest_checkpoint(root)
        assert latest is not None
        # only the very last flush comes after the rename that publishes
        assert latest.step == (2 if number == total else 1)
        assert torch.equal(latest.tensors("trainable")["w"], normal((3, 2), latest.step))
        save(root, 2)
        after = latest_checkpoint(root)
        assert after is not None and after.step == 2
        assert not list(root.glob(".tmp-*"))


def test_a_crash_while_an_export_is_replaced_leaves_one_of_the_two(tmp_path: Path) -> None:
    def write(text: str) -> None:
        with atomic_folder(tmp_path / "export") as folder:
            (folder / "file").write_text(text)

    write("old")
    number = 0
    while True:
        number += 1
        with pytest.MonkeyPatch.context() as patch:
            count = crash_at(patch, number)
            with contextlib.suppress(Crash):
                write("new")
            if count[0] < number:
                break
        target = tmp_path / "export" / "file"
        # between the two renames neither is there; the writer makes it again on resume
        if target.exists():
            assert target.read_text() in ("old", "new")
        write("old")
    assert number >= 5


def _train_until_killed(
    backbone: StableDiffusionBackbone, folder: Path, number: int
) -> None:  # pragma: no cover - runs in a child that is killed
    torch.set_num_threads(1)
    flush, count = atomic.flush_to_disk, [0]

    def deadly(path: Path) -> None:
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)

    atomic.flush_to_disk = deadly
    run(backbone, folder, **OPTIONS)
    os._exit(0)


@pytest.mark.parametrize("mode", ["export", "checkpoint"])
def test_kill_9_then_the_same_command_gives_the_same_bits(
    backbone: StableDiffusionBackbone, tmp_path: Path, mode: str
) -> None:
    straight = run(backbone, tmp_path / "straight", **OPTIONS)
    # flushes: run.json, then for step 2: 3 of the export, 4 and more of the checkpoint
    number = {"export": 3, "checkpoint": 14}[mode]
    process = multiprocessing.get_context("fork").Process(
        target=_train_until_killed, args=(backbone, tmp_path / "killed", number)
    )
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    before = latest_checkpoint(tmp_path / "killed" / "checkpoints")
    assert (before is None) if mode == "export" else (before is not None and before.step == 2)
    resumed = run(backbone, tmp_path / "killed", **OPTIONS)
    assert_equal_tensors(exported(straight), exported(resumed))
    losses = [
        [json.loads(line)["loss"] for line in result.metrics.read_text().splitlines()]
        for result in (straight, resumed)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert not list((tmp_path / "killed").rglob(".tmp-*"))


@pytest.mark.parametrize("damage", ["truncate", "edit", "remove", "manifest"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / ("manifest.json" if damage == "manifest" else "state.json")
    if damage == "remove":
        file.unlink()
    elif damage == "edit":
        file.write_text(file.read_text().replace('"step": 2', '"step": 3'))
    else:
        file.write_bytes(file.read_bytes()[:-20])
    latest = latest_checkpoint(tmp_path)
    assert latest is not None and latest.step == 1
    assert "going back to the one before" in caplog.text


def test_a_lost_export_is_written_again(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    import shutil

    first = run(backbone, tmp_path)
    tensors = exported(first)
    shutil.rmtree(first.export)
    again = run(backbone, tmp_path)
    assert_equal_tensors(exported(again), tensors)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(path: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic, "flush_to_disk", fail)
    with pytest.raises(StoreError, match=os.strerror(code)):
        save(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_work_folder_beneath_a_file_is_refused(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        run(backbone, tmp_path / "file" / "run")


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 11):
        save(tmp_path, step, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010", "step-00000011"]


def test_lines_of_lost_steps_and_torn_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    lines = JsonLines(path, keep_until=2)
    lines.append({"step": 3, "again": True})
    lines.close()
    assert [json.loads(x) for x in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "again": True},
    ]


def test_differences_name_the_leaf() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "gone": 1}
    new = {"a": {"b": 2, "c": [1, 2]}, "new": None}
    assert differences(old, new) == ["a.b: 1 -> 2", "gone: 1 -> (absent)", "new: (absent) -> None"]


def test_optimiser_state_survives_the_round_trip() -> None:
    weights = [torch.nn.Parameter(normal((4, 3), 1)), torch.nn.Parameter(normal((2,), 2))]

    def step(optimiser: torch.optim.Optimizer, seed: int) -> None:
        for number, weight in enumerate(weights):
            weight.grad = normal(weight.shape, seed + number)
        optimiser.step()

    optimiser = torch.optim.AdamW(weights, lr=0.1)
    for seed in (3, 5):
        step(optimiser, seed)
    tensors, rest = pack_optimiser(optimiser, ["first", "second"])
    assert set(tensors) >= {"first/exp_avg", "second/exp_avg_sq", "first/step"}
    start = [w.detach().clone() for w in weights]
    tensors = {k: v.clone() for k, v in tensors.items()}
    step(optimiser, 7)
    expected = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for weight, value in zip(weights, start, strict=True):
            weight.copy_(value)
    fresh = torch.optim.AdamW(weights, lr=0.1)
    unpack_optimiser(fresh, ["first", "second"], tensors, rest)
    step(fresh, 7)
    for weight, value in zip(weights, expected, strict=True):
        assert torch.equal(weight.detach(), value)
