"""The pure rules: crop, colour, gap, top-K, masks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api.errors import UsageError
from bench.data.curation.colour import colourfulness, threshold
from bench.data.curation.judge import read_reply
from bench.data.curation.picture import UnusableError, centre_square, read_square
from bench.data.curation.saliency import load_saliency, switched_on
from bench.data.curation.scores import judge_gaps
from bench.data.curation.selection import chosen
from bench.data.curation.settings import ColourSettings, load_settings


def test_colourfulness_by_hand() -> None:
    assert colourfulness(np.full((3, 5, 3), 77, np.uint8)) == 0.0
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200  # rg 200, yb 100 everywhere
    assert colourfulness(red) == pytest.approx(0.3 * math.hypot(200, 100))
    half = red.copy()
    half[:, 2:] = 0  # means 100 and 50, deviations 100 and 50
    assert colourfulness(half) == pytest.approx(1.3 * math.hypot(100, 50))


def test_the_colour_threshold_is_the_mean_and_excludes_it() -> None:
    assert threshold([1.0, 2.0, 6.0], ColourSettings()) == 3.0
    assert threshold([1.0], ColourSettings(rule="none")) is None
    assert threshold([], ColourSettings(rule="above", threshold=43.66)) == 43.66
    with pytest.raises(UsageError, match=r"colour\.threshold"):
        ColourSettings(threshold=1.0)


def test_the_short_side_is_resized_and_the_centre_cut_out() -> None:
    columns = np.repeat(np.arange(200, dtype=np.uint8)[None], 100, axis=0)
    wide = Image.fromarray(np.stack([columns] * 3, axis=-1))
    same = np.asarray(centre_square(wide, 100))
    assert same.shape == (100, 100, 3)
    assert same[0, 0, 0] == 50 and same[0, -1, 0] == 149
    assert centre_square(Image.new("RGB", (33, 77)), 20).size == (20, 20)
    assert centre_square(Image.new("RGB", (5, 4)), 16).size == (16, 16)


@pytest.mark.parametrize("part", ["colour", "judge", "saliency", "scores"])
def test_a_part_that_holds_nothing_is_not_the_usual_one(part: str) -> None:
    with pytest.raises(UsageError, match=rf"curation\.{part} is None; expected keys and values"):
        load_settings("paper", {part: None})


def test_the_gap_is_strict_and_on_the_raw_scale() -> None:
    rows = [{"uid": "a", "gap": 0.52}, {"uid": "b", "gap": 0.53}, {"uid": "c", "gap": -1.0}]
    verdict = judge_gaps(rows, 0.52)
    assert set(verdict.reasons) == {"a", "c"}
    assert verdict.summary["real_wins_share"] == pytest.approx(2 / 3, abs=1e-6)
    assert not judge_gaps(rows, None).reasons
    paper = load_settings("paper", {"source.folder": "."})
    assert paper.scores.min_gap == pytest.approx(0.02 * 26)
    assert (paper.negatives.steps, paper.negatives.cfg_scale, paper.negatives.strength) == (
        50,
        7.5,
        1.0,
    )
    assert paper.top_k == 512


def test_the_best_are_chosen_whatever_the_order() -> None:
    rows = [{"uid": u, "real": s} for u, s in (("d", 1.0), ("b", 2.0), ("a", 2.0), ("c", 9.0))]
    assert chosen(rows, 3) == chosen(rows[::-1], 3) == ["c", "a", "b"]
    assert chosen(rows, None) == ["c", "a", "b", "d"]


def test_masks_are_on_where_diffusers_switches_them_on() -> None:
    from diffusers.image_processor import VaeImageProcessor

    soft = np.arange(256, dtype=np.uint8).reshape(16, 16)
    processor = VaeImageProcessor(
        vae_scale_factor=8, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )
    hard = processor.preprocess(Image.fromarray(soft), height=16, width=16)[0, 0].numpy()
    assert np.array_equal(hard, switched_on(soft).astype(np.float32))


def test_the_spectral_residual_sees_the_odd_one_out() -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    image[20:30, 40:50] = (250, 30, 30)
    model = load_saliency("spectral-residual", {"times_mean": 3.0, "sigma": 2.5})
    hard = switched_on(model.maps([image])[0])
    inside = np.zeros_like(hard)
    inside[16:34, 36:54] = True
    assert 0 < hard.sum() < 0.2 * hard.size
    assert (hard & inside).sum() > 0.95 * hard.sum()
    assert not model.maps([np.full((40, 30, 3), 9, np.uint8)])[0].any()
    with pytest.raises(UsageError, match="spectral-residual"):
        load_saliency("spectral-residul", {})
    with pytest.raises(UsageError, match="sgma"):
        load_saliency("spectral-residual", {"sgma": 2})


@pytest.mark.parametrize(
    ("reply", "artwork"),
    [("yes", True), ("No.", False), ("**YES**", True), ("Nothing", None), ("", None)],
)
def test_a_reply_is_yes_or_no_or_unreadable(reply: str, artwork: bool | None) -> None:
    assert read_reply(reply) is artwork


def test_odd_files_are_read_or_refused_with_a_reason(tmp_path: Path) -> None:
    colour = Image.fromarray(np.tile(np.uint8([[[200, 30, 60]]]), (30, 50, 1)))
    colour.convert("L").save(tmp_path / "grey.png")
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg")
    for name, mode in (("grey.png", "L"), ("cmyk.jpg", "CMYK")):
        pixels, odd = read_square(tmp_path / name, 16)
        assert pixels.shape == (16, 16, 3) and odd["mode"] == mode
    left = np.zeros((20, 20, 3), np.uint8)
    left[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(left).save(tmp_path / "turned.png", exif=exif)
    pixels, odd = read_square(tmp_path / "turned.png", 20)
    assert pixels[0, 0, 0] == 0 and pixels[0, -1, 0] == 255 and "exif" in odd
    frames = [Image.new("RGB", (20, 20), (k, 0, 0)) for k in (0, 200)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("I;16", (20, 20)).save(tmp_path / "deep.png")
    colour.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "text.jpg").write_text("no image")
    for name, reason in (
        ("film.gif", "animated: 2 frames"),
        ("dot.png", "too small: 1x1"),
        ("deep.png", "not of 8 bits"),
        ("cut.png", "broken: "),
        ("text.jpg", "broken: "),
        ("absent.png", "the file is missing"),
    ):
        with pytest.raises(UnusableError, match=reason):
            read_square(tmp_path / name, 16, min_side=8)
