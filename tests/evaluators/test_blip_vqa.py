"""BLIP-VQA through transformers, on random weights of the true architecture at reduced depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BlipForQuestionAnswering

from bench.api import (
    CorruptArtifactError,
    ImageRecord,
    ImageSet,
    PrerequisiteError,
    Prompt,
    PromptSuite,
    ProtocolError,
)
from evaluators.models import blip_vqa
from evaluators.models.blip_vqa import (
    DEC,
    ENC,
    NO,
    TOKENIZER,
    WEIGHTS_VARIABLE,
    YES,
    BlipVqa,
    BlipVqaHub,
    Questioner,
    prepare,
)
from evaluators.models.blip_weights import library_name, load_original, set_vision_epsilon
from tests.paper.hub_cache import add_repository
from tests.precision import FORWARD

WIDTH, DEPTH, WORDS = 64, 2, 30524
QUESTIONS = {"one": ["a red bench?"], "two": ["a dog?", "a green car on the left?"], "none": []}
CLS = 101


def original_state(
    *, places: int = 900, words: int = WORDS, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Random tensors under the original's names; large enough that answers spread."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def put(name: str, *shape: int, scale: float = 0.1, shift: float = 0.0) -> None:
        state[name] = shift + scale * torch.randn(*shape, generator=generator)

    def linear(name: str, out: int, into: int) -> None:
        put(f"{name}.weight", out, into, scale=0.25)
        put(f"{name}.bias", out)

    def norm(name: str) -> None:
        put(f"{name}.weight", WIDTH, shift=1.0)
        put(f"{name}.bias", WIDTH)

    put("visual_encoder.cls_token", 1, 1, WIDTH)
    put("visual_encoder.pos_embed", 1, places + 1, WIDTH, scale=0.5)
    put("visual_encoder.patch_embed.proj.weight", WIDTH, 3, 16, 16)
    put("visual_encoder.patch_embed.proj.bias", WIDTH)
    for n in range(DEPTH):
        block = f"visual_encoder.blocks.{n}"
        norm(f"{block}.norm1")
        norm(f"{block}.norm2")
        linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH)
        linear(f"{block}.attn.proj", WIDTH, WIDTH)
        linear(f"{block}.mlp.fc1", 2 * WIDTH, WIDTH)
        linear(f"{block}.mlp.fc2", WIDTH, 2 * WIDTH)
    norm("visual_encoder.norm")
    for text in ("text_encoder.", "text_decoder.bert."):
        put(f"{text}embeddings.word_embeddings.weight", words, WIDTH, scale=0.5)
        put(f"{text}embeddings.position_embeddings.weight", 64, WIDTH, scale=0.5)
        norm(f"{text}embeddings.LayerNorm")
        state[f"{text}embeddings.position_ids"] = torch.arange(64)[None]
        for n in range(DEPTH):
            layer = f"{text}encoder.layer.{n}"
            for attention in ("attention", "crossattention"):
                for part in ("query", "key", "value"):
                    linear(f"{layer}.{attention}.self.{part}", WIDTH, WIDTH)
                linear(f"{layer}.{attention}.output.dense", WIDTH, WIDTH)
                norm(f"{layer}.{attention}.output.LayerNorm")
            linear(f"{layer}.intermediate.dense", 2 * WIDTH, WIDTH)
            linear(f"{layer}.output.dense", WIDTH, 2 * WIDTH)
            norm(f"{layer}.output.LayerNorm")
    head = "text_decoder.cls.predictions"
    linear(f"{head}.transform.dense", WIDTH, WIDTH)
    norm(f"{head}.transform.LayerNorm")
    put(f"{head}.bias", words)
    state[f"{head}.decoder.bias"] = state[f"{head}.bias"]
    state[f"{head}.decoder.weight"] = state["text_decoder.bert.embeddings.word_embeddings.weight"]
    return state


def write_vocabulary(folder: Path, *, yes: int = YES) -> Path:
    """Write a vocab.txt of bert-base-uncased's length with the words the questions need."""
    words = [f"[unused{n}]" for n in range(DEC)]
    words[0], words[100], words[CLS], words[102], words[103] = (
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    )
    words[yes], words[NO] = "yes", "no"
    spoken = sorted({w for q in QUESTIONS.values() for t in q for w in re.findall(r"\w+|\?", t)})
    words[5000 : 5000 + len(spoken)] = spoken
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text(
        '{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}'
    )
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    add_repository(folder, TOKENIZER, write_vocabulary(folder / "bert"))
    torch.save({"model": original_state()}, folder / "blip.pth")
    return folder


