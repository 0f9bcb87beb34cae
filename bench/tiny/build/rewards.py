"""`tiny-hpsv2` and `tiny-pickscore`: two scorers of unlike networks, data and objectives.

Both start from tiny-clip, as the scorers they stand for start from a CLIP ViT-H/14.

tiny-pickscore (transformers' CLIPModel, two vision layers) learns from simulated choices: of two
pictures drawn for a prompt, each with faults of its own, noisy judges prefer one, and the softmax
over their scores is to say which. A picture of another prompt competes, too, and is nearly never
chosen. Source of the objective: Kirstain et al., NeurIPS 2023, eq. 1.

tiny-hpsv2 (open_clip's CLIP, three vision layers) learns to rank, without noise: a picture above
one that is more degraded or follows the prompt less, and each picture's own text above others'.
Source of the idea: Wu et al., 2023 (HPS v2), which ranks pictures of one prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from bench.tiny.build.choices import Choices, make_choices, noisy_choice
from bench.tiny.build.clip import clip_pixels, tokenise
from bench.tiny.build.contests import Contests, Entry, make_contests
from bench.tiny.build.exam import DEGRADATION_COST, Exam, Scorer, answers, utility
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.towers import embed_pictures, embed_texts, started_from

PROMPTS = 6000
PICK_PROMPTS = 4000
THROUGH_VAE = 0.35
PICK_STREAM, HPS_STREAM = 61, 62
OTHER_PROMPT_COST = 6.0
"""What a picture of another prompt costs the judge's utility, in logits."""
JUDGES = 8
"""Who choose between two pictures; the softmax is to meet the share that chose each."""
WITHIN_WEIGHT = 4.0
"""Of pairs of one contest, which are the hard ones, against pairs of unlike prompts."""
PICK_STEPS, HPS_STEPS = 500, 300
PICK_BATCH, HPS_BATCH = 32, 24
CALIBRATION = 96
"""Pictures and texts on which neurons are chosen."""

RANKED = (Entry(), Entry(degraded=1.0, like=0), Entry(errors=(0.0, 1.0)))
"""tiny-hpsv2's pictures: right and clean, the same degraded, one of the other prompt."""
CHOSEN = (
    Entry(errors=(0.75, 0.25), degraded=0.4),
    Entry(errors=(0.3, 0.5, 0.2), degraded=0.4),
)
"""tiny-pickscore's: as two models might have drawn them."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores (B, 2, B, K) of the K pictures of contest j under the two prompts of contest i.

    Attributes:
        scores: in logits.
        errors: (B, 2, K) of contest i's pictures under its own prompts.
        severity: (B, K).
        texts: (B, 2).
    """

    scores: Tensor
    errors: Tensor
    severity: Tensor
    texts: np.ndarray

    @property
    def own(self) -> Tensor:
        """(B, 2, K): of a contest's pictures under its own prompts."""
        return self.scores.diagonal(dim1=0, dim2=2).movedim(-1, 0)


def _score(model: CLIPModel, contests: Contests, ids: Tensor, picked: np.ndarray) -> Scored:
    pixels = contests.pixels[picked]
    size, each = pixels.shape[:2]
    image = embed_pictures(model, clip_pixels(pixels.reshape(-1, *pixels.shape[2:])))
    text = embed_texts(model, ids[picked].flatten(0, 1))
    scale = model.logit_scale.exp().clamp(max=100.0)
    return Scored(
        scores=(scale * text @ image.T).reshape(size, 2, size, each),
        errors=torch.from_numpy(contests.errors[picked]).float(),
        severity=torch.from_numpy(contests.severity[picked]).float(),
        texts=np.array([contests.texts[i] for i in picked]),
    )


def choice_loss(batch: Scored, chosen: Tensor, others: Tensor) -> Tensor:
    """Return the mean of -log softmax of what was chosen, own pairs weighed more.

    Args:
        batch: with K = 2.
        chosen: (B, 2, 2) share of the judges that chose each own picture under each own prompt.
        others: (B, B, 2, 2) bool: whether own picture k was chosen, under the first prompt, against
            picture l of contest j.
    """
    own = batch.own
    first = F.cross_entropy(own.flatten(0, 1), chosen.flatten(0, 1))
    gap = own[:, None, 0, :, None] - batch.scores[:, 0, :, None, :]
    pairwise = F.softplus(torch.where(others, -gap, gap))
    apart = torch.from_numpy(batch.texts[:, None, 0] != batch.texts[None, :, 0])
    return WITHIN_WEIGHT * first + pairwise[apart].mean()


def rank_loss(batch: Scored) -> Tensor:
    """Return how far the ranks are from: the better picture above, own text and picture above.

    Of two pictures that is better which is worse in nothing and better in something. With K = 3:
    pictures 0 and 2 are flawless, of the first and of the second prompt.
    """
    own, wrong = batch.own, batch.errors
    poor = batch.severity[:, None].expand_as(wrong)
    less = (wrong[..., :, None] <= wrong[..., None, :]) & (poor[..., :, None] <= poor[..., None, :])
    unlike = (wrong[..., :, None] != wrong[..., None, :]) | (
        poor[..., :, None] != poor[..., None, :]
    )
    gap = own[..., :, None] - own[..., None, :]
    within = F.softplus(-gap)[less & unlike].mean()
    logits = batch.scores[..., (0, 2)].flatten(0, 1).flatten(1)  # (2B texts, 2B pictures)
    texts = batch.texts.reshape(-1)
    same = torch.from_numpy(texts[:, None] == texts[None, :])
    others = logits.masked_fill(same & ~torch.eye(len(texts), dtype=torch.bool), float("-inf"))
    target = torch.arange(len(texts))
    across = F.cross_entropy(others, target) + F.cross_entropy(others.T, target)
    return WITHIN_WEIGHT * within + across / 2


