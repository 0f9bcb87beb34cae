"""Checkpoints by name: what they hash to and what is loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from bench.api import CorruptArtifactError, PrerequisiteError, UsageError
from bench.backbones.base import Backbone
from bench.generation import weights
from bench.generation.checkpoint import CheckpointRef, export_folder, load_pipeline_backbone
from bench.generation.weights import content_hash, loaded_files
from bench.store import Store, file_hash, remembered
from bench.training.export import POLICY, export_lora, export_network
from evaluators.models import hub
from tests.precision import FORWARD

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def copy(ref: CheckpointRef, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ref.location, tmp_path / "copy"))


def at(folder: Path) -> CheckpointRef:
    return CheckpointRef(kind="path", location=str(folder))


def test_a_checkpoint_is_its_contents(ref: CheckpointRef, copy: Path, store: Store) -> None:
    same = ref.identity(store)
    assert at(copy).identity(store) == same
    for name in ("README.md", ".cache/x.json", "safety_checker/model.safetensors", "a.ckpt"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("other")
    (copy / "unet/diffusion_pytorch_model.fp16.safetensors").write_text("a variant")
    assert at(copy).identity(store) == same
    config = copy / "unet/config.json"
    config.write_text(config.read_text() + " ")
    assert at(copy).identity(store) != same


def test_one_changed_bit_of_the_weights_is_another_checkpoint(
    ref: CheckpointRef, copy: Path, store: Store
) -> None:
    file = copy / "vae/diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert at(copy).identity(store) != ref.identity(store)


def test_large_files_are_hashed_once(
    copy: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_REMEMBERED_BYTES", 0)
    first = content_hash(copy, store)
    hashed: list[Path] = []

    def spy(path: Path) -> str:
        hashed.append(path)
        return file_hash(path)

    monkeypatch.setattr(remembered, "file_hash", spy)
    assert content_hash(copy, store) == first
    assert hashed == []
    file = copy / "unet/config.json"
    file.write_text(file.read_text() + "\n")
    assert content_hash(copy, store) != first
    assert hashed == [file.resolve()]
    assert content_hash(copy) == content_hash(copy, store)  # with no memory at all


def negate(file: Path) -> None:
    """Change the last tensor's bytes in place; size and time of modification stay."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[-1] ^= 0x80
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_weights_changed_in_place_are_seen_though_size_and_time_are_put_back(
    copy: Path, store: Store
) -> None:
    file = copy / "unet/diffusion_pytorch_model.safetensors"
    large = shutil.copyfile(file, copy / "unet/diffusion_pytorch_model-2.safetensors")
    with large.open("ab") as end:
        end.write(bytes(weights._REMEMBERED_BYTES))
    first = content_hash(copy, store)
    assert str(large) in (store.root / ".cache/file-hashes.json").read_text()
    for changed in (large, file):
        negate(changed)
        second = content_hash(copy, store)
        assert second != first
        first = second


def test_a_linked_part_is_hashed_as_one_that_lies_there(
    ref: CheckpointRef, copy: Path, tmp_path: Path, store: Store
) -> None:
    (copy / "unet").rename(tmp_path / "elsewhere")
    with pytest.raises(PrerequisiteError, match="nothing can be hashed in unet"):
        at(copy).identity(store)
    (copy / "unet").symlink_to(tmp_path / "elsewhere")
    assert at(copy).identity(store) == ref.identity(store)
    negate(tmp_path / "elsewhere/diffusion_pytorch_model.safetensors")
    assert at(copy).identity(store) != ref.identity(store)
    (copy / "vae/again").symlink_to(copy)
    with pytest.raises(PrerequisiteError, match="links to a folder that it lies in"):
        at(copy).identity(store)


def test_a_link_is_believed_in_the_cache_of_the_hub_alone(
    ref: CheckpointRef, copy: Path, tmp_path: Path, store: Store
) -> None:
    file = copy / "unet/diffusion_pytorch_model.safetensors"
    blob = file.rename(tmp_path / file_hash(file))
    file.symlink_to(blob)
    assert at(copy).identity(store) == ref.identity(store)
    negate(blob)
    assert at(copy).identity(store) != ref.identity(store)


def test_shards_are_hashed_whatever_their_index_calls_them(copy: Path) -> None:
    shard = copy / "unet/part.1.safetensors"
    shutil.copyfile(copy / "unet/diffusion_pytorch_model.safetensors", shard)
    assert shard not in loaded_files(copy)
    index = copy / "unet/diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_out.weight": shard.name}}))
    assert shard in loaded_files(copy)


