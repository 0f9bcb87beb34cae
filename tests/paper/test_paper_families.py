"""The paper path of the other backbones: real ids, a cache laid out by hand, no network.

    python -m bench run --table 1b-sdxl --profile paper --limit 6

pairs generated, a method trained with its published settings at a toy number of steps, images
sampled, GenEval measured. Table 1a on SD-1.4 is in `test_paper_profile`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from bench.store import Store
from tests.paper.hub_cache import add_repository
from tests.paper.place import Place, make_place
from tests.tiny_families import HUB_IDS, side, write_checkpoint

FAMILIES = {
    "sdxl": ("1b-sdxl", "ddspo", ()),
    "sd3": (
        "1a",
        "diffusion-dpo",
        ("training.published=sd-3.5-m", f"checkpoint.location={HUB_IDS['sd3']}"),
    ),
    "sana": (
        "1a",
        "ddspo",
        ("training.published=sana-600m", f"checkpoint.location={HUB_IDS['sana']}"),
    ),
}
"""Table, method, and what is set to take another model than the table's."""

LORA = {"sd3": 32, "sana": 512}
"""Published ranks."""


def calm(folder: Path) -> Path:
    """Let untrained weights end in latents of the scale that training expects, and return it.

    They hardly predict anything, and a schedule for the noise adds hardly any.
    """
    for file in folder.glob("*/diffusion_pytorch_model.safetensors"):
        if file.parent.name in ("unet", "transformer"):
            weights = load_file(file)
            last = {
                k: v * 0.05 for k, v in weights.items() if k.startswith(("proj_out", "conv_out"))
            }
            assert last
            save_file({**weights, **last}, file, metadata={"format": "pt"})
    config = folder / "scheduler" / "scheduler_config.json"
    data = json.loads(config.read_text())
    if data["_class_name"] == "EulerDiscreteScheduler":
        config.write_text(json.dumps({**data, "beta_start": 1e-4, "beta_end": 5e-4}))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(*(tmp_path_factory.mktemp(n) for n in ("home", "repositories", "work")))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_s_table_runs_under_its_real_id(family: str, place: Place, tmp_path: Path) -> None:
    table, method, changes = FAMILIES[family]
    folder = calm(write_checkpoint(family, tmp_path / family))
    add_repository(place.home, HUB_IDS[family], folder)
    pixels = side(family)
    sampling = {"steps": 2, "height": pixels, "width": pixels, "dtype": "float32"}
    settings = {
        **{f"pairs.generation.{key}": value for key, value in sampling.items()},
        **{f"generation.{key}": value for key, value in sampling.items()},
        **({} if family == "sdxl" else {"pairs.generation.scheduler": "default"}),
        "training.common.steps": 2,
        "training.common.batch": 2,
        "training.common.micro_batch": 1,
        "training.common.warmup_steps": 0,
        "training.common.precision": "no",
        "training.common.save_every": 1,
        f"training.methods.{method}.train.lr": 0.02,  # far too much: two steps move every pixel
        "device": "cpu",
    }
    given = [*changes, *(f"{key}={value}" for key, value in settings.items())]
    done = place.bench(
        *("run", "--table", table, "--profile", "paper", "--limit", "6", "--jobs", "1", "--json"),
        *("--cols", "GE", "--rows", f"base,{method}", "--store", str(tmp_path / "store")),
        *(word for change in given for word in ("--set", change)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["profile"]["checkpoint"] == HUB_IDS[family]
    assert [(c["row"], c["state"]) for c in found["cells"]] == [
        ("base", "measured"),
        (method, "measured"),
    ]
    store = Store(tmp_path / "store")
    (trained,) = [store.get(f"train/{path.name}") for path in (store.root / "train").iterdir()]
    config = trained.manifest["config"]
    assert (config["mode"], config.get("lora_rank")) == (
        ("lora", LORA[family]) if family in LORA else ("full", config.get("lora_rank"))
    )
    images = [path for path in (store.root / "images").iterdir() if path.is_dir()]
    hashes = [sorted(f.read_bytes() for f in path.rglob("*.png")) for path in images]
    assert len(hashes) == 2 and hashes[0] and hashes[0] != hashes[1]
