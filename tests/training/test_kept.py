"""Which exports of a run stay on disk."""

import json
from pathlib import Path

import pytest

from bench.backbones.sd import StableDiffusionBackbone
from bench.training.kept import best_of, step_of
from tests.training.runs import assert_equal_tensors, exported, rows, run

OPTIONS = {"steps": 5, "save_every": 1, "ema_decay": 0.5, "keep_exports": "last-and-best"}


def lines(path: Path, losses: dict[int, float]) -> Path:
    path.write_text("".join(f"{json.dumps({'step': s, 'loss': v})}\n" for s, v in losses.items()))
    return path


def test_the_best_has_the_least_mean_loss_since_the_save_before(tmp_path: Path) -> None:
    # a line is the mean of the steps since the line before: step 3 stands for two
    metrics = lines(tmp_path / "m", {1: 0.1, 3: 0.7, 4: 0.3, 6: 0.6})
    assert best_of([3, 6], metrics) == 3  # (.1 + 2 * .7) / 3 = .5, (.3 + 2 * .6) / 3 = .5
    assert best_of([1, 6], metrics) == 1
    assert best_of([3, 4, 6], metrics) == 4
    assert step_of("step-00000040-ema") == 40


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("exports/*"))


def test_the_last_and_the_best_stay_also_after_an_interruption(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    whole = run(backbone, tmp_path / "whole", **OPTIONS)
    losses = {row["step"]: row["loss"] for row in rows(whole)}
    best = min(losses, key=lambda step: losses[int(step)])
    expected = sorted({int(best), 5})
    assert sorted(whole.exports) == expected
    assert names(whole.export.parents[1]) == [
        f"step-{step:08d}{end}" for step in expected for end in ("", "-ema")
    ]

    most = 0

    def stop(step: int, steps: int, row: object) -> None:
        nonlocal most
        most = max(most, len({step_of(name) for name in names(tmp_path / "parts")}))
        if step == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(backbone, tmp_path / "parts", options={"progress": stop}, **OPTIONS)
    assert most <= 3  # of five: those of the two checkpoints, and the best
    parts = run(backbone, tmp_path / "parts", **OPTIONS)
    assert names(tmp_path / "parts") == names(tmp_path / "whole")
    assert_equal_tensors(exported(whole), exported(parts))
    for step in expected:
        for name in (f"step-{step:08d}", f"step-{step:08d}-ema"):
            one, two = (tmp_path / run / "exports" / name for run in ("whole", "parts"))
            assert [f.read_bytes() for f in sorted(one.iterdir())] == [
                f.read_bytes() for f in sorted(two.iterdir())
            ]


def test_a_damaged_checkpoint_is_passed_over_with_the_exports_of_the_one_before(
    backbone: StableDiffusionBackbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(backbone, tmp_path / "whole", **OPTIONS)

    def stop(step: int, steps: int, row: object) -> None:
        if step == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(backbone, tmp_path / "parts", options={"progress": stop}, **OPTIONS)
    (tmp_path / "parts/checkpoints/step-00000004/trainable.safetensors").write_bytes(b"")
    parts = run(backbone, tmp_path / "parts", **OPTIONS)
    assert "going back to the one before" in caplog.text
    assert "its checkpoint is gone" not in caplog.text
    assert_equal_tensors(exported(whole), exported(parts))
    assert names(tmp_path / "parts") == names(tmp_path / "whole")
