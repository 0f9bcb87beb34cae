import json

import numpy as np
import pytest
from PIL import Image

from bench.api import ImageRecord, ImageSet, Prompt, PromptSuite, ProtocolError
from evaluators.models.clip import ClipCosine
from evaluators.models.clip_features import ClipImageFeatures, TinyClipFeatures, clip_input
from tests.evaluators.pictures import ask, make_images
from tests.paper.hub_cache import add_repository
from tests.paper.repositories import write_clip
from tests.precision import FORWARD


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (300, 500), (257, 224)])
def test_pictures_are_prepared_as_clean_fid_does(size):
    transforms = pytest.importorskip("torchvision.transforms")
    p = picture(*size)
    bicubic = transforms.InterpolationMode.BICUBIC
    square = transforms.CenterCrop(224)(
        transforms.Resize(224, interpolation=bicubic)(Image.fromarray(p))
    )
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    theirs = (np.asarray(square) / 255.0 - mean) / deviation
    assert np.abs(clip_input(p, 224) - np.moveaxis(theirs, 2, 0)).max() < 1e-5


def test_features_are_those_of_the_library_and_know_no_batch(tmp_path):
    import torch
    from transformers import CLIPModel

    records = []
    for i in range(5):
        Image.fromarray(picture(32, 32, i)).save(tmp_path / f"{i}.png")
        records.append(ImageRecord(prompt_id=str(i), ordinal=0, path=f"{i}.png", sha256="", seed=0))
    suite = PromptSuite(
        name="pictures",
        version="1",
        prompts=tuple(Prompt(id=str(i), text="", tag="image") for i in range(5)),
    )
    images = ImageSet(
        root=tmp_path, suite=suite, images_per_prompt=1, records=tuple(records), identity="x"
    )
    backend = TinyClipFeatures()
    one, all_ = (
        np.stack([a["features"] for _, a in backend.predict(images, {}, batch_size=size)])
        for size in (1, 5)
    )
    model = CLIPModel.from_pretrained(backend.folder(), dtype=torch.float32).eval()
    side = model.config.vision_config.image_size
    x = torch.from_numpy(np.stack([clip_input(picture(32, 32, i), side) for i in range(5)]))
    with torch.no_grad():
        theirs = model.get_image_features(pixel_values=x).pooler_output.numpy()
    assert all_ == pytest.approx(theirs, rel=FORWARD, abs=FORWARD)
    assert one == pytest.approx(all_, rel=FORWARD, abs=FORWARD)
    assert backend.identity()["backend"] == "tiny-clip-features"
    assert ClipImageFeatures.hub_models == ("openai/clip-vit-base-patch32",)


def test_gelu_gives_other_numbers_and_is_refused(tmp_path, monkeypatch):
    """The same weights under another activation, for both back-ends over OpenAI's CLIP."""
    repository = ClipImageFeatures.hub_models[0]
    images = make_images(tmp_path, per_prompt=1)
    found = {}
    for activation in ("quick_gelu", "gelu"):
        source = write_clip(tmp_path / activation)
        config = json.loads((source / "config.json").read_text())
        for part in ("text_config", "vision_config"):
            config[part]["hidden_act"] = activation
        (source / "config.json").write_text(json.dumps(config))
        add_repository(tmp_path / f"home-{activation}", repository, source)
        hub = str(tmp_path / f"home-{activation}" / "hub")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", hub)
        if activation == "gelu":
            for backend in (ClipCosine(), ClipImageFeatures()):
                with pytest.raises(ProtocolError, match=r"'gelu'; OpenAI's weights need"):
                    list(backend.predict(images, ask()))
            monkeypatch.setattr(ClipCosine, "activation", None)
        found[activation] = [r["cosine"] for r, _ in ClipCosine().predict(images, ask())]
    difference = np.abs(np.array(found["gelu"]) - np.array(found["quick_gelu"]))
    assert difference.min() > 1e-5
