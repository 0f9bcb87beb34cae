import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import UsageError
from bench.executors.plan import make_plan
from bench.spec.methods import training_plan
from bench.spec.profile import load_profile, profile_names
from bench.spec.request import make_request
from bench.steps.cells import TableGraph, build_graph
from bench.steps.images import ImageStep
from bench.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def graph(profile: Path | str, store: Store, **options: Any) -> TableGraph:
    return build_graph(make_request("1a", str(profile), **options), store)


def kinds(found: TableGraph) -> dict[str, int]:
    count: dict[str, int] = {}
    for node in found.graph:
        count[node.kind] = count.get(node.kind, 0) + 1
    return count


def test_what_cells_share_is_made_once(pure_profile: Path, store: Store) -> None:
    found = graph(pure_profile, store)
    assert len(found.cells) == 12  # three rows, four columns
    # FID and IS share images and features; both methods share the pairs; all share the reference
    assert kinds(found) == {
        "pairs": 1,
        "train": 2,
        "images": 3 * 3 + 1,
        "predictions": 3 * (1 + 3 + 1) + 1,
        "scores": 12,
    }


def test_control_rows_share_what_they_can(pure_profile: Path, store: Store) -> None:
    found = graph(pure_profile, store, controls=True, columns=["GE"])
    assert kinds(found) == {"pairs": 1, "train": 7, "images": 11, "predictions": 11, "scores": 11}
    again = graph(pure_profile, store, rows=["base", "base-again"], columns=["GE"])
    images = [node for node in again.graph if node.kind == "images"]
    assert {node.identity["seed"] for node in images} == {0, 9001}


def test_training_seeds_multiply_the_trained_rows_only(pure_profile: Path, store: Store) -> None:
    found = graph(pure_profile, store, seeds=[2, 0, 1], columns=["GE"])
    assert [(c.row, c.training_seed) for c in found.cells] == [
        ("base", None),
        *(("diffusion-dpo", seed) for seed in (0, 1, 2)),
        *(("ddspo", seed) for seed in (0, 1, 2)),
    ]
    assert kinds(found)["train"] == 6


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("training.methods.ddspo.train.lr=2e-3", {"train": 1, "images": 1}),
        ("training.common.lr=2e-3", {"train": 2, "images": 2}),
        ("training.common.micro_batch=2", {}),
        ("batch_sizes.generation=2", {}),
        ("generation.steps=3", {"images": 3}),
        ("pairs.seed=1", {"pairs": 1, "train": 2, "images": 2}),
        ("sampling_seed=7", {"images": 3}),
        ("speed.pair_seconds=9", {}),
    ],
)
def test_exactly_what_depends_on_a_setting_gets_another_identity(
    pure_profile: Path, store: Store, override: str, changed: dict[str, int]
) -> None:
    before = {node.id for node in graph(pure_profile, store, columns=["GE"]).graph}
    after = graph(pure_profile, store, columns=["GE"], overrides=[override])
    fresh: dict[str, int] = {}
    for node in after.graph:
        if node.id not in before:
            fresh[node.kind] = fresh.get(node.kind, 0) + 1
    downstream = {"predictions": changed["images"], "scores": changed["images"]} if changed else {}
    assert fresh == {**changed, **downstream}


def test_other_weights_are_another_checkpoint(pure_profile: Path, store: Store) -> None:
    before = {node.id for node in graph(pure_profile, store, columns=["GE"]).graph}
    (pure_profile.parent / "checkpoint" / "weights.safetensors").write_bytes(b"others")
    after = {node.id for node in graph(pure_profile, store, columns=["GE"]).graph}
    assert not before & after


def test_limit_is_stratified_and_monotone(pure_profile: Path, store: Store) -> None:
    def prompts(limit: int) -> dict[str, str]:
        found = graph(pure_profile, store, rows=["base"], columns=["GE"], limit=limit)
        (images,) = [node for node in found.graph if node.kind == "images"]
        assert isinstance(images, ImageStep)
        return {p.id: p.tag for p in images.suite}

    few, more = prompts(6), prompts(9)
    assert len(set(few.values())) == 6
    assert few.items() <= more.items()
    assert len(more) == 9


def test_the_reference_is_not_cut_by_the_limit(pure_profile: Path, store: Store) -> None:
    whole = graph(pure_profile, store, rows=["base"], columns=["FID"])
    cut = graph(pure_profile, store, rows=["base"], columns=["FID"], limit=4)
    assert whole.cells[0].protocol["reference"] == cut.cells[0].protocol["reference"]


def test_a_role_without_back_end_is_not_applicable(pure_profile: Path, store: Store) -> None:
    text = pure_profile.read_text().replace('  vqa: "tests.steps.toys:ToyVQA"\n', "")
    pure_profile.write_text(text)
    found = graph(pure_profile, store)
    reasons = {c.column: c.reason for c in found.cells}
    assert "no back-end for the role 'vqa'" in reasons["CB"]
    assert reasons["GE"] == ""
    assert not any("compbench" in node.name for node in found.graph)