def sharded(copy: Path, name: str, part: str = "unet", *, config: bool = False) -> Path:
    """Put the weights of a part into a file that nothing but an index (a configuration) names."""
    folder = copy / part
    (one,) = folder.glob("*.safetensors")
    shard = folder / name
    shard.parent.mkdir(exist_ok=True)
    if config:
        file, words = folder / "config.json", {"transformers_weights": name}
        file.write_text(json.dumps({**json.loads(file.read_text()), **words}))
    else:
        names = dict.fromkeys(load_file(one), name)
        index = {"metadata": {"total_size": one.stat().st_size}, "weight_map": names}
        (folder / f"{one.name}.index.json").write_text(json.dumps(index))
    return one.rename(shard)


@pytest.mark.parametrize(
    ("name", "part", "config"),
    [
        (".hidden.safetensors", "unet", False),
        ("a.b.safetensors", "unet", False),
        (".more/hidden.safetensors", "text_encoder", False),
        (".hidden.safetensors", "text_encoder", True),
    ],
)
def test_weights_that_are_named_are_hashed_and_loaded(
    copy: Path, store: Store, name: str, part: str, config: bool
) -> None:
    shard = sharded(copy, name, part, config=config)
    first = at(copy).identity(store)
    load_pipeline_backbone(at(copy), store, device="cpu")
    negate(shard)
    assert at(copy).identity(store) != first


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_pickled_shard_is_refused_by_the_hash_and_by_the_loader(
    copy: Path, store: Store, part: str
) -> None:
    sharded(copy, "shard.pt", part)
    with pytest.raises(PrerequisiteError, match=r"names 'shard\.pt'.* no \.safetensors file"):
        at(copy).identity(store)
    with pytest.raises(PrerequisiteError, match=r"names 'shard\.pt'"):
        load_pipeline_backbone(at(copy), store, device="cpu")


def test_named_weights_lie_below_the_file_that_names_them(copy: Path, store: Store) -> None:
    sharded(copy, "../../weights.safetensors", "text_encoder")
    with pytest.raises(PrerequisiteError, match="lies outside its folder"):
        at(copy).identity(store)


def test_a_configuration_may_name_no_pickle(copy: Path, store: Store) -> None:
    sharded(copy, "adapter_model.bin", "text_encoder", config=True)
    with pytest.raises(PrerequisiteError, match=r"'adapter_model\.bin'"):
        at(copy).identity(store)


def test_a_part_with_an_adapter_is_refused_by_the_hash_and_by_the_loader(
    copy: Path, tmp_path: Path, store: Store
) -> None:
    # transformers loads it from the base that is named, wherever that lies
    shutil.copytree(copy, tmp_path / "elsewhere")
    told = {"base_model_name_or_path": str(tmp_path / "elsewhere"), "peft_type": "LORA", "r": 1}
    (copy / "text_encoder/adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(PrerequisiteError, match=r"adapter_config\.json makes .* from elsewhere"):
        at(copy).identity(store)
    with pytest.raises(PrerequisiteError, match="from elsewhere"):
        load_pipeline_backbone(at(copy), store, device="cpu")


@pytest.mark.parametrize("key", ["vocab", "merges"])
def test_a_tokenizer_that_names_its_vocabulary_is_refused(
    copy: Path, tmp_path: Path, store: Store, key: str
) -> None:
    file = copy / "tokenizer/tokenizer_config.json"
    told = {**json.loads(file.read_text()), key: str(tmp_path / "elsewhere.json")}
    file.write_text(json.dumps(told))
    with pytest.raises(PrerequisiteError, match=rf"elsewhere\.json' as {key}"):
        at(copy).identity(store)
    with pytest.raises(PrerequisiteError, match=rf"elsewhere\.json' as {key}"):
        load_pipeline_backbone(at(copy), store, device="cpu")
    file.write_text(json.dumps({**told, key: None}))  # as older programs wrote it
    at(copy).identity(store)


def test_the_configuration_of_a_lora_file_is_hashed_with_it(
    ref: CheckpointRef, copy: Path, tmp_path: Path, store: Store
) -> None:
    lora = tmp_path / "lora"
    lora.mkdir()
    (unet,) = (copy / "unet").glob("*.safetensors")
    name = next(key for key in load_file(unet) if key.endswith("to_q.weight"))
    width, inputs = load_file(unet)[name].shape
    module = f"base_model.model.{name.removesuffix('.weight')}"
    halves = {
        f"{module}.lora_A.weight": torch.ones(2, inputs),
        f"{module}.lora_B.weight": torch.ones(width, 2),
    }
    file, config = lora / "adapter_model.safetensors", lora / "adapter_config.json"
    save_file(halves, file)
    found = []
    for alpha in (2, 16):
        config.write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": alpha}))
        named = CheckpointRef(kind="path", location=str(file), base=ref)
        found.append(named.identity(store))
    assert found[0] != found[1]


def test_a_chat_template_is_part_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    template = tmp_path / "chat_template.jinja"
    found = []
    for text in ("{{ a }}", "{{ b }}"):
        template.write_text(text)
        found.append((content_hash(tmp_path), hub.content_hash(tmp_path)))
    assert all(one != other for one, other in zip(*found, strict=True))


def test_shards_and_templates_of_a_back_end_are_hashed_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "more/a.safetensors"}}))
    found = {hub.content_hash(tmp_path)}
    for name in ("more/a.safetensors", "additional_chat_templates/tools.jinja"):
        (tmp_path / name).parent.mkdir()
        for content in (b"1", b"2"):
            (tmp_path / name).write_bytes(content)
            found.add(hub.content_hash(tmp_path))
    assert len(found) == 5
    index.write_text(json.dumps({"weight_map": {"a": "a.pt"}}))
    with pytest.raises(PrerequisiteError, match=r"'a\.pt'"):
        hub.content_hash(tmp_path)


