from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from bench.api.errors import PrerequisiteError, UsageError
from bench.backbones.base import Backbone
from bench.data.images import encode_pixels, resize_and_crop
from bench.data.kinds import kind_module
from bench.data.labels import read_comparisons
from bench.data.on_disk import PairsOnDisk
from bench.data.readers import ImageReader
from bench.generation.checkpoint import CheckpointRef
from bench.store import Store
from bench.training.randomness import coin
from methods.diffusion_kto import DiffusionKTO
from methods.sft import SFT

CPU = torch.device("cpu")
SIZE = 32


def picture(number: int, size: tuple[int, int] = (40, 36)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


PICKS = [  # caption, label_0, uids of the two images
    ("a red circle", 1.0, "a", "b"),
    ("a blue square", 0.0, "c", "d"),
    ("two red circles", 0.5, "e", "f"),
    ("a red circle and a blue square", 0.0, "a", "g"),
    ("a red circle", 1.0, "b", "h"),
]


def pick_a_pic(folder: Path) -> Path:
    """A Pick-a-Pic v2 of five rows in two row groups, with the columns of the real one."""
    names = sorted({uid for row in PICKS for uid in row[2:]})
    bytes_of = {uid: png(picture(number)) for number, uid in enumerate(names)}
    table = pa.table(
        {
            "caption": [row[0] for row in PICKS],
            "label_0": [row[1] for row in PICKS],
            "label_1": [1.0 - row[1] for row in PICKS],
            "image_0_uid": [row[2] for row in PICKS],
            "image_1_uid": [row[3] for row in PICKS],
            "jpg_0": [bytes_of[row[2]] for row in PICKS],
            "jpg_1": [bytes_of[row[3]] for row in PICKS],
            "has_label": [True] * len(PICKS),
        }
    )
    (folder / "data").mkdir(parents=True)
    pq.write_table(table, folder / "data/train-00000-of-00001.parquet", row_group_size=3)
    return folder


def settings(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "resolution": SIZE, **more}


def expected_latents(backbone: Backbone, image: Image.Image, *, flip: bool) -> torch.Tensor:
    cut = np.asarray(resize_and_crop(image, SIZE))
    pixels = (cut[:, ::-1] if flip else cut).copy()
    unit = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return backbone.encode_images(unit)[0]


def test_pick_a_pic_from_its_parquet_files(
    tmp_path: Path, store: Store, ref: CheckpointRef, backbone: Backbone
) -> None:
    folder = pick_a_pic(tmp_path / "picks")
    made = kind_module("labelled").build(
        store, ref, settings(folder, posterior="mean"), device="cpu"
    )
    source = PairsOnDisk(made)
    kept = [row for row in PICKS if row[1] != 0.5]
    assert [row.prompt for row in source.rows] == [row[0] for row in kept]
    assert source.report["ties"] == 1 and source.report["rows"] == 5
    assert source.report["over_length"] is not None
    batch = source.batch(range(4), CPU)
    assert batch.degraded is None and batch.label is None and batch.loser is not None
    names = sorted({uid for row in PICKS for uid in row[2:]})
    flips = []
    for n, (_, label, first, second) in enumerate(kept):
        best, worst = (first, second) if label == 1.0 else (second, first)
        for side, uid, found in (
            ("flip-winner", best, batch.winner[n]),
            ("flip-loser", worst, batch.loser[n]),
        ):
            flips.append(coin(0, side, n))
            image = picture(names.index(uid))
            wanted = expected_latents(backbone, image, flip=flips[-1])
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
            other = expected_latents(backbone, image, flip=not flips[-1])
            assert not torch.allclose(found, other, atol=1e-3)
    assert len(set(zip(flips[::2], flips[1::2], strict=True))) > 1  # independent of each other


def test_the_hub_cache_is_read_offline(
    tmp_path: Path, store: Store, ref: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("huggingface_hub._snapshot_download.HF_HUB_CACHE", str(home), raising=False)
    wanted = {"hub": "someone/picks", "resolution": SIZE}
    labelled = kind_module("labelled")
    with pytest.raises(PrerequisiteError, match="hf download --repo-type dataset someone/picks"):
        labelled.identity(store, ref, wanted)
    root = home / "datasets--someone--picks"
    plain = pick_a_pic(tmp_path / "picks")
    data = (plain / "data/train-00000-of-00001.parquet").read_bytes()
    blob = root / "blobs" / hashlib.sha256(data).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(data)
    commit = "0" * 40
    link = root / "snapshots" / commit / "data/train-00000-of-00001.parquet"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(commit)
    # contents, not places, are in the identity
    assert labelled.identity(store, ref, wanted) == labelled.identity(store, ref, settings(plain))


def folder_of(tmp_path: Path, rows: list[dict[str, Any]], name: str = "pairs.csv") -> Path:
    folder = tmp_path / "set"
    folder.mkdir(exist_ok=True)
    for number in range(6):
        picture(number).save(folder / f"{number}.png")
    if name.endswith(".csv"):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_winners_alone_are_a_set(tmp_path: Path, store: Store, ref: CheckpointRef) -> None:
    rows = [{"text": "a red circle", "image": "0.png"}, {"text": "a square", "image": "1.png"}]
    folder = folder_of(tmp_path, rows, "rows.jsonl")
    source = PairsOnDisk(kind_module("labelled").build(store, ref, settings(folder), device="cpu"))
    batch = source.batch([1, 0], CPU)
    assert batch.loser is None and batch.label is None and source.labels is None
    assert batch.winner.shape[0] == 2
    from bench.training.checks import require_fields
    from methods.diffusion_dpo import DiffusionDPO

    require_fields(SFT(), batch)
    with pytest.raises(UsageError, match="have no losers"):
        require_fields(DiffusionDPO(), batch)
    with pytest.raises(UsageError, match="cannot be shuffled"):
        PairsOnDisk(source.artifact, shuffle_seed=1).batch([0], CPU)


def test_single_images_of_pairs_have_labels(
    tmp_path: Path, store: Store, ref: CheckpointRef
) -> None:
    """An image that was preferred at least once is desirable, wherever else it lost."""
    folder = pick_a_pic(tmp_path / "picks")
    made = kind_module("labelled").build(store, ref, settings(folder, unpaired=True), device="cpu")
    source = PairsOnDisk(made)
    assert source.labels is not None
    # won: a, d, g, b (lost to a, beat h); never: c, h
    assert sorted(source.labels.tolist()) == [-1, -1, 1, 1, 1, 1]
    assert source.report["labels"] == {"+1": 4, "-1": 2}
    batch = source.batch(range(6), CPU)
    assert batch.label is not None and batch.label.tolist() == source.labels.tolist()
    from bench.training.randomness import Sample
    from bench.training.single import for_method
    from bench.training.source import Visits, read_visits

    visits = Visits(seed=0, step=0, samples=[Sample(n, 0) for n in range(6)])
    shown = read_visits(for_method(source, DiffusionKTO()), visits, CPU)
    assert shown.label is not None
    assert shown.label.tolist() == source.labels[shown.index.numpy()].tolist()


def test_a_published_list_of_uids_selects_and_orders(tmp_path: Path) -> None:
    rows = [{"uid": f"000{n}", "prompt": f"prompt {n}"} for n in range(4)]
    folder = folder_of(tmp_path, rows)
    patterns = ("{uid}.png", "fake/{uid}.png")
    found, counts = read_comparisons(
        [folder / "pairs.csv"], uids=["0003", "0001"], patterns=patterns
    )
    assert [row.caption for row in found] == ["prompt 3", "prompt 1"]
    assert found[0].winner.file == folder / "0003.png"  # leading zeros kept
    assert found[0].loser is not None and found[0].loser.file == folder / "fake/0003.png"
    assert counts["rows"] == 2
    with pytest.raises(UsageError, match=r"1 of 2 uids are not in the table.*0009"):
        read_comparisons([folder / "pairs.csv"], uids=["0001", "0009"], patterns=patterns)


def test_all_faults_are_listed_before_anything_starts(
    tmp_path: Path, store: Store, ref: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"caption": "a red circle", "image_0": "0.png", "image_1": "1.png", "label_0": "1"}
    folder = folder_of(tmp_path, [good, good | {"image_1": "9.png"}, good | {"image_0": "2.png"}])
    (folder / "2.png").write_bytes(png(picture(2))[:60])

    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("bench.data.labelled.load_pipeline_backbone", unwanted)
    labelled = kind_module("labelled")
    with pytest.raises(UsageError) as caught:
        labelled.build(store, ref, settings(folder), device="cpu")
    said = str(caught.value)
    assert "2 rows cannot be used" in said
    assert f"{folder / 'pairs.csv'}, row 2: image {folder / '9.png'}: the file is missing" in said
    assert f"row 3: image {folder / '2.png'}: broken: " in said
    folder_of(tmp_path, [good, good | {"label_0": "2"}, good | {"caption": " "}])
    with pytest.raises(UsageError, match=r"row 2: label_0 is '2'; (.|\n)*row 3: the caption is"):
        labelled.identity(store, ref, settings(folder))
    folder_of(tmp_path, [good | {"label_0": "0.5"}])
    with pytest.raises(UsageError, match="no row is left of 1, 1 of them ties"):
        labelled.identity(store, ref, settings(folder))
    with pytest.raises(UsageError, match=r"'posterier'.*'posterior'"):
        labelled.identity(store, ref, settings(folder, posterier="mean"))
    with pytest.raises(UsageError, match="give one of path"):
        labelled.identity(store, ref, {})
    with pytest.raises(PrerequisiteError, match="holds no table"):
        labelled.identity(store, ref, settings(tmp_path / "nowhere"))


def test_a_changed_image_is_another_identity(
    tmp_path: Path, store: Store, ref: CheckpointRef
) -> None:
    rows = [{"caption": "a red circle", "winner": "0.png", "loser": "1.png"}]
    folder = folder_of(tmp_path, rows)
    labelled = kind_module("labelled")
    one = labelled.identity(store, ref, settings(folder))
    assert one == labelled.identity(store, ref, settings(folder))
    picture(5).save(folder / "1.png")
    assert one != labelled.identity(store, ref, settings(folder))


def test_a_link_is_hashed_by_what_it_leads_to_whatever_that_is_called(
    tmp_path: Path, store: Store, ref: CheckpointRef
) -> None:
    rows = [{"caption": "a red circle", "winner": "0.png", "loser": "1.png"}]
    folder = folder_of(tmp_path, rows)
    labelled = kind_module("labelled")
    one = labelled.identity(store, ref, settings(folder))
    elsewhere = (folder / "1.png").rename(tmp_path / ("0" * 64))
    (folder / "1.png").symlink_to(elsewhere)
    assert one == labelled.identity(store, ref, settings(folder))
    picture(5).save(elsewhere, format="PNG")
    assert one != labelled.identity(store, ref, settings(folder))


def test_resize_and_crop_keeps_the_middle() -> None:
    wide = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (50, 1, 3)))
    cut = np.asarray(resize_and_crop(wide, 50))
    assert cut.shape == (50, 50, 3)
    assert cut[0, :, 0].tolist() == list(range(25, 75))  # already as high as asked: no resampling
    small = np.asarray(resize_and_crop(wide, 25))
    assert small.shape == (25, 25, 3)
    assert abs(float(small[0, 12, 0]) - 49.5) < 1.5
    for mode in ("L", "CMYK", "RGBA", "P"):  # and all become three channels on reading
        assert resize_and_crop(wide.convert(mode).convert("RGB"), 50).size == (50, 50)


