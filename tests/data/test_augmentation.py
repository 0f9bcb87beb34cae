"""Flips and posterior samples drawn at every visit, as the published trainers draw them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.api.errors import CorruptArtifactError, UsageError
from bench.backbones.base import Backbone
from bench.data.augmentation import Draws
from bench.data.images import encode_moments, encode_pixels
from bench.data.kinds import image_draws, kind_module
from bench.data.on_disk import PairsOnDisk
from bench.data.pairing import RePaired
from bench.generation.checkpoint import CheckpointRef
from bench.store import Artifact, Store
from bench.training.randomness import CounterStream, DataOrder, Sample
from bench.training.source import Visits, controlled, read_at, read_visits
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from tests.data.test_labelled import pick_a_pic, settings
from tests.data.test_on_disk import ROWS, put
from tests.training.nets import LATENT, tiny_backbone
from tests.training.runs import exported, rows, run

CPU = torch.device("cpu")
AT = Visits(seed=3, step=2, samples=[Sample(n, 0) for n in (2, 0, 2, 1)])


def tensors(*, std: float = 0.3, flips: bool = True) -> dict[str, np.ndarray]:
    normal = np.random.default_rng(0).standard_normal
    made = {}
    for side in ("winner", "loser"):
        for name in (side, f"{side}.flipped") if flips else (side,):
            made[name] = normal((ROWS, *LATENT), np.float32)
            made[f"{name}.std"] = np.full((ROWS, *LATENT), std, np.float32)
    return made


def a_set(store: Store, name: str = "visited", **options: Any) -> PairsOnDisk:
    return PairsOnDisk(put(store, name, latents=tensors(**options)))


def test_a_visit_draws_by_seed_stream_step_and_sample(store: Store) -> None:
    source, latents = a_set(store), tensors()
    batch = read_visits(source, AT, CPU)
    assert batch.loser is not None
    for side, found in (("winner", batch.winner), ("loser", batch.loser)):
        coins = CounterStream(3, f"flip-{side}", 2).uniform(AT.samples) < 0.5
        noise = CounterStream(3, f"posterior-{side}", 2).normal(AT.samples, LATENT)
        for n, row in enumerate(AT.indices):
            mean = latents[f"{side}.flipped" if coins[n] else side][row]
            torch.testing.assert_close(found[n], torch.from_numpy(mean) + 0.3 * noise[n])
    alone = replace(AT, samples=AT.samples[1:2])
    assert torch.equal(read_visits(source, alone, CPU).winner[0], batch.winner[1])
    later = read_visits(source, replace(AT, step=3), CPU)
    assert not torch.equal(later.winner, batch.winner)


def test_sides_are_flipped_independently_and_evenly(store: Store) -> None:
    source = a_set(store, std=0.0)
    latents = tensors(std=0.0)
    counts: dict[tuple[bool, bool], int] = {}
    for step in range(500):
        at = Visits(seed=0, step=step, samples=[Sample(1, 0)])
        batch = read_visits(source, at, CPU)
        assert batch.loser is not None
        pair = (
            torch.equal(batch.winner[0], torch.from_numpy(latents["winner.flipped"][1])),
            torch.equal(batch.loser[0], torch.from_numpy(latents["loser.flipped"][1])),
        )
        counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 4 and all(85 <= count <= 165 for count in counts.values())  # 125 ± 4 SD


def test_without_spread_and_flips_a_visit_finds_what_was_drawn_once(store: Store) -> None:
    latents = tensors(std=0.0, flips=False)
    once = PairsOnDisk(put(store, "once", latents={s: latents[s] for s in ("winner", "loser")}))
    visited = a_set(store, "visited", std=0.0, flips=False)
    one, other = (read_visits(source, AT, CPU) for source in (once, visited))
    assert one.loser is not None and other.loser is not None
    assert torch.equal(one.winner, other.winner) and torch.equal(one.loser, other.loser)


def test_a_set_that_is_drawn_from_is_never_read_without_a_visit(store: Store) -> None:
    source = a_set(store)
    with pytest.raises(UsageError, match=r"drawn anew at every visit.*read_visits"):
        source.batch([0], CPU)
    shuffled = controlled(read_visits(source, AT, CPU), shuffle_seed=1)
    own = PairsOnDisk(source.artifact, shuffle_seed=1)
    assert torch.equal(shuffled.winner, read_visits(own, AT, CPU).winner)
    other = read_at(source, AT.indices, AT, CPU, stream="other-")
    assert not torch.equal(other.winner, read_visits(source, AT, CPU).winner)


def test_a_re_paired_loser_is_a_drawn_winner_of_another_pair(store: Store) -> None:
    source = a_set(store)
    same = read_visits(RePaired(pairs=source, pairing="one-image"), AT, CPU)
    assert same.loser is not None and torch.equal(same.loser, same.winner)
    lent = read_visits(RePaired(pairs=source, pairing="not-paired"), AT, CPU)
    assert lent.loser is not None
    assert torch.equal(lent.winner, read_visits(source, AT, CPU).winner)
    assert not torch.allclose(lent.loser, lent.winner)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"winner.flip": 1}, "it holds .*winner.flip, .*; expected winner"),
        ({"loser.std": None}, "it holds .*; expected winner.* loser with the same"),
        ({"winner.flipped.std": np.zeros((ROWS, 1, 1, 1), np.float32)}, "expected equal shapes"),
        ({"winner.std": np.full((ROWS, *LATENT), np.nan, np.float32)}, "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    store: Store, broken: dict[str, Any], message: str
) -> None:
    latents = tensors()
    for name, value in broken.items():
        if value is None:
            del latents[name]
        else:
            latents[name] = latents["winner"] if isinstance(value, int) else value
    with pytest.raises(CorruptArtifactError, match=message):
        PairsOnDisk(put(store, latents=latents))


@pytest.mark.parametrize("method", [DiffusionDPO(kappa=20.0), DDSPO(kappa=20.0)])
def test_interruptions_and_micro_batches_do_not_change_the_draws(
    store: Store, tmp_path: Path, method: Any
) -> None:
    backbone, pairs = tiny_backbone(tmp_path / "net"), a_set(store)
    straight = run(backbone, tmp_path / "straight", method, pairs=pairs, steps=4, save_every=2)

    class StopError(Exception):
        pass

    def stop(step: int, steps: int, row: object) -> None:
        if step == 3:
            raise StopError

    with pytest.raises(StopError):
        options = {"progress": stop}
        run(backbone, tmp_path / "b", method, pairs=pairs, options=options, steps=4, save_every=2)
    resumed = run(backbone, tmp_path / "b", method, pairs=pairs, steps=4, save_every=2)
    for name, tensor in exported(straight).items():
        assert torch.equal(tensor, exported(resumed)[name]), name
    one, eight = (
        run(
            backbone,
            tmp_path / f"m{micro}",
            method,
            pairs=pairs,
            steps=1,
            batch=8,
            micro_batch=micro,
        )
        for micro in (8, 1)
    )
    for key in ("loss", "grad_norm"):
        assert rows(one)[0][key] == pytest.approx(rows(eight)[0][key], rel=1e-5)


def test_moments_are_what_samples_are_drawn_from(backbone: Backbone) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    mean, std = encode_moments(backbone, pixels, posterior="sample")
    keys = [4, 5, 6]
    drawn = encode_pixels(backbone, pixels, posterior="sample", keys=keys, seed=1)
    noise = CounterStream(1, "posterior", 0).normal([Sample(k, 0) for k in keys], mean.shape[1:])
    assert std is not None and float(std.min()) > 0.0
    torch.testing.assert_close(drawn, mean + std * noise, rtol=1e-4, atol=1e-5)
    plain, none = encode_moments(backbone, pixels, posterior="mean")
    assert none is None
    torch.testing.assert_close(plain, mean, rtol=1e-4, atol=1e-5)


def built(store: Store, ref: CheckpointRef, folder: Path, **more: Any) -> Artifact:
    return kind_module("labelled").build(store, ref, settings(folder, **more), device="cpu")


def test_labelled_images_at_every_visit(
    tmp_path: Path, store: Store, ref: CheckpointRef, backbone: Backbone
) -> None:
    folder = pick_a_pic(tmp_path / "picks")
    made = built(store, ref, folder, augmentation="per-visit")
    source = PairsOnDisk(made)
    assert source.report["augmentation"] == "per-visit"
    assert set(source.report["latent_std"]) == {
        "winner", "winner.flipped", "loser", "loser.flipped",
    }  # fmt: skip
    # all that "once" draws by its own coins is among what a visit may find
    still = PairsOnDisk(built(store, ref, folder, posterior="mean")).batch(range(4), CPU)
    means = PairsOnDisk(built(store, ref, folder, posterior="mean", augmentation="per-visit"))
    seen = set()
    for step in range(12):
        at = Visits(seed=0, step=step, samples=[Sample(n, 0) for n in range(4)])
        batch = read_visits(means, at, CPU)
        seen |= {n for n in range(4) if torch.allclose(batch.winner[n], still.winner[n], atol=1e-5)}
    assert seen == set(range(4))
    as_is = {"posterior": "mean", "flip": False}
    once, visited = (
        built(store, ref, folder, **as_is, augmentation=a) for a in ("once", "per-visit")
    )
    assert once.id != visited.id
    assert torch.equal(
        PairsOnDisk(once).batch([0, 3], CPU).winner, PairsOnDisk(visited).batch([0, 3], CPU).winner
    )


def test_identities_of_before_are_kept_and_a_wrong_word_is_refused(
    tmp_path: Path, store: Store, ref: CheckpointRef
) -> None:
    folder, kind = pick_a_pic(tmp_path / "picks"), kind_module("labelled")
    plain = kind.identity(store, ref, settings(folder))
    assert "augmentation" not in plain
    assert plain == kind.identity(store, ref, settings(folder, augmentation="once"))
    assert plain != kind.identity(store, ref, settings(folder, augmentation="per-visit"))
    with pytest.raises(UsageError, match=r"'per-visits'.*'per-visit'"):
        kind.identity(store, ref, settings(folder, augmentation="per-visits"))


def test_what_is_drawn_in_words_and_in_disk() -> None:
    per_visit = Draws(posterior="sample", flip=True, augmentation="per-visit")
    assert per_visit.latents_per_image == 4
    assert per_visit.words() == "flips and VAE samples drawn at every visit"
    assert Draws(posterior="sample").words() == "VAE samples drawn once an image"
    assert Draws(posterior="mean").words() == "" and Draws(posterior="mean").latents_per_image == 1
    found = image_draws("labelled", {"path": "x", "posterior": "mean", "augmentation": "per-visit"})
    assert found is not None and found.latents_per_image == 2
    assert image_draws("generated", {}) is None


def test_an_epoch_visits_each_pair_with_draws_of_its_own(store: Store) -> None:
    """Stage 1 of RealAlign comes to each photograph 800 times."""
    source, order = a_set(store), DataOrder(seed=0, size=ROWS, batch=ROWS)
    first, second = (
        read_visits(source, Visits(seed=0, step=s, samples=order.samples(s)), CPU) for s in (0, 1)
    )
    for row in range(ROWS):
        one, two = (b.winner[b.index.tolist().index(row)] for b in (first, second))
        assert not torch.equal(one, two)