@pytest.fixture
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(home / "blip.pth"))
    yield home


@pytest.fixture(scope="module")
def network(home: Path) -> Any:
    return load_original(home / "blip.pth", device="cpu")


@pytest.fixture(scope="module")
def asker(home: Path, network: Any) -> Questioner:
    return Questioner(network, blip_vqa.load_tokenizer(home / "bert"))


def picture(seed: int = 0, height: int = 60, width: int = 40) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3))
    return blocks.astype(np.uint8).repeat(10, 0).repeat(10, 1)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    suite = PromptSuite(
        name="three",
        version="1",
        prompts=tuple(Prompt(id=name, text=f"a {name} thing") for name in QUESTIONS),
    )
    records = []
    for n, (name, ordinal) in enumerate((name, k) for name in QUESTIONS for k in range(2)):
        Image.fromarray(picture(n)).save(tmp_path / f"{name}-{ordinal}.png")
        records.append(
            ImageRecord(
                prompt_id=name, ordinal=ordinal, path=f"{name}-{ordinal}.png", sha256="", seed=0
            )
        )
    return ImageSet(root=tmp_path, suite=suite, images_per_prompt=2, records=tuple(records))


def test_every_original_weight_has_its_place(network: Any) -> None:
    assert network.config.vision_config.image_size == 480
    assert network.config.vision_config.layer_norm_eps == 1e-6
    named = {library_name(name) for name in original_state()} - {None}
    assert named == set(network.state_dict())


def test_a_checkpoint_that_lacks_or_adds_a_weight_is_refused(tmp_path: Path) -> None:
    whole = original_state(places=4, words=40)
    state = dict(whole)
    del state["visual_encoder.norm.bias"]
    torch.save({"model": state}, tmp_path / "less.pth")
    with pytest.raises(CorruptArtifactError, match=r"post_layernorm\.bias"):
        load_original(tmp_path / "less.pth", device="cpu")
    torch.save({"model": {**whole, "odd": torch.ones(1)}}, tmp_path / "m.pth")
    with pytest.raises(CorruptArtifactError, match="odd"):
        load_original(tmp_path / "m.pth", device="cpu")
    torch.save({"weights": 1}, tmp_path / "other.pth")
    with pytest.raises(CorruptArtifactError, match="no checkpoint of BLIP-VQA"):
        load_original(tmp_path / "other.pth", device="cpu")