def test_posterior_samples_are_the_mean_and_counted_noise(backbone: Backbone) -> None:
    pixels = np.stack([np.asarray(picture(n, (SIZE, SIZE))) for n in range(3)])
    mean = encode_pixels(backbone, pixels, posterior="mean", keys=[0, 1, 2], seed=0)
    drawn = encode_pixels(backbone, pixels, posterior="sample", keys=[0, 1, 2], seed=0)
    alone = encode_pixels(backbone, pixels[2:], posterior="sample", keys=[2], seed=0)
    torch.testing.assert_close(alone[0], drawn[2], rtol=1e-4, atol=1e-5)
    unit = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    vae: Any = backbone.vae  # type: ignore[attr-defined]
    with torch.no_grad():
        std = vae.encode(unit).latent_dist.std * backbone.scaling_factor
    noise = (drawn - mean) / std
    assert noise.numel() > 500
    assert float(noise.std()) == pytest.approx(1.0, abs=0.15)
    other = encode_pixels(backbone, pixels, posterior="sample", keys=[0, 1, 2], seed=1)
    assert not torch.allclose(other, drawn, rtol=0, atol=1e-9)


def test_images_of_any_kind_become_rgb(tmp_path: Path) -> None:
    from bench.data.readers import ImageRef

    reader = ImageReader()
    for mode in ("L", "CMYK"):
        file = tmp_path / f"{mode}.tiff"
        picture(1).convert(mode).save(file)
        assert reader.pixels(ImageRef(file=file), SIZE).shape == (SIZE, SIZE, 3)
    frames = [picture(n) for n in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    one = ImageRef(file=tmp_path / "moving.gif")
    assert reader.fault(one) == "animated: 3 frames; expected one"
    one = ImageRef(file=tmp_path / "L.tiff")
    assert np.array_equal(reader.pixels(one, SIZE)[:, ::-1], reader.pixels(one, SIZE, flip=True))


def test_pairs_are_of_the_size_that_the_checkpoint_was_made_for(
    tmp_path: Path, store: Store, ref: CheckpointRef
) -> None:
    """512 pixels, whatever the checkpoint, took half an hour for 24 pairs of 32."""
    from bench.generation.parts import native_side
    from bench.tiny.assets import path_of

    for name in ("tiny-sd", "tiny-sdxl", "tiny-sana", "tiny-sd3"):
        assert native_side(path_of(name)) == 32
    row = {"caption": "a red circle", "winner": "0.png", "loser": "1.png"}
    folder = folder_of(tmp_path, [row])
    labelled = kind_module("labelled")
    side = native_side(ref.folder())
    found = labelled.identity(store, ref, {"path": str(folder)})
    assert found["resolution"] == side
    assert found == labelled.identity(store, ref, {"path": str(folder), "resolution": side})
