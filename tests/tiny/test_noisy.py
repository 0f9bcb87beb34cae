"""tiny-sd-noisy: its captions, what its training changes, resuming, and what its card says."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from bench.backbones import load_backbone
from bench.cli import main
from bench.tiny.assets import folder_sha256, path_of
from bench.tiny.build import noisy, recipe, shared
from bench.tiny.build.loop import LoopConfig, learning_rate
from bench.tiny.build.noised import noised_batch
from bench.tiny.build.scenes_cache import SceneSet, load_scenes
from bench.tiny.build.sd import sd_scheduler
from bench.tiny.grammar import with_wrong_word
from bench.tiny.scenes import training_scene
from tests.tiny.resuming import KilledError, kill_after, require_same
from tests.training.nets import normal

TEXT = "a blurred picture of two red circles left of a small blue square"


def _wrong(caption: str, text: str) -> int:
    """How many words differ."""
    pairs = zip(caption.split(" "), text.split(" "), strict=True)
    return sum(a != b for a, b in pairs)


def test_wrong_words_are_as_many_as_asked_for_and_each_is_another_place() -> None:
    for count in (1, 2, 7):
        for seed in range(200):
            assert _wrong(with_wrong_word(TEXT, np.random.default_rng(seed), count), TEXT) == count
    rng = np.random.default_rng(0)
    assert _wrong(with_wrong_word("a picture of a circle", rng, 2), "a picture of a circle") == 1
    sign = 'a sign reading "hlz" at night'
    assert with_wrong_word(sign, rng, 2) == sign


def test_captions_are_wrong_in_the_share_the_card_gives_and_of_their_own_by_scene_and_seed() -> (
    None
):
    count = 1500
    texts = [text for text in (training_scene(i, 0)[1] for i in range(count)) if "sign" not in text]
    found = Counter(_wrong(noisy.noisy_caption(t, i, 0), t) for i, t in enumerate(texts))
    share = noisy.WRONG_CAPTION_SHARE
    # texts of one content word cannot have two wrong ones
    assert found[0] / len(texts) == pytest.approx(1 - share, abs=0.03)
    assert 0.4 * share < found[2] / len(texts) < 0.53 * share
    assert set(found) == {0, 1, 2}
    assert noisy.noisy_caption(TEXT, 5, 0) == noisy.noisy_caption(TEXT, 5, 0)
    assert len({noisy.noisy_caption(TEXT, i, 0) for i in range(60)}) > 20
    assert len({noisy.noisy_caption(TEXT, 5, seed) for seed in range(60)}) > 20


def test_a_constant_rate_stays_after_the_warm_up() -> None:
    config = LoopConfig(steps=100, lr=1e-4, last_rate=1.0)
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[:5] == pytest.approx([2e-5, 4e-5, 6e-5, 8e-5, 1e-4])
    assert rates[5:] == pytest.approx([1e-4] * 95)
    falling = LoopConfig(steps=100, lr=1e-4)
    assert learning_rate(falling, 99) == pytest.approx(1e-6, rel=0.1)


def test_a_batch_is_noised_by_its_timestep_and_depends_on_the_generator_alone() -> None:
    latents = normal((50, 4, 2, 2), 3).numpy().astype(np.float16)
    scheduler = sd_scheduler()
    one, two = (
        noised_batch(latents, np.random.default_rng([9, 4]), 2000, scheduler) for _ in range(2)
    )
    assert torch.equal(one.noisy, two.noisy) and torch.equal(one.empty, two.empty)
    kept = scheduler.alphas_cumprod[one.t].view(-1, 1, 1, 1)
    clean = (one.noisy - (1 - kept).sqrt() * one.noise) / kept.sqrt()
    expected = torch.from_numpy(latents[one.picked]).float()
    torch.testing.assert_close(clean, expected, rtol=0, atol=1e-4)
    assert int(one.t.min()) < 10 and int(one.t.max()) > 990
    ids = torch.arange(50)[:, None].expand(50, 3)
    nothing = torch.tensor([-1, -1, -1])
    tokens = one.captions(ids, nothing)[:, 0]
    assert 0.07 < float((tokens == -1).float().mean()) < 0.13
    assert torch.equal(tokens[~one.empty], torch.from_numpy(one.picked)[~one.empty])
    weights = torch.zeros(1000)
    weights[one.t[0]] = 3.0
    share = float((one.t == one.t[0]).float().mean())
    assert float(one.loss(one.noise + 2.0, weights)) == pytest.approx(3 * 4 * share, rel=1e-4)


@pytest.fixture(scope="module")
def start() -> StableDiffusionPipeline:
    """The shipped tiny-sd."""
    return StableDiffusionPipeline.from_pretrained(
        path_of("tiny-sd"), dtype=torch.float32, safety_checker=None
    )


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneSet:
    """A few training scenes."""
    return load_scenes(tmp_path_factory.mktemp("scenes"), 40, 0)


def test_its_training_resumes_bit_exactly_and_leaves_the_base_as_it_is(
    start: StableDiffusionPipeline,
    scenes: SceneSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    latents = normal((40, 4, 8, 8), 1).numpy().astype(np.float16)
    monkeypatch.setattr(noisy, "BATCH", 4)
    before = {k: v.clone() for k, v in start.unet.state_dict().items()}

    def train(name: str, seed: int = 0) -> StableDiffusionPipeline:
        return noisy.train_noisy(
            scenes, latents, start, tmp_path / name, seed=seed, steps=3
        )[0]  # fmt: skip

    whole = train("whole")
    with monkeypatch.context() as patched:
        kill_after(patched, 2, noisy)
        with pytest.raises(KilledError):
            train("parts")
    parts, other = train("parts"), train("other", seed=1)
    for part in ("unet", "text_encoder"):
        require_same(getattr(whole, part), getattr(parts, part))
        for third in (start, other):
            with pytest.raises(AssertionError):
                require_same(getattr(whole, part), getattr(third, part))
    require_same(whole.vae, start.vae)
    assert all(torch.equal(before[k], v) for k, v in start.unet.state_dict().items())


def test_the_verb_makes_another_seed_of_the_shipped_base_and_says_so_in_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared, "SCENES", 40)
    monkeypatch.setattr(recipe, "train_noisy", functools.partial(noisy.train_noisy, steps=2))
    monkeypatch.setattr(noisy, "BATCH", 4)

    def build(seed: int) -> Path:
        out = tmp_path / f"noisy-{seed}"
        places = ["--work", str(tmp_path / "work"), "--out", str(out), "--json"]
        assert main(["assets", "build", "tiny-sd-noisy", "--seed", str(seed), *places]) == 0
        rows = json.loads(capsys.readouterr().out)
        made = out / "tiny-sd-noisy"
        assert rows == [{"asset": "tiny-sd-noisy", "sha256": folder_sha256(made)}]
        return made

    one, two = build(1), build(2)
    assert folder_sha256(one) != folder_sha256(two)
    card = (one / "README.md").read_text()
    assert "`python -m bench assets build tiny-sd-noisy --seed 1`" in card
    facts = json.loads(card.split("```json")[1].split("```")[0])
    assert facts["seed"] == 1 and facts["tiny-sd"] == folder_sha256(path_of("tiny-sd"))
    assert facts["captions_with_wrong_words"] == pytest.approx(0.6, abs=0.2)
    assert load_backbone(one).family == "sd"
    # its VAE is the base's to the bit, and a second call makes nothing
    vae = "vae/diffusion_pytorch_model.safetensors"
    shipped = load_file(path_of("tiny-sd") / vae)
    assert all(torch.equal(v, shipped[k]) for k, v in load_file(one / vae).items())
    monkeypatch.setattr(recipe, "train_noisy", None)
    assert build(1) == one


def test_another_seed_is_made_elsewhere_and_only_of_what_takes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*words: object) -> str:
        assert main(["assets", *map(str, words)]) == 2
        return capsys.readouterr().err

    assert "--out" in refusal("build", "tiny-sd-noisy", "--seed", 1)
    told = refusal("build", "tiny-sd-noisy", "tiny-clip", "--seed", 1, "--out", tmp_path)
    assert "found tiny-clip" in told and "is for tiny-sd-noisy" in told
    assert "takes no seed" in refusal("build", "--seed", 1, "--out", tmp_path)
    assert "0 or above" in refusal("build", "tiny-sd-noisy", "--seed", -1, "--out", tmp_path)
    assert "assets build" in refusal("verify", "--seed", 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shipped", [True, False])
def test_the_verbs_take_either_base_at_the_settings_of_its_card(
    shipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = " ".join((path_of("tiny-sd-noisy") / "README.md").read_text().split())
    words = card.partition("python -m bench run ")[2].partition("`")[0].split()
    if not shipped:
        words += ["--set", "checkpoint.kind=path"]
        words += ["--set", f"checkpoint.location={path_of('tiny-sd-noisy')}"]
    assert main(["plan", *words, "--store", str(tmp_path)]) == 0
    plan = capsys.readouterr().out
    for count in (576, 400):  # of GenEval, and of FID
        assert f"{count} images of tiny-sd-noisy" in plan
    assert "CFG 2" in plan
