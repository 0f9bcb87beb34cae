"""FID's Inception-v3, its inputs and its protocols, on random weights and made pictures."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.api import ImageRecord, ImageSet, Prompt, PromptSuite
from bench.api.errors import CorruptArtifactError, PrerequisiteError, ProtocolError, UsageError
from bench.api.registry import BACKENDS
from evaluators.fid import protocols
from evaluators.models import inception_weights as weights
from evaluators.models.inception import CleanFid, Gigagan30K, PytorchFid
from evaluators.models.inception_input import network_input, prepare
from evaluators.models.inception_network import FidInception


def random_network(*, classifier, seed=0):
    torch.manual_seed(seed)
    network = FidInception(classifier=classifier)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network():
    return random_network(classifier=True)


@pytest.fixture(scope="module")
def weights_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    torch.save(network.state_dict(), path)
    return path


def test_it_is_torchvisions_network_with_other_pools(network, monkeypatch):
    from torch.nn import functional
    from torchvision.models import inception

    theirs = inception.Inception3(num_classes=1008, aux_logits=False, init_weights=False).eval()
    theirs.load_state_dict(network.state_dict(), strict=True)
    x = torch.randn(2, 3, 107, 107)
    plain = functional.avg_pool2d
    grids = []

    def pool(x, **options):
        grids.append(x.shape)
        if len(grids) == 9:  # the last block's
            return functional.max_pool2d(x, **options)
        return plain(x, **options, count_include_pad=False)

    features = []
    theirs.avgpool.register_forward_hook(lambda *a: features.append(a[2].flatten(1)))
    ours, logits = network(x)
    with torch.no_grad():
        theirs(x)
        monkeypatch.setattr(inception.F, "avg_pool2d", pool)
        scores = theirs(x)
    assert (ours - features[1]).abs().max() < 1e-5 * ours.abs().max()
    assert len(grids) == 9 and ours.shape == (2, 2048)
    # class scores are without the bias
    assert torch.allclose(logits + network.fc.bias, scores, atol=1e-4)
    # and torchvision's own pools would be visible
    assert (ours - features[0]).abs().max() > 1e-3 * ours.abs().max()


def test_every_format_of_the_weights_gives_the_same_network(network, weights_file, tmp_path):
    assert torch.equal(
        weights.load(weights_file).Mixed_7c.branch1x1.conv.weight,
        network.Mixed_7c.branch1x1.conv.weight,
    )
    state = weights.read_state(weights_file)
    assert not any(name.endswith("num_batches_tracked") for name in state)
    ours = tmp_path / weights.FILE
    save_file(state, ours)
    assert weights.weights_sha256(ours) == weights.weights_sha256(weights_file)
    pools_only = {k: v for k, v in state.items() if not k.startswith("fc.")}
    save_file(pools_only, tmp_path / "pools.safetensors")
    assert weights.load(tmp_path / "pools.safetensors").fc is None


def test_broken_weights_are_refused(weights_file, tmp_path, monkeypatch):
    state = weights.read_state(weights_file)
    name = "Mixed_6a.branch3x3.conv.weight"
    for broken in (
        {k: v for k, v in state.items() if k != name},
        {**state, name: state[name][1:]},
        {**state, "aux.weight": torch.zeros(1)},
    ):
        save_file(broken, tmp_path / "broken.safetensors")
        with pytest.raises(CorruptArtifactError, match="does not hold FID's Inception"):
            weights.load(tmp_path / "broken.safetensors")
    torch.save({"state": print}, tmp_path / "code.pth")
    with pytest.raises(CorruptArtifactError):
        weights.read_state(tmp_path / "code.pth")
    (tmp_path / "short.safetensors").write_bytes(b"1234")
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        weights.read_state(tmp_path / "short.safetensors")
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="assets fetch fid-inception"):
        CleanFid().identity()


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


SIZES = [(256, 256), (299, 299), (512, 300), (32, 32), (1, 7)]


@pytest.mark.parametrize("size", SIZES)
def test_the_rule_of_pytorch_fid_is_torchs_interpolation(size):
    p = picture(*size)
    x = torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255
    theirs = torch.nn.functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
    ours = network_input(p, "pytorch-fid")
    assert np.abs(ours - (2 * theirs[0] - 1).numpy()).max() < 2e-5
    assert ours.shape == (3, 299, 299) and ours.dtype == np.float32


@pytest.mark.parametrize("size", SIZES)
def test_the_clean_rule_is_clean_fids(size):
    resize = pytest.importorskip("cleanfid.resize")
    theirs = resize.build_resizer("clean")(picture(*size))
    ours = network_input(picture(*size), "clean")
    assert (ours == (np.moveaxis(theirs, 2, 0) - 128) / 128).all()


def test_the_rule_of_tensorflow_puts_pixels_at_multiples_of_the_scale():
    side = 598  # two output pixels for each input one at 299 x 299: every second one is taken
    p = picture(side, side)
    assert (network_input(p, "tensorflow") * 128 + 128 == np.moveaxis(p[::2, ::2], 2, 0)).all()
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[:, None], 100, axis=1)[..., None].repeat(3, 2)
    found = network_input(ramp, "tensorflow")[0, :, 0] * 128 + 128
    assert found == pytest.approx(np.minimum(np.arange(299) * (100 / 299), 99), abs=1e-4)


@pytest.mark.parametrize("rule", ["clean", "pytorch-fid", "tensorflow"])
def test_constant_pictures_stay_constant(rule):
    flat = np.full((40, 60, 3), 64, np.uint8)
    expected = 2 * 64 / 255 - 1 if rule == "pytorch-fid" else -0.5
    assert network_input(flat, rule) == pytest.approx(expected, abs=1e-6)


def test_resize_rules_and_jpeg_make_a_visible_difference():
    p = picture(512, 512)
    clean, pytorch, tensorflow = (
        network_input(p, rule) for rule in ("clean", "pytorch-fid", "tensorflow")
    )
    for a, b in ((clean, pytorch), (clean, tensorflow), (pytorch, tensorflow)):
        assert np.abs(a - b).mean() > 0.05
    squashed = prepare(p, "squash-256-jpeg75")
    plain = np.asarray(Image.fromarray(p).resize((256, 256)))
    buffer = io.BytesIO()
    Image.fromarray(plain).save(buffer, "JPEG", quality=75)
    assert (squashed == np.asarray(Image.open(buffer))).all()
    assert np.abs(squashed.astype(int) - plain).mean() > 1


def test_preparations():
    p = picture(300, 500)
    middle = np.asarray(Image.fromarray(p[:, 100:400]).resize((256, 256), Image.Resampling.LANCZOS))
    assert (prepare(p, "centre-256-lanczos") == middle).all()
    assert prepare(p, "none") is p
    with pytest.raises(UsageError, match="clean"):
        network_input(p, "cleam")
    with pytest.raises(UsageError, match="squash-256-jpeg75"):
        prepare(p, "squash-256-jpeg7")


def image_set(root, pictures, kind="png"):
    records = []
    for i, p in enumerate(pictures):
        Image.fromarray(p).save(root / f"{i}.{kind}")
        records.append(
            ImageRecord(prompt_id=str(i), ordinal=0, path=f"{i}.{kind}", sha256="", seed=0)
        )
    prompts = tuple(Prompt(id=str(i), text=f"text {i}", tag="image") for i in range(len(records)))
    suite = PromptSuite(name="pictures", version="1", prompts=prompts)
    return ImageSet(
        root=root, suite=suite, images_per_prompt=1, records=tuple(records), identity="x"
    )


def test_the_back_end_reads_features_and_scores_by_their_own_rules(
    weights_file, network, tmp_path, monkeypatch
):
    monkeypatch.setenv(weights.VARIABLE, str(weights_file))
    pictures = [picture(40, 40, seed) for seed in range(2)]
    images = image_set(tmp_path, pictures)
    found = [arrays for _, arrays in PytorchFid().predict(images, {}, batch_size=2)]
    for rule, key, place in (("pytorch-fid", "features", 0), ("tensorflow", "logits", 1)):
        x = torch.from_numpy(np.stack([network_input(p, rule) for p in pictures]))
        with torch.no_grad():
            expected = network(x)[place].numpy()
        assert np.stack([f[key] for f in found]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    identity = PytorchFid().identity()
    assert identity["protocol"]["resize"] == "pytorch-fid"
    assert identity["weights"] == weights.weights_sha256(weights_file)


@pytest.mark.slow
def test_batch_size_changes_no_feature(weights_file, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, str(weights_file))
    images = image_set(tmp_path, [picture(40, 40, seed) for seed in range(3)])
    one, all_ = (
        np.stack([a["features"] for _, a in CleanFid().predict(images, {}, batch_size=size)])
        for size in (1, 3)
    )
    assert np.abs(one - all_).max() < 1e-6 * np.abs(all_).max() * 10


def test_lossy_files_are_refused_where_the_protocol_says_png(tmp_path):
    lossy = image_set(tmp_path, [picture(40, 40)], "jpg")
    with pytest.raises(ProtocolError, match=r"gigagan-30k measures PNG.*0\.jpg \(JPEG\)"):
        next(iter(Gigagan30K().predict(lossy, {})))


def test_another_number_of_images_is_refused():
    named = protocols.BKSDM_30K
    named.require_counts(measured=30_000, reference=40_504)
    with pytest.raises(ProtocolError, match="5,000 measured images instead of 30,000"):
        named.require_counts(measured=5_000, reference=40_504)
    with pytest.raises(ProtocolError, match="reference images instead of 40,504"):
        named.require_counts(reference=30_000)
    protocols.CUSTOM_CLEAN.require_counts(measured=3, reference=5)


def test_protocols_are_unlike_and_each_has_a_back_end():
    identities = [str(p.identity()) for p in protocols.PROTOCOLS.values()]
    assert len(set(identities)) == len(identities)
    for name, found in protocols.PROTOCOLS.items():
        backend = BACKENDS.load(protocols.backend_of(found))
        assert backend.protocol is found
        assert name in found.says() and found.resize in found.says()
        changed = dataclasses.replace(found, formats=("WEBP",))
        assert changed.identity() != found.identity()
    assert protocols.protocol("custom").resize == "clean"
    with pytest.raises(UsageError, match="bksdm-30k"):
        protocols.protocol("bksdm-3k")


def test_a_table_says_under_which_protocol_its_features_were_made():
    from bench.report.words import protocol_lines

    identity = {
        "backend": "fid-bksdm-30k",
        "version": 1,
        "protocol": protocols.BKSDM_30K.identity(),
    }
    lines = protocol_lines(
        {
            "suite": {"name": "s", "version": "1", "prompts": 2, "sha256": "0" * 64},
            "evaluator": {"name": "fid", "version": 1, "metric": "fid", "upstream": "u"},
            "limit": None,
            "images_per_prompt": 1,
            "generation": None,
            "backends": {"features": identity},
            "reference": None,
            "deviations": [],
        }
    )
    said = [line for line in lines if line.startswith("features under bksdm-30k")]
    assert "squash-256-jpeg75" in said[0] and "resize pytorch-fid" in said[0]
