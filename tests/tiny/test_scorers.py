"""How the scorers are made: contests whose truth is known, objectives, networks, the exam."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.tiny.build import contests as made
from bench.tiny.build import judged, listed, quality, rewards, towers
from bench.tiny.build.choices import clean_scene
from bench.tiny.build.clip import clip_pixels, new_clip, tokenise
from bench.tiny.build.exam import Exam, agreement, utility
from bench.tiny.build.tokenizer import MAX_TOKENS, build_tokenizer
from bench.tiny.grammar import to_text
from bench.tiny.networks import PhraseNet, to_unit
from bench.tiny.render import render
from bench.tiny.reward_networks import (
    PairReader,
    Places,
    QualityNet,
    Seen,
    expected_level,
    look,
    read,
)
from bench.tiny.scenes import random_description, related
from bench.tiny.world import HELD_OUT, Description, Noun, Scene
from tests.precision import FORWARD

RED, BLUE = Noun(shape="circle", color="red"), Noun(shape="square", color="blue")
BOTH = Description(nouns=(RED, BLUE), relation="left of")


def drawn(count: int) -> list[Description]:
    rng = np.random.default_rng(4)
    return [random_description(rng) for _ in range(count)]


def test_one_exchange_is_counted_as_what_it_changes() -> None:
    rng = np.random.default_rng(0)
    seen: dict[str, int] = {}
    for meaning in drawn(400):
        other = made.altered_evenly(meaning, rng)
        assert other != meaning and to_text(other) != to_text(meaning)
        assert not any((noun.color, noun.shape) in HELD_OUT for noun in other.nouns)
        assert (other.night, other.style, other.quality) == (
            meaning.night, meaning.style, meaning.quality,
        )  # fmt: skip
        apart = made.differences(meaning, other)
        swapped = replace(
            meaning,
            nouns=tuple(
                replace(a, color=b.color)
                for a, b in zip(meaning.nouns, reversed(meaning.nouns), strict=True)
            ),
        )
        assert apart == (2 if other == swapped else 1)
        kinds = made.kinds_of(meaning)
        seen |= {kind: seen.get(kind, 0) + 1 for kind in kinds}
    assert set(seen) == {
        "letters", "relation", "swap", "shape", "color", "fill", "size", "count",
    }  # fmt: skip
    assert made.differences(BOTH, BOTH) == 0


def test_an_edited_scene_keeps_its_places() -> None:
    rng = np.random.default_rng(1)
    scene = clean_scene(BOTH, rng)
    green = replace(BOTH, nouns=(replace(RED, color="green"), BLUE))
    edited = made.edited(scene, BOTH, green)
    assert edited is not None
    assert [t.color for t in edited.things] == ["green", "blue"]
    assert [(t.x, t.y, t.radius) for t in edited.things] == [
        (t.x, t.y, t.radius) for t in scene.things
    ]
    turned = made.edited(scene, BOTH, replace(BOTH, relation="right of"))
    assert turned is not None and related("right of", *turned.things)
    assert made.edited(scene, BOTH, replace(BOTH, relation="above")) is None
    three = Description(nouns=(replace(RED, count=3),))
    assert made.edited(scene, replace(three, nouns=(replace(RED, count=2),)), three) is None
    sign = Scene(letters="HO")
    other = made.edited(sign, Description(letters="HO"), Description(letters="HT"))
    assert other is not None and other.letters == "HT"


def test_contests_say_what_is_wrong_with_each_picture(tmp_path: Path) -> None:
    vae = SimpleNamespace()  # no share goes through it
    found = made.make_contests(listed.LISTED, 40, 9, tmp_path / "c.npy", vae, 0.0)  # type: ignore[arg-type]
    assert found.pixels.shape == (40, 4, 32, 32, 3)
    assert found.errors.shape == (40, 2, 4) and found.severity.shape == (40, 4)
    assert (found.errors[:, 0, :2] == 0).all()
    assert (found.errors[:, 0, 2] >= 1).all()
    assert (found.severity[:, [0, 2]] == 0).all() and (found.severity[:, 1] >= 0.2).all()
    assert all(first != second for first, second in found.texts)
    assert (found.errors[:, 1] == 0).any(axis=1).all(), "a picture follows the other prompt"
    again = made.make_contests(listed.LISTED, 40, 9, tmp_path / "c.npy", vae, 0.0)  # type: ignore[arg-type]
    assert np.array_equal(found.pixels, again.pixels) and found.texts == again.texts


def scored(scores: Tensor, errors: Tensor, severity: Tensor) -> rewards.Scored:
    size = len(scores)
    texts = np.array([(f"a{i}", f"b{i}") for i in range(size)])
    return rewards.Scored(scores=scores, errors=errors, severity=severity, texts=texts)


def test_the_choice_loss_follows_its_formula() -> None:
    torch.manual_seed(0)
    size = 3
    batch = scored(torch.randn(size, 2, size, 2), torch.zeros(3, 2, 2), torch.zeros(3, 2))
    own = torch.stack([batch.scores[i, :, i] for i in range(size)])
    torch.testing.assert_close(batch.own, own)
    votes = torch.rand(size, 2)
    chosen = torch.stack([votes, 1 - votes], -1)
    others = torch.rand(size, size, 2, 2) < 0.5
    expected = [
        -torch.log(torch.softmax(torch.stack([own[i, 0, k], batch.scores[i, 0, j, m]]), 0)[
            0 if others[i, j, k, m] else 1
        ])
        for i in range(size) for j in range(size) for k in range(2) for m in range(2) if i != j
    ]  # fmt: skip
    first = -(chosen * own.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(
        rewards.choice_loss(batch, chosen, others),
        rewards.WITHIN_WEIGHT * first + torch.stack(expected).mean(),
    )


def test_the_rank_loss_is_least_where_the_better_picture_is_above() -> None:
    size = 3
    errors = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]).expand(size, 2, 3)
    severity = torch.tensor([0.0, 0.7, 0.0]).expand(size, 3)
    perfect = torch.full((size, 2, size, 3), -50.0)
    for i in range(size):
        perfect[i, :, i] = torch.tensor([[50.0, 0.0, 0.0], [0.0, -50.0, 50.0]])
    assert float(rewards.rank_loss(scored(perfect, errors, severity))) == pytest.approx(0, abs=1e-6)
    assert float(rewards.rank_loss(scored(-perfect, errors, severity))) > 50
    # a degraded right picture and a clean wrong one are not ranked: exchanging them costs nothing
    other = perfect.clone()
    for i in range(size):
        other[i, 0, i, 1] = 7.0
    assert float(rewards.rank_loss(scored(other, errors, severity))) == pytest.approx(0, abs=1e-6)


def test_a_smaller_tower_starts_near_the_whole_and_open_clip_computes_the_same(
    tmp_path: Path,
) -> None:
    pytest.importorskip("open_clip")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    clip = new_clip(tokenizer).eval()
    texts = [to_text(meaning) for meaning in drawn(12)]
    ids = tokenise(tokenizer, texts)
    pixels = clip_pixels(
        np.stack([render(clean_scene(m, np.random.default_rng(1))) for m in drawn(12)])
    )
    whole = towers.started_from(
        clip, pixels, ids, vision_layers=3, vision_neurons=384, text_neurons=512
    ).eval()
    with torch.no_grad():
        near = towers.embed_pictures(whole, pixels) * towers.embed_pictures(clip, pixels)
        assert float(near.sum(-1).min()) > 0.999, "GELU in place of QuickGELU, and nothing else"
    small = towers.started_from(
        clip, pixels, ids, vision_layers=2, vision_neurons=200, text_neurons=256
    ).eval()
    towers.save_open_clip(small.to(torch.float16).float(), tmp_path)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    same = open_clip.model.CLIP(**config).eval()
    tensors = load_file(tmp_path / "open_clip_model.safetensors")
    same.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    with torch.no_grad():
        torch.testing.assert_close(
            same.encode_image(pixels, normalize=True),  # type: ignore[operator]
            towers.embed_pictures(small, pixels), atol=1e-5, rtol=0,
        )  # fmt: skip
        torch.testing.assert_close(
            same.encode_text(ids, normalize=True),  # type: ignore[operator]
            towers.embed_texts(small, ids), atol=1e-5, rtol=0,
        )  # fmt: skip


def test_the_list_loss_asks_every_ranked_pair_once() -> None:
    torch.manual_seed(1)
    rewards_, worth = torch.randn(2, 2, 3), torch.tensor([[[0.0, -1, -1.1], [-2, 0, -2]]] * 2)
    within, across = [], []
    for b in range(2):
        for t in range(2):
            for k in range(3):
                for m in range(3):
                    if worth[b, t, k] - worth[b, t, m] > listed.CLEAR:
                        within.append(-torch.sigmoid(rewards_[b, t, k] - rewards_[b, t, m]).log())
        for k in range(3):
            for t in range(2):
                if worth[b, t, k] - worth[b, 1 - t, k] > listed.CLEAR:
                    across.append(-torch.sigmoid(rewards_[b, t, k] - rewards_[b, 1 - t, k]).log())
    expected = torch.stack(within).mean() + torch.stack(across).mean()
    torch.testing.assert_close(listed.list_loss(rewards_, worth), expected)


def test_the_reward_reads_picture_and_text_and_no_padding() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    net = listed.RewardNet(tokenizer).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    score = listed.reward_scorer(net, tokenizer)
    texts = ["a red circle", "a blue square"]
    found = {(i, t): score(pictures[[i]], [t])[0] for i in range(2) for t in texts}
    assert len(set(found.values())) == 4
    together = score(pictures[[0, 1, 0]], [texts[0], texts[1], texts[1]])
    expected = [found[0, texts[0]], found[1, texts[1]], found[0, texts[1]]]
    np.testing.assert_allclose(together, expected, rtol=FORWARD, atol=FORWARD)
    ids, mask = listed._tokens(tokenizer, texts[:1])
    other = ids.clone()
    other[mask == 0] = 5
    with torch.no_grad():
        seen = net.vision(pixel_values=clip_pixels(pictures[:1])).last_hidden_state
        a, b = (net.rewards(seen, i, mask) for i in (ids, other))
    assert a.item() == pytest.approx(b.item(), abs=FORWARD)


def test_its_eyes_see_what_tiny_vqas_trunk_sees() -> None:
    torch.manual_seed(0)
    eyes, net = PhraseNet(3).eval(), Places().eval()
    net.trunk.load_state_dict(eyes.trunk.state_dict())
    torch.nn.init.zeros_(net.pixels.weight)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        seen = net(pixel_values=clip_pixels(pictures)).last_hidden_state
        torch.testing.assert_close(seen, eyes.look(to_unit(pictures)), atol=1e-4, rtol=1e-4)
        kept = listed._seen(net, pictures[:, None])
        again = net.joined(kept[:, 0].float(), to_unit(pictures))
        torch.testing.assert_close(again, seen, atol=5e-3, rtol=5e-3)


def test_the_expectation_of_the_preference_is_that_of_many_draws() -> None:
    mean, sigma = torch.tensor([0.7, -2.0, 3.0]), torch.tensor([0.05, 1.5, 3.0])
    draws = np.random.default_rng(0).standard_normal((3, 400_000))
    z = mean.numpy()[:, None] + sigma.numpy()[:, None] * draws
    expected = (1 / (1 + np.exp(-z))).mean(1)
    np.testing.assert_allclose(judged.preferred(mean, sigma).numpy(), expected, atol=2e-3)


def test_judges_who_disagree_are_met_by_sigma_and_judges_who_agree_by_the_mean() -> None:
    sure, unsure = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 2.0]])
    gap = torch.tensor([[2.0, -2.0]])
    half = torch.full((1, 2, 2), 0.5)
    most = torch.tensor([[[0.5, 0.99], [0.01, 0.5]]])
    sigma = [sure.exp() * 0.05, unsure.exp()]
    assert judged.uncertain_loss(gap, sigma[1], half) < judged.uncertain_loss(gap, sigma[0], half)
    assert judged.uncertain_loss(gap, sigma[0], most) < judged.uncertain_loss(gap, sigma[1], most)
    votes = judged.judge(
        np.array([[3.0, -3.0]] * 500), np.array([[0.0, 0.0]] * 500), np.random.default_rng(0)
    )
    assert votes[:, 0, 1].mean() > 0.99
    doubtful = judged.judge(
        np.array([[1.0, -1.0]] * 500), np.array([[1.0, 1.0]] * 500), np.random.default_rng(0)
    )
    assert 0.6 < doubtful[:, 0, 1].mean() < 0.85


def test_the_pair_reader_knows_its_text_by_the_words_that_count() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    clip = new_clip(tokenizer).eval()
    net = PairReader(words=MAX_TOKENS).eval()
    pictures = clip_pixels(
        np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    )
    ids = tokenise(tokenizer, ["a red circle", "two blue squares and a cross"])
    with torch.no_grad():
        seen, said = look(clip, pictures), read(clip, ids)
        assert said.mask.sum(1).tolist() == [5, 8]
        mean, sigma = net(seen, said)
        assert mean.shape == sigma.shape == (2,) and bool((sigma > 0).all())
        one = Seen(places=seen.places[:1], whole=seen.whole[:1])
        alone, _ = net(one, read(clip, ids[:1]))
        assert alone.item() == pytest.approx(mean[0].item(), abs=1e-5)
        said.words[0, 5:] = 100.0
        again, _ = net(seen, said)
        assert again[0].item() == pytest.approx(mean[0].item(), abs=1e-5)


def test_soft_labels_have_the_marks_as_their_mean() -> None:
    mark = torch.tensor([5.0, 4.9, 3.7, 3.0, 1.04, 1.0], dtype=torch.float64)
    labels = quality.soft_labels(mark)
    levels = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(labels @ levels, mark)
    torch.testing.assert_close(labels.sum(-1), torch.ones(6, dtype=torch.float64))
    assert bool((labels >= -1e-12).all())
    chance = 0.5 * (1 + math.erf(0.5 / (quality.DEVIATION * math.sqrt(2))))
    assert labels[3, 2].item() == pytest.approx(2 * chance - 1, abs=1e-3)


def test_fidelity_is_least_where_the_chances_are_the_judges() -> None:
    mark = torch.tensor([4.0, 2.0])
    right = quality.soft_labels(mark).clamp(min=1e-9).log()
    wrong = right.flip(0)
    assert float(quality.fidelity_loss(right, mark)) < 0.02
    assert float(quality.fidelity_loss(wrong, mark)) > 0.5


def test_quality_is_the_mean_of_the_levels() -> None:
    logits = torch.tensor([[50.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 50.0], [0.0] * 5])
    assert expected_level(logits).tolist() == pytest.approx([5.0, 1.0, 3.0])
    torch.manual_seed(0)
    net = QualityNet().eval()
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert net(x).shape == (3, 5)
        assert not torch.allclose(net(x), net(0.5 * x), atol=1e-4), "it sees how strong colours are"


def test_the_exam_keeps_answers_and_says_how_scorers_agree(tmp_path: Path) -> None:
    exam = Exam(tmp_path, SimpleNamespace())  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    fields = {
        "texts": ["x"] * 50, "pixels": np.zeros((50, 3, 32, 32, 3), np.uint8),
        "errors": np.tile([0, 0, 1], (50, 1)), "severity": np.tile([0.0, 0.5, 0.0], (50, 1)),
    }  # fmt: skip
    exam.__dict__["threes"] = SimpleNamespace(**fields)
    pairs = {**fields, "pixels": rng.integers(0, 255, (50, 2, 32, 32, 3), dtype=np.uint8)}
    pairs["errors"], pairs["severity"] = np.tile([0, 2], (50, 1)), np.zeros((50, 2))
    exam.__dict__["pairs"] = SimpleNamespace(**pairs)

    def first(pixels: np.ndarray, texts: list[str]) -> np.ndarray:
        return pixels[:, 0, 0, 0].astype(float) - 0.1 * np.arange(len(texts))

    facts = exam.take("one", first)
    assert set(facts) == {
        "held_out_clean_above_degraded", "held_out_right_above_wrong", "held_out_better_of_two",
    }  # fmt: skip
    assert facts["held_out_right_above_wrong"] == 1.0, "earlier in a batch is above"
    exam.take("two", lambda pixels, texts: -first(pixels, texts))
    exam.note("one", facts)
    assert exam.noted() == {"one": facts}
    exam.note("two", {})
    noted = exam.noted()
    assert noted["one"]["agreement"]["two"]["correlation"] == pytest.approx(-1.0)
    assert agreement(np.array([1.0, -1, 2]), np.array([1.0, -2, -1]))["same_choice"] == 0.6667
    assert utility(1, 0.5) == pytest.approx(-3.25)
