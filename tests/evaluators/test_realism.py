"""Realism and texture: prefixes, the gap, the Laplacian."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bench.api import IncompleteError
from evaluators.models.texture import LaplacianVariance, grey, laplacian_variance
from evaluators.rewards.realism import PREFIXES, REALISM, TEXTURE, Realism
from tests.evaluators.pictures import TEXTS, make_images, predict, stored, suite


def test_the_scorer_is_asked_with_both_prefixes_and_the_texture_nothing() -> None:
    prompt = next(iter(suite()))
    assert Realism().queries(REALISM, prompt) == (
        "Realistic photo a red circle",
        "CG Render a red circle",
    )
    assert Realism().queries(TEXTURE, prompt) == ()
    assert len(PREFIXES) == 2


def test_gap_and_texture() -> None:
    scores = [
        {"prompt_id": key, "ordinal": 0, "score": [21.0 + n, 20.0]} for n, key in enumerate(TEXTS)
    ]
    textures = [
        {"prompt_id": key, "ordinal": 0, "texture": 100.0 * n} for n, key in enumerate(TEXTS)
    ]
    given = {REALISM: stored(scores), TEXTURE: stored(textures)}
    records = list(Realism().score(suite(), given))
    found = Realism().aggregate(records, given)
    assert found["gap"].value == pytest.approx(2 / 26)
    assert found["texture"].value == pytest.approx(100)
    with pytest.raises(IncompleteError, match="p2/0"):
        Realism().score(suite(), {**given, TEXTURE: stored(textures[:2])})
    textures[1]["texture"] = float("nan")
    with pytest.raises(ValueError, match="p1/0"):
        Realism().score(suite(), {**given, TEXTURE: stored(textures)})


def test_grey_levels_and_the_laplacian() -> None:
    levels = np.zeros((4, 5, 3), dtype=np.uint8)
    assert laplacian_variance(levels) == 0.0
    assert grey(np.full((1, 1, 3), 255, np.uint8))[0, 0] == 255
    assert [int(grey(np.array([[c]], np.uint8))[0, 0]) for c in np.eye(3, dtype=int) * 255] == [
        76, 150, 29,
    ]  # fmt: skip
    levels[2, 2] = 10  # one point: -40 there, 10 at its four neighbours
    response = np.zeros((4, 5))
    response[2, 2] = -40
    response[[1, 3, 2, 2], [2, 2, 1, 3]] = 10
    response[3, 2] += 10  # the border mirrors row 2 below row 3
    assert laplacian_variance(levels) == pytest.approx(response.var())
    with pytest.raises(ValueError, match="2 x 2"):
        laplacian_variance(levels[:1])


def test_it_is_opencvs_variance() -> None:
    cv2 = pytest.importorskip("cv2")
    generator = np.random.default_rng(0)
    for _ in range(50):
        size = (*generator.integers(2, 40, 2), 3)
        picture = generator.integers(0, 256, size, dtype=np.uint8)
        expected = cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
        assert laplacian_variance(picture) == pytest.approx(float(expected), rel=1e-12)


def test_blurring_takes_texture_away(tmp_path: Path) -> None:
    images = make_images(tmp_path, per_prompt=1)
    before = predict(LaplacianVariance(), images, {})
    for path in images.paths():
        with Image.open(path) as picture:
            picture.filter(ImageFilter.GaussianBlur(2)).save(path)
    after = predict(LaplacianVariance(), images, {})
    assert all(b["texture"] < a["texture"] / 4 for a, b in zip(before, after, strict=True))