def test_missing_checkpoints_say_what_to_do(tmp_path: Path, store: Store) -> None:
    with pytest.raises(PrerequisiteError, match="holds no checkpoint"):
        at(tmp_path / "nothing").identity(store)
    with pytest.raises(UsageError, match="unknown asset 'tiny-sdd'"):
        CheckpointRef(kind="shipped", location="tiny-sdd").identity(store)


def hub_cache(root: Path, source: Path) -> Path:
    """Lay a folder out as the Hugging Face cache does and return its snapshot."""
    repository = root / "models--some--model"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    for file in loaded_files(source):
        name = file.relative_to(source)
        digest = file_hash(file)
        blob = repository / "blobs" / (digest if name.suffix == ".safetensors" else digest[:40])
        shutil.copyfile(file, blob)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    return snapshot


def test_a_hub_checkpoint_is_its_commit_and_contents(
    ref: CheckpointRef, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    hub = CheckpointRef(kind="hub", location="some/model")
    with pytest.raises(PrerequisiteError, match="bench assets fetch some/model "):
        hub.identity(store)
    snapshot = hub_cache(tmp_path / "hub", Path(ref.location))
    expected = {"hub": "some/model", "revision": COMMIT, **ref.identity(store)}
    assert hub.identity(store) == expected
    assert CheckpointRef.parse(f"some/model@{COMMIT}").identity(store) == expected
    with pytest.raises(PrerequisiteError, match=r"--revision other"):
        CheckpointRef.parse("some/model@other").identity(store)
    shutil.rmtree(snapshot / "vae")
    with pytest.raises(PrerequisiteError, match="without its vae"):
        hub.identity(store)


@pytest.mark.parametrize(
    ("text", "kind", "location", "label"),
    [
        ("tiny-sd", "shipped", "tiny-sd", "tiny-sd"),
        ("./some/folder", "path", "some/folder", "folder"),
        ("/abs/olute/", "path", "/abs/olute", "olute"),
        ("CompVis/stable-diffusion-v1-4", "hub", "CompVis/stable-diffusion-v1-4", None),
        ("train/ddspo.t0-0123456789ab", "train", "train/ddspo.t0-0123456789ab", "ddspo.t0"),
    ],
)
def test_what_a_user_types(text: str, kind: str, location: str, label: str | None) -> None:
    found = CheckpointRef.parse(text)
    assert (found.kind, Path(found.location)) == (kind, Path(location))
    assert found.label == (label or "stable-diffusion-v1-4")
    assert CheckpointRef.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_references_are_checked() -> None:
    for wrong in ("a/b/c", "a b/c", "a/b@"):
        with pytest.raises(UsageError, match="names no checkpoint"):
            CheckpointRef.parse(wrong)
    with pytest.raises(UsageError, match=r"unknown kind of checkpoint 'hubb'.*'hub'"):
        CheckpointRef(kind="hubb", location="x")
    with pytest.raises(UsageError, match="kind 'path' has no step"):
        CheckpointRef(kind="path", location="x", step=3)
    with pytest.raises(UsageError, match=r"unknown key 'stepp'.*'step'"):
        CheckpointRef.from_json({"kind": "train", "location": "x", "stepp": 3})
    nested = CheckpointRef(kind="train", location="t", step=2, base=CheckpointRef.parse("tiny-sd"))
    assert CheckpointRef.from_json(nested.to_json()) == nested
    assert nested.identity() == {"train": "t", "step": 2}


def trained(store: Store, backbone: Any, ref: CheckpointRef, mode: str) -> CheckpointRef:
    """Publish a train artifact with exports of steps 1 and 2, and return its name."""
    with store.create("train", f"toy-{mode}", {"mode": mode}) as work:
        for step in (1, 2):
            folder = work.path / "exports" / f"step-{step:08d}"
            network = load_pipeline_backbone(ref, store, device="cpu").denoiser
            if mode == "lora":
                network.add_adapter(  # type: ignore[operator]
                    LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False),
                    POLICY,
                )
                export_lora(network, folder)
                continue
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(1 + step)
            export_network(network, folder)
    (artifact,) = store.artifacts("train")
    return CheckpointRef(kind="train", location=artifact.id, base=ref)