def test_rows_that_need_a_renderer_are_not_applicable_without_one(
    pure_profile: Path, store: Store
) -> None:
    pure_profile.write_text(pure_profile.read_text().replace("renderer: bench.tiny.truth\n", ""))
    found = graph(pure_profile, store, rows=["base", "ceiling"])
    reasons = {(c.row, c.column): c.reason for c in found.cells}
    assert "no renderer" in reasons["ceiling", "GE"]
    assert "no renderer" in reasons["base", "FID"]
    assert reasons["base", "IS"] == ""


def test_a_missing_checkpoint_can_be_planned_and_names_the_command(
    pure_profile: Path, store: Store
) -> None:
    text = pure_profile.read_text()
    start = text.index("checkpoint: {kind: path")
    line = text[start : text.index("\n", start)]
    pure_profile.write_text(
        text.replace(line, "checkpoint: {kind: hub, location: nobody/has-this}")
    )
    found = graph(pure_profile, store)
    assert "nobody/has-this" in found.missing[0].fix
    plan = make_plan(found, store)
    assert plan.missing and plan.to_do


def test_paper_profile_says_what_it_lacks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DDSPO_PAIR_PROMPTS", raising=False)
    found = graph("paper", store)
    reasons = {c.column: c.reason for c in found.cells}
    assert reasons["GE"] == ""
    assert "assets fetch t2i-compbench" in reasons["CB"]
    assert "assets fetch coco-30k" in reasons["FID"]
    lacking = {"DDSPO_PAIR_PROMPTS", "stable-diffusion-v1-4", "mask2former-swin-small"}
    assert len(found.missing) == len(lacking)
    assert all(any(name in str(error) for error in found.missing) for name in lacking)


def test_unknown_names_are_usage_errors_with_the_nearest(pure_profile: Path) -> None:
    wrong: Sequence[tuple[dict[str, Any], str]] = (
        ({"rows": ["bas"]}, "'base'"),
        ({"columns": ["GQ"]}, "'GE'"),
        ({"methods": ["dspo"]}, "'ddspo'"),
        ({"overrides": ["traning.common.lr=1"]}, "'training'"),
        ({"overrides": ["training.methods.ddspo.method.kapa=1"]}, "'kappa'"),
        ({"overrides": ["training.common.stepz=1"]}, "'steps'"),
        ({"overrides": ["generation.step=1"]}, "'steps'"),
        ({"overrides": ["device=gpu"]}, "unknown device"),
        ({"protocol": "mikro"}, "'micro'"),
        ({"seeds": [-1]}, "from 0"),
        ({"limit": 0}, "at least 1"),
    )
    for options, message in wrong:
        with pytest.raises(UsageError, match=message):
            build_graph(
                make_request("1a", str(pure_profile), **options), Store(pure_profile.parent / "s")
            )
    with pytest.raises(UsageError, match="'tiny'"):
        load_profile("tinny")


@pytest.mark.parametrize("name", profile_names())
def test_shipped_profiles_are_read(name: str) -> None:
    profile = load_profile(name)
    assert profile.title
    assert profile.orientation == name.startswith("tiny")


def test_paper_settings_are_the_authors() -> None:
    """Effective learning rate times beta is 0.08192 in all of the authors' runs."""
    paper = load_profile("paper")
    for name, beta, lr in (("ddspo", 16000, 5.12e-6), ("diffusion-dpo", 8000, 1.024e-5)):
        (stage,) = training_plan(paper, name, 0).stages
        assert stage.method.config()["kappa"] == beta / 2
        assert stage.train.lr == pytest.approx(lr)
        assert beta * stage.train.lr == pytest.approx(0.08192)
        assert stage.train.batch == 2048
        assert stage.train.warmup_steps == stage.train.steps == 100


def test_an_empty_prompt_file_is_refused(tmp_path: Path) -> None:
    from bench.spec.protocol import SuiteSpec, load_suite

    (tmp_path / "none.txt").write_text("\n\n")
    spec = SuiteSpec(
        function="bench.suites.files:captions", options={"file": str(tmp_path / "none.txt")}
    )
    with pytest.raises(UsageError, match="holds no prompt"):
        load_suite(spec, None)


def test_planning_imports_no_torch(pure_profile: Path, tmp_path: Path) -> None:
    arguments = ["plan", "--table", "1a", "--profile", str(pure_profile)]
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"code = main({[*arguments, '--store', str(tmp_path / 's'), '-q']!r})\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\nsys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_plan_says_what_is_stale_and_why(pure_profile: Path, store: Store) -> None:
    found = graph(pure_profile, store, rows=["base"], columns=["GE"])
    for node in found.graph:  # stand-ins: a plan looks at identities and manifests only
        store.build(
            node.kind, node.name, node.identity, lambda work: work.write_json("x.json", {"a": 1})
        )
    assert not make_plan(found, store).to_do
    after = graph(
        pure_profile, store, rows=["base"], columns=["GE"], overrides=["generation.steps=3"]
    )
    plan = make_plan(after, store)
    images = next(step for step in plan.steps if step.id.startswith("images/"))
    assert images.state == "stale"
    assert "spec.steps: 2 -> 3" in images.reason
    scores = next(step for step in plan.steps if step.id.startswith("scores/"))
    assert scores.state == "stale" and "images" in scores.reason
    assert plan.seconds(jobs=2) > 0 and plan.bytes > 0
