"""Batch size, order, threads and worker processes change no score beyond float rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import Evaluator, ImageSet
from bench.api.errors import PrerequisiteError
from bench.api.registry import BACKENDS, EVALUATORS
from bench.check import regression
from bench.check.image_sets import protocol_of, read_set, set_names
from bench.check.regression import Rescorer
from bench.spec.profile import load_profile
from tests.precision import FORWARD

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "regression"
IMAGES = 24

IN_ORDER = ("inception-score",)
"""Its splits are, by definition, of the images in the suite's order."""

MEASURED = sorted(json.loads((COMMITTED / "scores.json").read_text())["evaluators"])
TINY = {name: role for role, name in load_profile("tiny").backends.items()}
"""A role of every back-end of the tiny profile."""


def test_all_tiny_back_ends_are_looked_at() -> None:
    named = {name for name in BACKENDS.names() if name.startswith("tiny-")}
    assert named <= set(TINY)


def asker(role: str) -> tuple[Evaluator, ImageSet]:
    """Return an evaluator that has the role, and some images it is measured on."""
    profile = load_profile("tiny")
    for name in EVALUATORS.names():
        evaluator = EVALUATORS.load(name)()
        if role not in evaluator.spec.backends:
            continue
        protocol = protocol_of(profile, name, evaluator)
        assert protocol is not None
        images = read_set(COMMITTED, set_names(protocol, evaluator)[0])
        wanted = [p for p in images.suite if evaluator.wants(role, p)]
        # the last ones as well: tags stand in order
        step = max(1, len(wanted) * images.images_per_prompt // IMAGES)
        prompts = tuple(wanted[::step])
        ids = {p.id for p in prompts}
        return evaluator, replace(
            images,
            suite=replace(images.suite, prompts=prompts),
            records=tuple(r for r in images.records if r.prompt_id in ids),
        )
    raise AssertionError(f"no evaluator has the role {role}")


def backwards(images: ImageSet) -> ImageSet:
    """Return the set with its prompts and its images in the opposite order."""
    prompts = tuple(reversed(images.suite.prompts))
    return replace(
        images,
        suite=replace(images.suite, prompts=prompts),
        records=tuple(reversed(images.records)),
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def predicted(
    name: str, images: ImageSet, queries: Mapping[str, Any], batch_size: int
) -> dict[tuple[str, int], Any]:
    """Return what a fresh back-end says of each image, whatever the order."""
    made = list(BACKENDS.load(name)().predict(images, queries, batch_size=batch_size))
    found = {(r["prompt_id"], r["ordinal"]): (r, dict(arrays)) for r, arrays in made}
    assert len(found) == len(made) == len(images.records)
    return found


def same(a: Any, b: Any, where: str) -> None:
    """Numbers within rounding, all else equal."""
    if isinstance(a, Mapping):
        assert set(a) == set(b), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            same(one, other, f"{where}[{i}]")
    elif isinstance(a, float | np.ndarray):
        np.testing.assert_allclose(
            np.asarray(b, dtype=np.float64), np.asarray(a, dtype=np.float64),
            rtol=FORWARD, atol=FORWARD, err_msg=where,
        )  # fmt: skip
    else:
        assert a == b, where


@pytest.mark.parametrize("name", sorted(TINY))
def test_no_back_end_depends_on_how_it_is_asked(name: str) -> None:
    role = TINY[name]
    evaluator, images = asker(role)
    queries = {p.id: texts for p in images.suite if (texts := list(evaluator.queries(role, p)))}
    try:
        expected = predicted(name, images, queries, 64)
    except PrerequisiteError as error:
        pytest.skip(str(error))
    ways = {
        "one at a time, backwards": (backwards(images), 1, 1),
        "five at a time, on two threads": (images, 5, 2),
    }
    for way, (given, batch_size, count) in ways.items():
        with threads(count):
            same(expected, predicted(name, given, queries, batch_size), f"{name}, {way}")


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_no_metric_depends_on_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile("tiny")
    try:
        expected = Rescorer(folder=COMMITTED, profile=profile).measure(name)["metrics"]
    except PrerequisiteError as error:
        pytest.skip(str(error))
    if name not in IN_ORDER:
        monkeypatch.setattr(regression, "read_set", lambda *given: backwards(read_set(*given)))
    other = Rescorer(folder=COMMITTED, profile=profile, batch_size=3).measure(name)["metrics"]
    assert set(other) == set(expected)
    for metric, values in expected.items():
        # intervals resample prompts, or leave out blocks of them, by their order
        assert other[metric]["value"] == pytest.approx(values["value"], rel=FORWARD, abs=FORWARD), (
            metric
        )
        assert other[metric]["n"] == values["n"]


@pytest.mark.slow
def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    """The same scores, byte for byte in the records, from one process and from two."""
    command = [sys.executable, "-m", "bench", "score"]
    found = []
    folder = COMMITTED / "sets" / "compbench-tiny-live-validation"
    lines = []
    prompts = {p.id: p for p in read_set(COMMITTED, folder.name).suite}
    for record in read_set(COMMITTED, folder.name).records:
        prompt = prompts[record.prompt_id]
        lines.append(
            json.dumps(
                {
                    "file": str(record.path),
                    "prompt": prompt.text,
                    "prompt_id": prompt.id,
                    "ordinal": record.ordinal,
                    "tag": prompt.tag,
                    "meta": dict(prompt.meta),
                }
            )
        )
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "images").symlink_to(folder / "images")
    (pictures / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        words = f"--images {pictures} --evaluator t2i-compbench --layout manifest --jobs {jobs}"
        done = subprocess.run(
            [*command, *words.split(), "--out", str(out), "--store", str(out / "store")],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append({f.name: f.read_bytes() for f in sorted(out.iterdir()) if f.is_file()})
    assert found[0] == found[1] and found[0]