def test_one_question_agrees_with_the_librarys_own_generation(
    network: Any, asker: Questioner
) -> None:
    """`generate` makes its first step over the same parts; without padding no mask matters."""
    tokens = torch.tensor([[ENC, 5001, 5003, 102]])
    out = network.generate(
        input_ids=tokens,
        pixel_values=prepare(picture())[None],
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=1,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    both = out.logits[0][0, [YES, NO]].softmax(0)
    seen = asker.look([picture()])
    (ours,) = asker.answer(seen, tokens)
    assert ours == pytest.approx(float(both[0]), abs=FORWARD)
    assert 0.01 < ours < 0.99


def test_each_departure_from_the_protocol_shows(network: Any, asker: Questioner) -> None:
    """384 pixels, [CLS] for [ENC], padding without a mask, another epsilon."""
    seen = asker.look([picture()])
    tokens = torch.tensor([[ENC, 5001, 5003, 102]])
    (right,) = asker.answer(seen, tokens)
    wrong = {
        "384": asker.answer(asker.look([picture()], size=384), tokens)[0],
        "[CLS]": asker.answer(seen, torch.where(tokens == ENC, CLS, tokens))[0],
        "padding": asker.answer(seen, torch.nn.functional.pad(tokens, (0, 3)))[0],
    }
    for name, value in wrong.items():
        assert abs(value - right) > 1e-3, name
    flat = np.full((8, 8, 3), 120, np.uint8)
    (before,) = asker.answer(asker.look([flat]), tokens)
    set_vision_epsilon(network, 1e-2)
    (after,) = asker.answer(asker.look([flat]), tokens)
    set_vision_epsilon(network)
    assert abs(after - before) > 1e-5


def test_a_picture_is_squashed_not_cropped() -> None:
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[:, 60:] = 255
    pixels = prepare(wide)
    assert pixels.shape == (3, 480, 480)
    assert float(pixels[0, 240, 470]) == pytest.approx((1 - 0.48145466) / 0.26862954, abs=1e-5)
    assert float(pixels[0, 240, 10]) == pytest.approx(-0.48145466 / 0.26862954, abs=1e-5)


def test_answers_depend_neither_on_batches_nor_on_order(cache: Path, images: ImageSet) -> None:
    def answers(found: ImageSet, batch_size: int) -> dict[tuple[str, int], list[float]]:
        return {
            (record["prompt_id"], record["ordinal"]): record["yes"]
            for record, _ in BlipVqa().predict(found, QUESTIONS, batch_size=batch_size)
        }

    together = answers(images, 8)
    backwards = ImageSet(
        root=images.root,
        suite=images.suite,
        images_per_prompt=2,
        records=tuple(reversed(images.records)),
    )
    alone = answers(backwards, 1)
    assert {key: len(values) for key, values in together.items()} == {
        (name, k): len(QUESTIONS[name]) for name in ("one", "two") for k in range(2)
    }
    for key, values in together.items():
        assert values == pytest.approx(alone[key], abs=FORWARD)
    assert len({value for values in together.values() for value in values}) == 6


def test_weights_that_are_not_there_say_how_to_get_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = BlipVqa().identity()
    assert identity["image_size"] == 480
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(cache / "absent.pth"))
    with pytest.raises(PrerequisiteError, match=r"not at .*absent\.pth") as error:
        BlipVqa().identity()
    assert "assets fetch blip-vqa-original" in str(error.value.fix)
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    monkeypatch.setenv("BENCH_CACHE", str(cache / "bench"))
    with pytest.raises(PrerequisiteError, match="not at"):
        BlipVqa().identity()
    fetched = cache / "bench" / "weights" / blip_vqa.WEIGHTS_FILE
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes((cache / "blip.pth").read_bytes())
    assert BlipVqa().identity() == identity


def test_a_vocabulary_of_other_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="bert-base-uncased"):
        blip_vqa.load_tokenizer(write_vocabulary(tmp_path, yes=YES + 1))


def test_the_hubs_conversion_is_a_variant_at_480_pixels(
    tmp_path: Path, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    torch.save({"model": original_state(places=576)}, tmp_path / "small.pth")
    network = load_original(tmp_path / "small.pth", device="cpu")
    BlipForQuestionAnswering.save_pretrained(network, source)
    add_repository(tmp_path, BlipVqaHub.REPOSITORY, write_vocabulary(source))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert "not the original weights" in BlipVqaHub().identity()["variant"]
    found = BlipVqaHub().network("cpu")
    norms = [m.eps for m in found.vision_model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert set(norms) == {1e-6}
    records = [record for record, _ in BlipVqaHub().predict(images, QUESTIONS)]
    assert [len(record["yes"]) for record in records] == [1, 1, 2, 2]
