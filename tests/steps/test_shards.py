"""Steps cut into parts: several workers leave the bytes that one leaves, killed or not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.environment import visible_gpus
from bench.executors.local import run_graph
from bench.executors.outcome import Event, Failure, Outcome
from bench.executors.plan import Plan
from bench.executors.plan import Step as PlannedStep
from bench.executors.shards import CutGraph, cut_graph
from bench.executors.worker import make_step
from bench.harness.work import Work
from bench.spec.profile import Profile
from bench.steps.graph import Graph
from bench.steps.images import RenderStep
from bench.steps.predictions import PredictionStep, open_predictions
from bench.steps.step import Runtime, Step
from bench.store import Store
from bench.tiny import truth
from bench.tiny.suites import geneval_tiny
from tests.steps.campaign import content_of
from tests.steps.micro import forked, table_arguments
from tests.steps.toynodes import graph_of, node
from tests.steps.toys import save_checkpoint, write_profile

# what takes long is cut where there are two workers: by the estimates, which are raised here
LONG = ("--set", "speed.image_step_seconds=50")
PART = ("--rows", "base,ddspo", "--cols", "GE", "--trust", *LONG)
CUT = ("--jobs", "2")
Bytes = dict[str, bytes]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    checkpoint = save_checkpoint(folder / "checkpoint")
    return write_profile(folder, checkpoint, **{"toys:pair_prompts": "toys:many_pair_prompts"})


@pytest.fixture(scope="module")
def at_once(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bytes:
    """What one worker leaves, which cuts nothing."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert main(table_arguments(profile, store, *PART, "-q")) == 0
    return content_of(store)


