"""What was damaged inside an unfinished training is written again, and never sealed into it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api.errors import StoreError, UsageError
from bench.api.method import Batch
from bench.backbones.sd import StableDiffusionBackbone
from bench.cli import main
from bench.store import Store
from bench.training.session import Session
from bench.training.source import PairSource, pairs_sha256, source_identity
from tests.steps.toys import save_checkpoint, write_profile
from tests.training.nets import tiny_pairs
from tests.training.runs import run

TIMED = ("samples_per_second", "peak_memory_mb")
OPTIONS: dict[str, Any] = {"steps": 5, "save_every": 1}


class StoppedError(Exception):
    pass


def stopped_after(folder: Path, backbone: StableDiffusionBackbone, step: int, **more: Any) -> None:
    """Train until the metrics of one step more are written."""

    def stop(done: int, _total: int, _row: Any) -> None:
        if done > step:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(backbone, folder, options={"progress": stop}, **OPTIONS, **more)


def files(folder: Path) -> dict[str, bytes]:
    """Everything a finished run hands on, but for how long its steps took."""
    found = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.glob("exports/**/*.*")
    }
    metrics = (folder / "metrics.jsonl").read_text().splitlines()
    lines = [{**json.loads(line), **dict.fromkeys(TIMED)} for line in metrics]
    return {**found, "metrics": repr(lines).encode()}


def flip(path: Path) -> None:
    """Change a byte, keeping size and time: only a hash tells."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(("step", "ema"), [(1, None), (2, 0.5), (3, None)])
def test_a_damaged_export_is_written_again_and_nothing_else(
    backbone: StableDiffusionBackbone,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    step: int,
    ema: float | None,
) -> None:
    more = {"ema_decay": ema, "keep_checkpoints": 2}
    whole = run(backbone, tmp_path / "whole", **OPTIONS, **more)
    folder = tmp_path / "broken"
    stopped_after(folder, backbone, 3, **more)
    kept = sorted(p.name for p in (folder / "checkpoints").iterdir())
    assert kept == ["step-00000002", "step-00000003"]
    name = f"step-{step:08d}" + ("" if ema is None else "-ema")
    (victim,) = (folder / "exports" / name).glob("*.safetensors")
    flip(victim)
    done: list[int] = []
    with caplog.at_level(logging.WARNING):
        options = {"progress": lambda n, _t, _r: done.append(n)}
        resumed = run(backbone, folder, options=options, **OPTIONS, **more)
    said = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
    assert files(folder).keys() == files(tmp_path / "whole").keys()
    assert files(folder) == files(tmp_path / "whole")
    assert resumed.steps == whole.steps == 5
    if step == 1:  # its checkpoint is gone: all is done again, which is said
        assert "going back to before it" in said[0] and done == [1, 2, 3, 4, 5]
    else:
        assert len(said) == 1 and str(folder / "exports" / name) in said[0]
        assert done == [4, 5]


def test_damaged_metrics_are_put_back(
    backbone: StableDiffusionBackbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(backbone, tmp_path / "whole", **OPTIONS)
    folder = tmp_path / "broken"
    stopped_after(folder, backbone, 3)
    metrics = folder / "metrics.jsonl"
    text = metrics.read_text()
    metrics.write_text(text.replace('"step": 2', '"step": 1', 1))
    run(backbone, folder, **OPTIONS)
    assert [r for r in caplog.records if f"{metrics} was damaged" in r.getMessage()]
    assert files(folder) == files(tmp_path / "whole")


def test_an_export_damaged_within_the_same_attempt_is_not_handed_on(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    def damage(done: int, _total: int, _row: Any) -> None:
        if done == 5:
            flip(tmp_path / "exports" / "step-00000004" / "diffusion_pytorch_model.safetensors")

    with pytest.raises(StoreError, match="run the same command again, which writes it again"):
        run(backbone, tmp_path, options={"progress": damage}, **OPTIONS)
    run(backbone, tmp_path, **OPTIONS)
    run(backbone, tmp_path.with_name("whole"), **OPTIONS)
    assert files(tmp_path) == files(tmp_path.with_name("whole"))


class Plain:
    """A source of the user's own that says nothing of what it holds."""

    def __init__(self, pairs: PairSource) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Any, device: torch.device) -> Batch:
        return self.pairs.batch(indices, device)


@pytest.mark.parametrize(
    ("wrap", "part"),
    [(list, "winner"), (list, "degraded"), (Plain, "loser"), (Plain, "condition")],
)
def test_a_run_does_not_go_on_with_changed_pairs(
    backbone: StableDiffusionBackbone, tmp_path: Path, part: str, wrap: Any
) -> None:
    pairs = tiny_pairs()
    wrap = (lambda same: same) if wrap is list else wrap
    stopped_after(tmp_path, backbone, 2, pairs=wrap(pairs))
    changed: Any = getattr(pairs, part)
    if isinstance(changed, dict):
        changed = {k: v.clone() for k, v in changed.items()}
        next(iter(changed.values()))[-1, 0] += 1e-3
    else:
        changed = changed.clone()
        changed[-1, 0, 0, 0] += 1e-3
    other = replace(pairs, **{part: changed})
    with pytest.raises(UsageError, match="belongs to another run; what differs") as caught:
        run(backbone, tmp_path, pairs=wrap(other), **OPTIONS)
    assert "pairs.identity" in str(caught.value)
    with pytest.raises(UsageError, match=r"training\.lr"):
        run(backbone, tmp_path, pairs=wrap(pairs), lr=1e-4, **OPTIONS)
    run(backbone, tmp_path, pairs=wrap(tiny_pairs()), **OPTIONS)  # equal pairs, another object


def test_the_hash_of_a_source_is_over_all_its_pairs() -> None:
    pairs = tiny_pairs()
    assert pairs_sha256(Plain(pairs)) == pairs_sha256(Plain(tiny_pairs()))
    assert source_identity(Plain(pairs)) == {"pairs_sha256": pairs_sha256(pairs)}
    assert source_identity(pairs) == pairs.identity


def test_a_killed_training_with_a_damaged_export_ends_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the command line: killed in step 3, the export of step 2 damaged, resumed."""
    profile = write_profile(tmp_path, save_checkpoint(tmp_path / "checkpoint"))

    def command(store: str) -> list[str]:
        words = ["train", "ddspo", "--profile", str(profile), "--store", str(tmp_path / store)]
        return [*words, "--jobs", "1", "--set", "training.common.keep_exports=all"]

    assert main(command("whole")) == 0
    export = Session._export

    def deadly(session: Session) -> None:
        if session.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        export(session)

    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(Session, "_export", deadly)
        main(command("broken"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    (work,) = (tmp_path / "broken" / "train").glob("*.partial")
    flip(work / "exports" / "step-00000002" / "diffusion_pytorch_model.safetensors")
    capsys.readouterr()
    assert main(command("broken")) == 0
    assert capsys.readouterr().err.count("damaged since it was written; it is written again") == 1
    (whole,), (broken,) = (
        list(Store(tmp_path / name).artifacts("train")) for name in ("whole", "broken")
    )
    hashes = [
        {n: e["sha256"] for n, e in a.manifest["files"].items() if n.startswith("exports/")}
        for a in (whole, broken)
    ]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 6
    shutil.rmtree(tmp_path / "whole")