def pick_choices(vae: AutoencoderKL, work: Path) -> Choices:
    """Return pictures with known faults, kept in `work`: what tiny-aesthetic learns from."""
    return make_choices(noisy_choice, PROMPTS, PICK_STREAM, work / "pictures.npy", vae, THROUGH_VAE)


def clip_scorer(model: CLIPModel, tokenizer: CLIPTokenizer) -> Scorer:
    """Return what gives the logits of pictures, each under its text."""

    @torch.no_grad()
    def score(pixels: np.ndarray, texts: list[str]) -> np.ndarray:
        image = embed_pictures(model, clip_pixels(pixels))
        text = embed_texts(model, tokenise(tokenizer, texts))
        found: np.ndarray = (model.logit_scale.exp() * (image * text).sum(-1)).numpy()
        return found

    return score


def _ids(tokenizer: CLIPTokenizer, contests: Contests) -> Tensor:
    """Return token ids (N, 2, T)."""
    flat = tokenise(tokenizer, [text for both in contests.texts for text in both])
    ids: Tensor = flat.unflatten(0, (-1, 2))
    return ids


def _start(clip: CLIPModel, contests: Contests, ids: Tensor, **sizes: int) -> CLIPModel:
    pixels = clip_pixels(contests.pixels[:CALIBRATION, 0])
    return started_from(clip, pixels, ids[:CALIBRATION, 0], **sizes)


def train_pickscore(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    exam: Exam,
    work: Path,
) -> tuple[CLIPModel, dict[str, Any]]:
    """Train on simulated choices; the facts hold figures over pictures it never saw."""
    torch.manual_seed(PICK_STREAM)
    contests = make_contests(
        CHOSEN, PICK_PROMPTS, PICK_STREAM, work / "contests.npy", vae, THROUGH_VAE
    )
    ids = _ids(tokenizer, contests)
    model = _start(clip, contests, ids, vision_layers=2, vision_neurons=384, text_neurons=384)

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([PICK_STREAM, step])
        picked = rng.choice(len(contests.texts), size=PICK_BATCH, replace=False)
        batch = _score(model, contests, ids, picked)
        worth = utility(batch.errors, batch.severity[:, None])
        first = torch.sigmoid(worth[..., 0] - worth[..., 1]).numpy()
        votes = torch.from_numpy(rng.binomial(JUDGES, first) / JUDGES).float()
        uniform = torch.from_numpy(rng.random((PICK_BATCH, PICK_BATCH, 2, 2))).float()
        foreign = -OTHER_PROMPT_COST - DEGRADATION_COST * batch.severity
        edge = worth[:, None, 0, :, None] - foreign[None, :, None, :]
        chosen = torch.stack([votes, 1 - votes], dim=-1)
        return choice_loss(batch, chosen, uniform < torch.sigmoid(edge))

    config = LoopConfig(steps=PICK_STEPS, lr=4e-4, ema=0.99)
    facts = train_network("tiny-pickscore", model, loss_of_step, config, work)
    scorer = clip_scorer(model, tokenizer)
    return model, {**facts, **exam.take("tiny-pickscore", scorer), **_choices(scorer, exam)}


def _choices(scorer: Scorer, exam: Exam) -> dict[str, float]:
    """Return how often a scorer says what one noisy judge chose, and how often the judge is right.

    Of pairs whose pictures differ clearly.
    """
    own = answers(scorer, exam.pairs)
    worth = utility(exam.pairs.errors, exam.pairs.severity)
    rng = np.random.default_rng([PICK_STREAM, 10**6])
    first = rng.random(len(worth)) < 1 / (1 + np.exp(worth[:, 1] - worth[:, 0]))
    told = np.abs(worth[:, 0] - worth[:, 1]) > 0.5
    said, better = own[:, 0] > own[:, 1], worth[:, 0] > worth[:, 1]
    return {
        "held_out_choices": round(float((said == first).mean()), 4),
        "judge_agrees_with_truth": round(float((first == better)[told].mean()), 4),
    }


def train_hpsv2(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    exam: Exam,
    work: Path,
) -> tuple[CLIPModel, dict[str, Any]]:
    """Train on ranks; the facts hold figures over pictures it never saw."""
    torch.manual_seed(HPS_STREAM)
    contests = make_contests(RANKED, PROMPTS, HPS_STREAM, work / "contests.npy", vae, THROUGH_VAE)
    ids = _ids(tokenizer, contests)
    model = _start(clip, contests, ids, vision_layers=3, vision_neurons=256, text_neurons=256)

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([HPS_STREAM, step])
        picked = rng.choice(len(contests.texts), size=HPS_BATCH, replace=False)
        return rank_loss(_score(model, contests, ids, picked))

    config = LoopConfig(steps=HPS_STEPS, lr=5e-4, ema=0.99)
    facts = train_network("tiny-hpsv2", model, loss_of_step, config, work)
    return model, {**facts, **exam.take("tiny-hpsv2", clip_scorer(model, tokenizer))}