def test_two_workers_leave_the_bytes_of_one(
    profile: Path, at_once: Bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(table_arguments(profile, tmp_path / "store", *PART, *CUT)) == 0
    said = capsys.readouterr().err
    assert said.count("preference pairs, part") == 2
    assert said.count("geneval-tiny-validation") >= 4 and said.count(", part 2 of 2") == 3
    assert content_of(tmp_path / "store") == at_once
    assert not list((tmp_path / "store").glob("*/*.part-*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("jobs", ["2", pytest.param("1", marks=pytest.mark.slow)])
def test_what_finished_parts_hold_is_taken_after_a_kill(
    profile: Path, at_once: Bytes, tmp_path: Path, jobs: str
) -> None:
    store = tmp_path / "store"
    pid = forked(table_arguments(profile, store, *PART, *CUT, "-q"), tmp_path / "log")
    finished: list[Path] = []
    until = time.monotonic() + 120
    while not finished and time.monotonic() < until:
        finished = list(store.glob("pairs/*.part-*/manifest.json"))
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert finished, (tmp_path / "log").read_text()
    assert main(table_arguments(profile, store, *PART, *CUT, "--jobs", jobs, "-q")) == 0
    assert content_of(store) == at_once
    assert not list(store.glob("*/*.part-*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_two_runs_on_one_store_share_the_parts(
    profile: Path, at_once: Bytes, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    asked = table_arguments(profile, store, *PART, *CUT, "-q")
    runs = [forked([*asked, "--output", str(tmp_path / f"{n}")], tmp_path / "log") for n in "ab"]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in runs]
    assert codes == [0, 0], (tmp_path / "log").read_text()
    found = {n: data for n, data in content_of(store).items() if not n.startswith("tables")}
    assert found == {n: data for n, data in at_once.items() if not n.startswith("tables")}
    assert not list(store.glob("*/*.part-*"))


def test_a_part_of_what_is_there_is_not_made(tmp_path: Path) -> None:
    graph, targets = seen_by_all(1.0)
    runtime = Runtime(device="cpu", prediction_batch=4)
    store = Store(tmp_path)
    whole = graph[targets[0]]
    assert isinstance(whole, PredictionStep)
    (first, _), joined = whole.cut(2)
    run_graph(graph, [graph[first.upstream["images"]].id], store, jobs=1, runtime=runtime)
    make_step(first, store, runtime)
    assert (tmp_path / first.id).is_dir() and not first.is_joined(store)
    make_step(joined, store, runtime)  # the other part is not there: made at once
    assert first.is_joined(store) and not joined.is_joined(store)
    assert not (tmp_path / first.id).exists()
    make_step(first, store, runtime)
    assert not (tmp_path / first.id).exists()


@pytest.mark.parametrize(("first_size", "size"), [(4, 6), (6, 4)])
def test_parts_that_were_cut_at_other_places_are_not_joined(
    tmp_path: Path, first_size: int, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    # killed for want of memory, and begun again with smaller batches
    graph, targets = seen_by_all(1.0)
    store, runtime = Store(tmp_path), Runtime(device="cpu", prediction_batch=size)
    whole = graph[targets[0]]
    assert isinstance(whole, PredictionStep)
    (first, second), joined = whole.cut(2)
    run_graph(graph, [graph[first.upstream["images"]].id], store, jobs=1, runtime=runtime)
    make_step(first, store, Runtime(device="cpu", prediction_batch=first_size))
    make_step(second, store, runtime)
    make_step(joined, store, runtime)
    assert "cut at other places" in caplog.text
    records = open_predictions(store.get(whole.id)).records
    assert len({(r["prompt_id"], r["ordinal"]) for r in records}) == len(records) == whole.images


BACKENDS = (
    "evaluators.models.tiny_detector:TinyDetector",
    "evaluators.models.texture:LaplacianVariance",
    "evaluators.models.clip_features:TinyClipFeatures",  # leaves arrays
    "evaluators.models.tiny_features:TinyFeatures",  # never cut
)


def seen_by_all(seconds: float) -> tuple[Graph, list[str]]:
    suite = geneval_tiny("validation").limited(15)
    options = {"seed": 0, "quality": "clean", "through_vae": None}
    images = RenderStep(
        name="renders",
        identity=truth.image_set_identity(Store(Path("none")), suite, 1, **options),
        renderer="bench.tiny.truth",
        suite=suite,
        images_per_prompt=1,
        noise_seed=0,
        quality="clean",
    )
    looks: list[Step] = [
        PredictionStep(
            name=f"look{number}",
            identity={"images": images.id, "backend": backend},
            upstream={"images": images.id},
            backend=backend,
            queries={},
            prompts=None,
            images=images.images,
            label=f"look {number}",
            seconds=seconds,
        )
        for number, backend in enumerate(BACKENDS)
    ]
    return graph_of(images, *looks), [look.id for look in looks]


def test_predictions_in_parts_are_those_of_the_whole(tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", prediction_batch=4)
    left, told = [], list[Event]()
    for name, seconds, jobs in (("one", 1.0, 1), ("two", 1000.0, 2)):
        store = Store(tmp_path / name)
        graph, targets = seen_by_all(seconds)
        outcome = run_graph(graph, targets, store, jobs=jobs, runtime=runtime, listener=told.append)
        assert outcome.failures == {}
        assert sorted(outcome.made) == sorted(step.id for step in graph)
        assert [a.upstream for a in store.artifacts("predictions")] == [
            {"images": next(iter(graph)).id} for _ in targets
        ]
        left.append(content_of(store.root))
    assert left[0] == left[1]
    parts = sorted(e.step.label for e in told if e.kind == "done" and ", part" in e.step.label)
    assert parts == [f"look {look}, part {part} of 2" for look in (0, 1, 2) for part in (1, 2)]


def test_only_what_is_long_is_cut_and_never_into_more_than_there_are_batches() -> None:
    runtime = Runtime(prediction_batch=4)
    for seconds, workers, parts in ((30.0, 2, 0), (1000.0, 1, 0), (1000.0, 2, 6), (1e6, 9, 12)):
        graph, _ = seen_by_all(seconds)
        needed = {step.id for step in graph}
        cut = cut_graph(graph, needed, workers=workers, runtime=runtime)
        assert len(cut.parts) == parts, (seconds, workers)
        assert [s.id for s in cut.graph if s.id not in cut.parts] == [s.id for s in graph]


def test_a_plan_counts_on_all_workers_for_what_can_be_cut() -> None:
    def planned(seconds: float, *, divisible: bool) -> PlannedStep:
        return PlannedStep(
            id="x", label="", state="missing", reason="", seconds=seconds, bytes=0,
            divisible=divisible,
        )  # fmt: skip

    images, training = planned(800.0, divisible=True), planned(100.0, divisible=False)
    assert Plan(steps=(images, training), missing=()).seconds(8) == pytest.approx(112.5)
    assert Plan(steps=(training,), missing=()).seconds(8) == 100.0
    assert Plan(steps=(images, training), missing=()).seconds(1) == 900.0


def test_a_part_that_fails_is_told_as_its_wholes_failure() -> None:
    def failure(cause: str, message: str) -> Failure:
        return Failure(message=message, exit_code=1, cause=cause)

    left = Outcome(
        made=["p0", "other"],
        failures={
            "p1": failure("p1", "no luck"),
            "whole": failure("p1", "not made, because a part failed"),
            "after": failure("p1", "not made, because a part failed"),
        },
    )
    found = CutGraph(graph=Graph(), parts={"p0": "whole", "p1": "whole"}).whole(left)
    assert found.made == ["other"]
    assert found.failures == {
        "whole": failure("whole", "no luck"),
        "after": failure("whole", "not made, because a part failed"),
    }
    assert found.dependents("whole") == 1


def test_each_worker_sees_one_gpu_of_its_own(tmp_path: Path) -> None:
    options = {"does": "sleep", "for": 1.5, "log": str(tmp_path / "log")}
    steps = [node(f"n{i}", variable="CUDA_VISIBLE_DEVICES", **options) for i in range(2)]
    graph = graph_of(*steps)
    run_graph(graph, [s.id for s in steps], Store(tmp_path), jobs=2, gpus=("3", "GPU-5"))
    seen = [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(seen) == ["3", "GPU-5"]


@pytest.mark.parametrize(
    ("visible", "names"),
    [("2,5, 7", ("2", "5", "7")), ("", ()), ("-1", ()), ("0,-1,1", ("0",))],
)
def test_the_gpus_are_those_that_are_visible(visible: str, names: tuple[str, ...]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": visible}) == names


def test_as_many_workers_as_gpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    profile = Profile.__new__(Profile)
    object.__setattr__(profile, "device", None)
    assert Work().job_count(profile) == 3
    assert Work(gpus=2).gpu_names(profile) == ("2", "5")
    assert Work(gpus=2).job_count(profile) == 2
    assert Work(gpus=2, jobs=4).job_count(profile) == 4
    assert Work(device="cpu").gpu_names(profile) == ()
    where = ["--store", str(tmp_path), "--device", "cpu", "--gpus", "1"]
    assert main(["plan", "--table", "1a", *where]) == 2
    assert "--gpus 1: the device is the CPU" in capsys.readouterr().err
