"""Cases of `evaluator_speed.py` over other networks: FID, detection, ImageReward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from speed_case import Case, Sides, first, opened, values_of
from speed_networks import MEAN, STD, pictures, write_bert_words
from torch import nn

from evaluators.models import hub, imagereward, inception, mask2former
from evaluators.models.affine_head import affine_head
from evaluators.models.inception_network import FidInception


def fid_network() -> FidInception:
    """Return FID's Inception-v3 with random weights and a classifier."""
    torch.manual_seed(0)
    network = FidInception(classifier=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def features(
    backend: type[inception.InceptionFeatures], theirs: Callable[[Path, FidInception], Any]
) -> Callable[[Path, int, int], Sides]:
    """Return the maker of a case: `theirs` gives features (1, 2048) of a picture, by package."""

    def make(root: Path, count: int, batch: int) -> Sides:
        whole = fid_network()
        plain = FidInception(classifier=False).eval()
        plain.load_state_dict(
            {k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")}
        )
        images = pictures(root / "pictures", count, pixels=256)
        package = theirs(root, whole)

        def ours(n: int) -> list[float]:
            with (
                patch.object(inception.weights, "weights_path", lambda: root),
                patch.object(inception.weights, "load", lambda path: plain),
            ):
                found = backend().predict(first(images, n), {}, batch_size=batch)
                return [float(v) for _, arrays in found for v in arrays["features"]]

        def published(n: int) -> list[float]:
            found: list[float] = []
            for picture in opened(first(images, n)):
                with torch.no_grad():
                    found += package(np.array(picture)).flatten().tolist()
            return found

        return Sides(ours=ours, published=published)

    return make


def clean_fid(root: Path, network: FidInception) -> Any:
    """clean-fid's own resize; its network is a TorchScript file, so the same network of ours."""
    resize = import_module("cleanfid.resize").build_resizer("clean")

    def seen(picture: np.ndarray) -> torch.Tensor:
        pixels = torch.from_numpy(resize(picture).transpose(2, 0, 1))[None]
        return network((pixels - 128) / 128)[0]

    return seen


def pytorch_fid(root: Path, network: FidInception) -> Any:
    """pytorch-fid's InceptionV3, resize within."""
    package = import_module("pytorch_fid.inception")
    state = network.state_dict()
    with patch.object(package, "load_state_dict_from_url", lambda *a, **k: state):
        model = package.InceptionV3().eval()
    return lambda picture: model(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255.0)[0]


def torch_fidelity(root: Path, network: FidInception) -> Any:
    """torch-fidelity's extractor, resize within; integers in."""
    package = import_module("torch_fidelity.feature_extractor_inceptionv3")
    torch.save(network.state_dict(), root / "inception.pth")
    model = package.FeatureExtractorInceptionV3(
        "speed", ["2048"], feature_extractor_weights_path=str(root / "inception.pth")
    )
    return lambda picture: model(torch.from_numpy(picture).permute(2, 0, 1)[None])[0]


def detection(root: Path, count: int, batch: int) -> Sides:
    """GenEval's detector: transformers' processor, network and post-processing on one image."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessorPil,
        SwinConfig,
    )

    torch.manual_seed(0)
    swin = SwinConfig(
        embed_dim=96, depths=[2, 2, 2, 2], num_heads=[3, 6, 12, 24], window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, encoder_layers=2, decoder_layers=4, num_queries=100, num_labels=80
    )
    network = Mask2FormerForUniversalSegmentation(config).eval().requires_grad_(False)
    network.model.transformer_module.queries_features.weight.normal_()
    network.class_predictor.weight.mul_(10.0)  # sure of some objects, as a trained network
    processor = Mask2FormerImageProcessorPil()
    images = pictures(root / "pictures", count)

    def ours(n: int) -> list[float]:
        with (
            patch.object(hub, "snapshot", lambda *a, **k: root),
            patch.object(hub, "load_network", lambda *a, **k: network),
        ):
            backend = mask2former.Mask2FormerDetector()
            found = list(backend.predict(first(images, n), {}, batch_size=batch))
        return [float(len(record["detections"])) for record, _ in found]

    def published(n: int) -> list[float]:
        found = []
        for picture in opened(first(images, n)):
            pixels = processor(picture, return_tensors="pt")
            with torch.no_grad():
                output = network(**pixels)
            (seen,) = processor.post_process_instance_segmentation(
                output, threshold=mask2former.FLOOR, target_sizes=[picture.size[::-1]],
                return_binary_maps=True,
            )  # fmt: skip
            found.append(float(len(seen["segments_info"])))
        return found

    return Sides(ours=ours, published=published, alike=False, note="another rule makes the masks")


def image_reward(root: Path, count: int, batch: int) -> Sides:
    """ImageReward in the order of its `score`: picture, text and head of one image at a time."""
    from transformers import BertTokenizer, BlipTextConfig, BlipVisionConfig, CLIPImageProcessorPil
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    torch.manual_seed(0)
    vision = BlipVisionModel(
        BlipVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=3, num_attention_heads=16,
            image_size=224, layer_norm_eps=1e-6,
        )
    )  # fmt: skip
    text = BlipTextModel(
        BlipTextConfig(
            vocab_size=30524, num_hidden_layers=2, encoder_hidden_size=1024,
            num_attention_heads=12, bos_token_id=30522, is_decoder=True,
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    networks = tuple(n.eval().requires_grad_(False) for n in (vision, text, affine_head(768)))
    head = networks[2]
    words = write_bert_words(root / "bert")
    tokenizer = BertTokenizer.from_pretrained(words)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224},
        image_mean=MEAN, image_std=STD,
    )  # fmt: skip
    images = pictures(root / "pictures", count)
    said = {prompt.id: prompt.text for prompt in images.suite}

    class Ours(imagereward.ImageRewardScorer):
        def checkpoint(self) -> Path:
            return root

        def tokenizer_folder(self) -> Path:
            return words

    def ours(n: int) -> list[float]:
        some = first(images, n)
        queries = {prompt.id: [prompt.text] for prompt in some.suite}
        with (
            patch.object(imagereward, "load_original", lambda *a, **k: networks),
            patch.object(BertTokenizer, "from_pretrained", lambda *a, **k: tokenizer),
        ):
            return values_of(Ours().predict(some, queries, batch_size=batch), "score")

    def published(n: int) -> list[float]:
        some = first(images, n)
        found = []
        for record, picture in zip(some.records, opened(some), strict=True):
            tokens = tokenizer(
                said[record.prompt_id], padding="max_length", truncation=True, max_length=35,
                return_tensors="pt",
            )  # fmt: skip
            pixels = processor(picture, return_tensors="pt").pixel_values
            with torch.no_grad():
                seen = vision(pixel_values=pixels).last_hidden_state
                state = text(
                    input_ids=tokens.input_ids, attention_mask=tokens.attention_mask,
                    encoder_hidden_states=seen, is_decoder=False,
                    encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
                ).last_hidden_state[:, 0]  # fmt: skip
                reward = float(head(state)[0, 0])
            found.append((reward - imagereward.REWARD_MEAN) / imagereward.REWARD_STD)
        return found

    return Sides(ours=ours, published=published, note="the package does not import here")


def cases() -> Sequence[Case]:
    """Return the cases of this file."""
    inception_v3 = "FID's Inception-v3, whole; 256 x 256"
    return (
        Case(
            name="fid-clean",
            network=inception_v3,
            published="clean-fid's resize, our network",
            make=features(inception.CleanFid, clean_fid),
        ),
        Case(
            name="fid-pytorch-fid",
            network=inception_v3,
            published="pytorch-fid 0.3.0 `InceptionV3`",
            make=features(inception.PytorchFid, pytorch_fid),
        ),
        Case(
            name="fid-tensorflow",
            network=inception_v3,
            published="torch-fidelity 0.4.0's extractor",
            make=features(inception.TensorflowFid, torch_fidelity),
        ),
        Case(
            name="geneval-detector",
            network="Mask2Former Swin-S, 8 of 24 blocks, 2 of 6 and 3 of 9 layers",
            published="transformers: processor, network, post-processing",
            make=detection,
            divisor=4,
        ),
        Case(
            name="imagereward",
            network="ViT-L/16, 3 of 24 and 2 of 12 layers",
            published="its `score`, in transformers' modules",
            make=image_reward,
        ),
    )
