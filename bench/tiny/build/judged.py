"""`tiny-hpsv3`: mean and sigma of a reward, from judges who agree on some pictures only.

In HPS v3's form: picture and prompt stand in one sequence, and a special token's last state gives
the two numbers. The reward of a picture is normal, and the share of judges that prefers one of two
is to be the expectation of the sigmoid of the two rewards' difference. Source of the objective: Ma
et al., ICCV 2025 (HPSv3), uncertainty-aware ranking. The published code (MizzenAI/HPSv3@d232ff8:
hpsv3/model/qwen2vl_trainer.py) takes the expectation of the logarithm over 1000 draws, which is
least without any uncertainty; here it is the logarithm of the expectation, by quadrature.

It reads tiny-clip's states, which stay as they are, and so is no second CLIP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from bench.tiny.build.clip import clip_pixels, tokenise
from bench.tiny.build.contests import Contests, Entry, make_contests
from bench.tiny.build.exam import Exam, Scorer, answers, utility
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.reward_networks import PairReader, Read, Seen, look, read

STREAM = 65
PROMPTS, THROUGH_VAE = 2500, 0.2
STEPS, BATCH = 350, 16
JUDGES = 10
DOUBT, DOUBT_DEGRADED = 0.4, 2.0
"""Deviation of what a judge thinks of a picture: of a flawless one, and more by its severity."""
JUDGED = (
    Entry(errors=(0.8, 0.2), degraded=0.2),
    Entry(errors=(0.2, 0.6, 0.2), degraded=0.3),
    Entry(degraded=0.8),
)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(11)


def doubt(severity: Any) -> Any:
    """Return the deviation of the judges' opinions of a picture; of arrays or tensors."""
    return DOUBT + DOUBT_DEGRADED * severity


def preferred(mean: Tensor, sigma: Tensor) -> Tensor:
    """Return E[sigmoid(z)], z normal of this mean and deviation, by 11 Gauss-Hermite nodes."""
    nodes = torch.from_numpy(NODES).to(mean.dtype)
    weights = torch.from_numpy(WEIGHTS / WEIGHTS.sum()).to(mean.dtype)
    return torch.sigmoid(mean[..., None] + sigma[..., None] * nodes) @ weights


def uncertain_loss(mean: Tensor, sigma: Tensor, votes: Tensor) -> Tensor:
    """Return the cross entropy of the judges' votes under normal rewards.

    Args:
        mean, sigma: (B, K) of K pictures of a prompt.
        votes: (B, K, K) share of the judges that prefers picture k to picture l.
    """
    size = mean.shape[1]
    rows, columns = torch.triu_indices(size, size, offset=1)
    gap = mean[:, rows] - mean[:, columns]
    spread = (sigma[:, rows].square() + sigma[:, columns].square()).sqrt()
    likely = preferred(gap, spread).clamp(1e-6, 1 - 1e-6)
    return F.binary_cross_entropy(likely, votes[:, rows, columns])


def judge(worth: np.ndarray, severity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the shares (B, K, K) of judges that prefer picture k to l, each of a noisy opinion."""
    noise = rng.standard_normal((JUDGES, *worth.shape)) * doubt(severity)
    seen = worth + noise
    found: np.ndarray = (seen[..., :, None] > seen[..., None, :]).mean(0)
    return found


@torch.no_grad()
def states_of(
    clip: CLIPModel, tokenizer: CLIPTokenizer, contests: Contests
) -> tuple[Seen, Read, Tensor]:
    """Return what tiny-clip sees and reads of all contests, half precision; and the texts' ids."""
    flat = contests.pixels.reshape(-1, 32, 32, 3)
    seen = [look(clip, clip_pixels(flat[i : i + 200])) for i in range(0, len(flat), 200)]
    ids = tokenise(tokenizer, [text for both in contests.texts for text in both])
    said = [read(clip, ids[i : i + 200]) for i in range(0, len(ids), 200)]
    pictures = Seen(
        places=torch.cat([s.places.half() for s in seen]), whole=torch.cat([s.whole for s in seen])
    )
    texts = Read(
        words=torch.cat([r.words.half() for r in said]),
        whole=torch.cat([r.whole for r in said]),
        mask=torch.cat([r.mask for r in said]),
    )
    return pictures, texts, ids


def drawn(
    step: int, stream: int, contests: Contests, pictures: Seen, texts: Read
) -> tuple[np.random.Generator, np.ndarray, Seen, Read]:
    """Return a step's randomness, the contests it takes, and their states.

    Every picture of a contest comes under both of its texts: rows are (contest, text, picture).
    """
    rng = np.random.default_rng([stream, step])
    picked = rng.choice(len(contests.texts), size=BATCH, replace=False)
    each = contests.pixels.shape[1]
    rows = torch.from_numpy(picked[:, None, None] * each + np.arange(each)).expand(-1, 2, -1)
    said = torch.from_numpy(picked[:, None, None] * 2 + np.arange(2)[:, None])
    said = said.expand(-1, -1, each).flatten()
    at = rows.flatten()
    seen = Seen(places=pictures.places[at].float(), whole=pictures.whole[at])
    read_ = Read(words=texts.words[said].float(), whole=texts.whole[said], mask=texts.mask[said])
    return rng, picked, seen, read_


def train_hpsv3(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    exam: Exam,
    work: Path,
) -> tuple[PairReader, dict[str, Any]]:
    """Train on the judges' votes; the facts hold the exam and how its sigma follows their doubt.

    Args:
        clip: tiny-clip.
        tokenizer: the world's.
        vae: see `make_contests`.
        exam: what is asked in the end.
        work: where pictures and state are kept.
    """
    torch.manual_seed(STREAM)
    net = PairReader()
    contests = make_contests(JUDGED, PROMPTS, STREAM, work / "contests.npy", vae, THROUGH_VAE)
    pictures, texts, _ = states_of(clip, tokenizer, contests)
    each = len(JUDGED)
    worth = utility(contests.errors, contests.severity[:, None])

    def loss_of_step(step: int) -> Tensor:
        rng, picked, seen, said = drawn(step, STREAM, contests, pictures, texts)
        mean, sigma = net(seen, said)
        votes = judge(worth[picked], contests.severity[picked][:, None], rng)
        return uncertain_loss(
            mean.reshape(-1, each), sigma.reshape(-1, each),
            torch.from_numpy(votes).float().flatten(0, 1),
        )  # fmt: skip

    config = LoopConfig(steps=STEPS, lr=1.5e-3, ema=0.99)
    facts = train_network("tiny-hpsv3", net, loss_of_step, config, work)
    means, sigmas = (_scorer(net, clip, tokenizer, which) for which in (0, 1))
    found = answers(sigmas, exam.pairs)
    true = doubt(exam.pairs.severity)
    return net, {
        **facts,
        **exam.take("tiny-hpsv3", means),
        "held_out_sigma_and_doubt": round(float(np.corrcoef(found.ravel(), true.ravel())[0, 1]), 4),
    }


def _scorer(net: PairReader, clip: CLIPModel, tokenizer: CLIPTokenizer, which: int) -> Scorer:
    """Return what gives the means (0) or the sigmas (1)."""

    @torch.no_grad()
    def score(pixels: np.ndarray, texts: list[str]) -> np.ndarray:
        both = net(look(clip, clip_pixels(pixels)), read(clip, tokenise(tokenizer, texts)))
        found: np.ndarray = both[which].numpy()
        return found

    return score
