"""`bench assets fetch`: which repositories, which of their files, and what is said offline."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import PrerequisiteError
from bench.assets.hub import wanted_files
from bench.assets.weights import WeightsEntry
from bench.cli import main
from bench.steps.hub_models import HubModel
from bench.steps.prerequisites import Need, Needs
from tests.assets.server import Site, serve

ROOT = Path(__file__).parents[2]
NEEDED = {
    "CompVis/stable-diffusion-v1-4": "base checkpoint",
    "facebook/mask2former-swin-small-coco-instance": "detector of GE: geneval-hf",
    "openai/clip-vit-large-patch14": "detector of GE: geneval-hf",
    "google/owlv2-base-patch16-ensemble": "detector of CB: compbench-ovd",
    "google-bert/bert-base-uncased": "vqa of CB: blip-vqa",
    "openai/clip-vit-base-patch32": "clip of CB: clip",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("DDSPO_PAIR_PROMPTS", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


def test_all_that_a_table_needs_is_listed(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["assets", "fetch", "--table", "1a", "--profile", "paper", "--dry-run", "--json"]
    assert main(asked) == 0
    rows = json.loads(capsys.readouterr().out)

    def named(key: str) -> dict[str, str]:
        return {row[key]: row.get("for", "") for row in rows if key in row}

    assert named("repository") == NEEDED
    assert named("asset") == {
        "blip-vqa-original": "vqa of CB: blip-vqa",
        "fid-inception": "features of FID: fid-ddspo-30k",
    }
    assert list(named("suite")) == ["t2i-compbench", "coco-30k"]
    assert named("not here") == {
        "coco-val2014-ddspo-30k": "reference of FID",
        "DDSPO_PAIR_PROMPTS": "data set pairs",
    }
    assert not cache.exists()
    (cache / "references").mkdir(parents=True)
    (cache / "references" / "coco-val2014-ddspo-30k.safetensors").touch()
    monkeypatch.setenv("DDSPO_PAIR_PROMPTS", "prompts.txt")
    assert main(asked) == 0
    assert not [row for row in json.loads(capsys.readouterr().out) if "not here" in row]


def test_environments_and_data_sets_of_the_hub_are_told_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["assets", "fetch", "--table", "realalign-sd15-parti", "-n", "--json"]) == 0
    rows = {
        row["not here"]: row for row in json.loads(capsys.readouterr().out) if "not here" in row
    }
    assert rows["hpsv3"]["to provide it"] == "python -m bench assets build --env hpsv3"
    assert "pickapic_v2" in rows["yuvalkirstain/pickapic_v2"]["to provide it"]


def test_one_failure_does_not_keep_the_others_from_being_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table's suite, weights and repositories, of which one repository cannot be reached."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    entry = WeightsEntry(
        name="toy", licence="MIT", used_by=("a test",), gigabytes=0.1, url="", sha256=digest
    )
    needs = Needs(
        models=tuple(
            HubModel(repository=f"someone/{n}", revision=None, purpose="x") for n in ("a", "b")
        ),
        weights=(Need(name="toy", purpose="y"),),
        suites=(Need(name="geneval", purpose="z"),),
        by_hand=(),
    )

    def fetch(repository: str, revision: str | None) -> str:
        if repository == "someone/a":
            raise PrerequisiteError("cannot fetch 'someone/a'", fix="later")
        return f"/cache/{repository}"

    with serve(Site(files={"/toy.pth": content})) as site:
        entry = replace(entry, url=f"{site.url}/toy.pth")
        monkeypatch.setattr("bench.assets.weights.registry", lambda: {"toy": entry})
        monkeypatch.setattr("bench.harness.assets.needs_of", lambda *_: needs)
        monkeypatch.setattr("bench.assets.hub.fetch", fetch)
        assert main(["assets", "fetch", "--table", "1a"]) == 3
        assert "cannot fetch 'someone/a'" in capsys.readouterr().err
        assert (cache / "weights" / "toy.pth").read_bytes() == content
        monkeypatch.setattr("bench.assets.hub.fetch", lambda name, _: f"/cache/{name}")
        assert main(["assets", "fetch", "--table", "1a", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row.get("folder") for row in rows] == [
        None,
        None,
        "/cache/someone/a",
        "/cache/someone/b",
    ]


def test_the_tiny_profile_needs_nothing_of_the_hub(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", "fetch", "--table", "1a", "--profile", "tiny", "--dry-run"]) == 2
    assert "needs nothing of the hub" in capsys.readouterr().err
    assert main(["assets", "fetch"]) == 2
    assert main(["assets", "fetch", "--table", "1aa"]) == 2
    assert "'1a'" in capsys.readouterr().err


def offline(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command with another cache, and no network."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *argv],
        cwd=ROOT,
        env={**os.environ, "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_offline_with_an_empty_cache_names_the_commands(tmp_path: Path) -> None:
    done = offline(tmp_path, "assets", "fetch", "--table", "1a", "--profile", "paper", "--offline")
    assert done.returncode == 3, done.stderr
    for repository in NEEDED:
        assert f"cannot fetch '{repository}'" in done.stderr
        assert f"python -m bench assets fetch {repository}" in done.stderr


def test_files_of_a_pipeline() -> None:
    """The layout of SD-1.5's repository: variants, one-file checkpoints, a safety checker."""
    loaded = [
        "feature_extractor/preprocessor_config.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    others = [
        ".gitattributes",
        "README.md",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "v1-5-pruned.safetensors",
        "v1-5-pruned.ckpt",
    ]
    assert wanted_files([*others, *loaded]) == loaded


def test_files_of_a_network() -> None:
    shared = ["config.json", "merges.txt", "preprocessor_config.json", "vocab.json"]
    others = ["flax_model.msgpack", "tf_model.h5", "README.md"]
    with_both = [*shared, *others, "pytorch_model.bin", "model.safetensors"]
    assert wanted_files(with_both) == sorted([*shared, "model.safetensors"])
    without = [*shared, *others, "pytorch_model.bin"]
    assert wanted_files(without) == sorted([*shared, "pytorch_model.bin"])
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = "model.safetensors.index.json"
    assert wanted_files(["config.json", index, *shards]) == sorted(["config.json", index, *shards])


def test_files_in_parts_and_code_that_runs_in_a_worker() -> None:
    names = [
        "config.json",
        "modeling_x.py",
        "chat_template.jinja",
        "README.md",
        "training_args.bin",
    ]
    parts = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    index = "pytorch_model.bin.index.json"
    without = sorted(["config.json", "chat_template.jinja", index, *parts])
    assert wanted_files([*names, index, *parts]) == without
    assert wanted_files([*names, index, *parts], code=True) == sorted([*without, "modeling_x.py"])
    with_both = wanted_files(["model.safetensors", *parts])
    assert with_both == ["model.safetensors"]


def test_files_of_a_reward_model() -> None:
    names = ["README.md", "ImageReward.pt", "med_config.json", "old/first.pt"]
    assert wanted_files(names) == ["ImageReward.pt", "med_config.json"]
    assert wanted_files(["aesthetic-model.pth"]) == ["aesthetic-model.pth"]
    assert wanted_files(["model.safetensors", "extra.pt"]) == ["model.safetensors"]
