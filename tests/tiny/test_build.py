"""Building the world's networks: resumable, and the networks do what their cards say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.api.errors import CorruptArtifactError, UsageError
from bench.check.installation import Problem, shipped
from bench.generation.checkpoint import CheckpointRef
from bench.tiny import assets
from bench.tiny.build.calibrate import fit_logistic
from bench.tiny.build.heads import class_of, question
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.scenes_cache import load_scenes
from bench.tiny.build.tokenizer import MAX_TOKENS, build_tokenizer
from bench.tiny.grammar import vocabulary
from bench.tiny.networks import CLASSES, FeatureNet, PhraseNet, WordList, load_network, save_network
from bench.tiny.scenes import training_scene
from bench.tiny.suites import captions_tiny, compbench_tiny, geneval_tiny, pair_prompts_tiny


class _StopError(Exception):
    pass


def _problem() -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def loss_of_step(step: int) -> Tensor:
        x = torch.from_numpy(np.random.default_rng([1, step]).standard_normal((16, 4))).float()
        return (net(x) - x.sum(1, keepdim=True)).square().mean()

    return net, loss_of_step


def test_an_interrupted_build_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = LoopConfig(steps=30, lr=1e-2, ema=0.9, save_every_seconds=0.0)
    whole, loss = _problem()
    train_network("x", whole, loss, config, tmp_path / "whole")  # type: ignore[arg-type]
    for _ in range(3):
        parts, loss = _problem()

        def stopping(step: int, loss: object = loss) -> Tensor:
            if step in (11, 20) and not (tmp_path / f"stopped-{step}").exists():
                (tmp_path / f"stopped-{step}").touch()
                raise _StopError
            return loss(step)  # type: ignore[operator,no-any-return]

        try:
            train_network("x", parts, stopping, config, tmp_path / "parts")
        except _StopError:
            continue
    assert (tmp_path / "stopped-11").exists()
    assert (tmp_path / "stopped-20").exists()
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_cached_scenes_are_the_computed_ones(tmp_path: Path) -> None:
    first = load_scenes(tmp_path, 30, 5)
    again = load_scenes(tmp_path, 30, 5)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.captions == again.captions
    assert first.texts[7] == training_scene(7, 5)[1]


def test_every_word_is_one_token_and_every_prompt_fits() -> None:
    tokenizer = build_tokenizer()
    for word in vocabulary():
        parts = len(word.split("-"))
        assert len(tokenizer(word).input_ids) == 2 + 2 * parts - 1, word
    for suite in (geneval_tiny(), compbench_tiny(), captions_tiny(), pair_prompts_tiny()):
        longest = max(len(tokenizer(p.text).input_ids) for p in suite)
        assert longest <= MAX_TOKENS


def test_tokenizer_survives_saving(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    text = 'a washed-out sketch of a sign reading "hlz" at night'
    assert CLIPTokenizer.from_pretrained(tmp_path)(text).input_ids == tokenizer(text).input_ids


def test_questions_are_true_exactly_when_a_thing_has_all_their_words() -> None:
    rng = np.random.default_rng(0)
    yes = 0
    asked = 0
    for i in range(600):
        scene, _, _ = training_scene(i, 8)
        pair = question(rng, scene)
        if pair is None:
            continue
        phrase, fits = pair
        words = set(phrase.split()) - {"a"}
        held = [words <= {t.shape, t.color, t.fill, t.size} for t in scene.things]
        assert fits == held, phrase
        asked += 1
        yes += any(fits)
    assert 0.35 < yes / asked < 0.75


def test_phrase_network_answers_each_phrase_alone() -> None:
    torch.manual_seed(0)
    words = WordList()
    net = PhraseNet(len(words.ids)).eval()
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    places = net.look(picture)
    both = net.ask(places[[0, 0]], words.encode(["a red circle?", "a blue square?"]))
    alone = net.ask(places, words.encode(["a blue square"]))
    assert both[1].item() == pytest.approx(alone.item(), abs=1e-5)
    assert both[0].item() != both[1].item()
    with pytest.raises(ValueError, match="no word of the tiny world"):
        words.encode(["an elephant"])


def test_networks_reload_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = FeatureNet()
    save_network(net, tmp_path, {})
    assert all(t.dtype == torch.float16 for t in load_file(tmp_path / "model.safetensors").values())
    again = load_network(FeatureNet(), tmp_path)
    x = torch.rand(2, 3, 32, 32)
    assert torch.allclose(net(x)[0], again(x)[0], atol=2e-2)
    assert again(x)[1].shape == (2, len(CLASSES))


def test_class_is_that_of_the_largest_thing() -> None:
    for i in range(50):
        scene, _, _ = training_scene(i, 2)
        name = CLASSES[class_of(scene)]
        if scene.letters:
            assert name == "sign"
        else:
            largest = max(scene.things, key=lambda t: t.radius)
            assert name == f"{largest.color} {largest.shape}"


def test_logistic_fit_recovers_known_weights() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20000, 2))
    p = 1 / (1 + np.exp(-(2.0 * x[:, 0] - 1.0 * x[:, 1] + 0.5)))
    weight, bias = fit_logistic(x, (rng.random(20000) < p).astype(float))
    assert weight == pytest.approx([2.0, -1.0], abs=0.1)
    assert bias == pytest.approx(0.5, abs=0.1)


def test_an_unknown_asset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="tiny-sd"):
        assets.path_of("tiny-sdd")


def test_shipped_weights_are_the_listed_ones_and_an_edit_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    assert set(assets.verify()) == set(assets.NAMES)
    copy = tmp_path / "weights"
    shutil.copytree(assets.WEIGHTS, copy)
    monkeypatch.setattr(assets, "WEIGHTS", copy)
    target = copy / "tiny-detector" / "config.json"
    target.write_text(target.read_text().replace("0", "1", 1))
    with pytest.raises(CorruptArtifactError, match="tiny-detector"):
        assets.verify()
    problems: list[Problem] = []
    facts = shipped(problems)
    assert [name for name, fact in facts.items() if fact != "as shipped"] == ["tiny-detector"]
    assert [(p.exit_code, "git checkout" in p.mend) for p in problems] == [(1, True)]
    base = CheckpointRef(kind="shipped", location="tiny-sd")
    base.identity()
    unet = copy / "tiny-sd/unet/diffusion_pytorch_model.safetensors"
    unet.write_bytes(unet.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptArtifactError, match=r"tiny-sd hash to .*, shipped were"):
        base.identity()


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    from bench.tiny.build.recipe import require_finite

    for name in assets.verify():
        require_finite(assets.path_of(name))
    huge = torch.tensor([1.0, 70000.0]).to(torch.float16)
    save_file({"weight": huge}, tmp_path / "net.safetensors")
    with pytest.raises(CorruptArtifactError, match=r"net\.safetensors: weight"):
        require_finite(tmp_path)