def test_a_trained_network_takes_the_bases_place(
    backbone: Backbone, ref: CheckpointRef, store: Store
) -> None:
    run = trained(store, backbone, ref, "full")
    base = backbone.denoiser.state_dict()
    for step in (1, 2):
        chosen = CheckpointRef(kind="train", location=run.location, base=ref, step=step)
        loaded = load_pipeline_backbone(chosen, store, device="cpu")
        for name, tensor in loaded.denoiser.state_dict().items():
            assert torch.equal(tensor, base[name] * (1 + step))
        assert not any(p.requires_grad for p in loaded.denoiser.parameters())
    last = load_pipeline_backbone(run, store, device="cpu").denoiser.state_dict()
    assert torch.equal(last["conv_in.weight"], base["conv_in.weight"] * 3)
    alone = CheckpointRef(kind="train", location=run.location)
    with pytest.raises(UsageError, match="name the checkpoint it started from"):
        load_pipeline_backbone(alone, store)
    known = replace(alone, base=ref)
    assert load_pipeline_backbone(known, store, device="cpu").family == "sd"
    with pytest.raises(UsageError, match=r"no export of step 7; there are: \[1, 2\]"):
        export_folder(store.get(run.location), 7)


def test_an_adapter_is_attached_and_active(
    backbone: Backbone, ref: CheckpointRef, store: Store
) -> None:
    run = trained(store, backbone, ref, "lora")
    loaded = load_pipeline_backbone(run, store, device="cpu")
    x, t = torch.ones(1, 4, 8, 8), torch.tensor([5])
    condition = backbone.encode_prompts(["a red circle"])
    plain = backbone.predict(backbone.denoiser, x, t, condition)
    assert not torch.allclose(loaded.predict(loaded.denoiser, x, t, condition), plain, atol=1e-4)
    loaded.denoiser.disable_adapters()  # type: ignore[operator]
    # the copy's weights may lie at other addresses, where a kernel adds in another order
    assert torch.allclose(loaded.predict(loaded.denoiser, x, t, condition), plain, atol=FORWARD)


def test_a_damaged_export_is_refused(backbone: Backbone, ref: CheckpointRef, store: Store) -> None:
    run = trained(store, backbone, ref, "lora")
    (file,) = (store.root / run.location).glob("exports/step-00000002/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptArtifactError, match="step-00000002"):
        load_pipeline_backbone(run, store)


def test_a_file_that_the_training_did_not_make_is_no_part_of_its_export(
    backbone: Backbone, ref: CheckpointRef, store: Store, tmp_path: Path
) -> None:
    run = trained(store, backbone, ref, "full")
    folder = export_folder(store.get(run.location))
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(CorruptArtifactError, match=f"none of its files.*\n.*rm {index}"):
        load_pipeline_backbone(run, store, device="cpu")
    command = ["doctor", "--verify", "--store", str(store.root), "--results", str(tmp_path / "no")]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == CorruptArtifactError.exit_code
    assert f"to mend it: rm {index}" in done.stdout
    index.unlink()
    load_pipeline_backbone(run, store, device="cpu")


def test_a_moving_average_is_preferred(store: Store) -> None:
    with store.create("train", "t", {}) as work:
        for name in ("step-00000001", "step-00000002", "step-00000002-ema"):
            work.write_json(f"exports/{name}/config.json", {})
    artifact = next(store.artifacts("train"))
    assert export_folder(artifact).name == "step-00000002-ema"
    assert export_folder(artifact, 1).name == "step-00000001"


def test_planning_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "import bench.generation.checkpoint, bench.generation.image_set, bench.data.spec\n"
        "import bench.generation.generate, bench.generation.encode, bench.tiny.truth\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
