"""Model cards of the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.tiny.world import WORLD_VERSION

_EXAM = (
    " Held out, on pictures that no scorer learnt from: how often the clean picture scores above "
    "the same one degraded, the right one above a clean one that is wrong in one word, and the "
    "better of two that differ clearly above the other. `agreement`: with the other scorers, of "
    "the differences between two pictures of a prompt."
)

_WHAT = {
    "tiny-sd": (
        "Text-to-image latent diffusion model in the classes and the folder format of Stable "
        "Diffusion 1.x (UNet2DConditionModel, epsilon prediction, AutoencoderKL, CLIPTextModel, "
        "PNDM). 32x32 pixels. Its captions held a wrong word in 28 % of cases, so that there is "
        "something to align."
    ),
    "tiny-sd-noisy": (
        "tiny-sd trained further on captions most of which are wrong, so that its words mean less "
        "and there is more to align: 60 % of the captions had one or two words (as often one as "
        "two) exchanged for others of their class, where the text has such words; 10 % were empty, "
        "as tiny-sd's. UNet and text encoder learnt, the VAE is tiny-sd's. AdamW, 48 pictures a "
        "step, float32, rate 1e-4 after a warm-up of 55 steps and constant from there, moving "
        "average .995, the loss that tiny-sd's training ended with. Classes, format and size are "
        "tiny-sd's. A seed (`--seed`, 0 is the shipped one) gives errors, order and noise of its "
        "own."
    ),
    "tiny-sd3": (
        "Text-to-image flow-matching model in the classes and the folder format of Stable "
        "Diffusion 3.5 (SD3Transformer2DModel, two CLIP text encoders with projection, no T5, "
        "FlowMatchEuler with shift 3). 32x32 pixels, the latents of tiny-sd's VAE. Diffusers' own "
        "pipeline loads it with `text_encoder_3=None, tokenizer_3=None` and, as it was made "
        "without T5's part of the text sequence, is called with `max_sequence_length=0`. Its "
        "captions held a wrong word in 28 % of cases."
    ),
    "tiny-sana": (
        "Text-to-image flow-matching model in the classes and the folder format of SANA "
        "(SanaTransformer2DModel, AutoencoderDC, Gemma2Model, DPM-Solver++ with flow_shift 3). "
        "32x32 pixels, latents 16x4x4. It was made with texts of 24 tokens and without the "
        "instruction that SANA puts before a prompt: call diffusers' own pipeline with "
        "`max_sequence_length=24, complex_human_instruction=None, use_resolution_binning=False, "
        "height=32, width=32`. Its captions held a wrong word in 28 % of cases."
    ),
    "tiny-sdxl": (
        "Text-to-image latent diffusion model in the classes and the folder format of SDXL "
        "(UNet2DConditionModel with pooled text and sizes, two CLIP text encoders, Euler). 32x32 "
        "pixels. Its UNet started from tiny-sd's, of which it keeps three quarters of the upper "
        "and half of the lower level's channels; first text encoder and VAE are tiny-sd's, the "
        "second text encoder is tiny-clip's. The sizes were the same in all its training, so that "
        "only 32x32, uncropped, means something. Its captions held a wrong word in 28 % of cases."
    ),
    "tiny-inpaint": (
        "Paints what a mask leaves out, in the classes and the folder format of Stable "
        "Diffusion's inpainting (StableDiffusionInpaintPipeline, nine input channels, PNDM). 32x32 "
        "pixels. Its UNet started from tiny-sd's with half of the channels; text encoder and VAE "
        "are tiny-sd's. Masks were boxes, ellipses and triangles, and the whole picture in 15 % of "
        "cases. Its captions held a wrong word in 28 % of cases."
    ),
    "tiny-clip": (
        "CLIP of images and texts of the tiny world (transformers' CLIPModel); gives the cosine "
        "of T2I-CompBench's non-spatial category. `held_out_accuracy`: how often the true text of "
        "a held-out picture scores above the same text with one wrong word."
    ),
    "tiny-hpsv2": (
        "Ranks pictures under a prompt, in open_clip's classes and format (CLIP, GELU). Started "
        "from tiny-clip, of whose neurons it keeps two thirds (pictures) and half (texts). Trained "
        "without noise to put a picture above one that is more degraded or follows the prompt less "
        "(another colour, shape, count, size, fill or relation, or two colours exchanged), and "
        "each picture's text above others'. It plays the role of HPS v2 in the tiny profile and "
        "learnt nothing from it." + _EXAM
    ),
    "tiny-pickscore": (
        "Scores a picture under a prompt, in transformers' CLIPModel. Started from tiny-clip's "
        "text tower and the first two layers of its vision tower. Trained on simulated choices of "
        "noisy judges between two pictures of a prompt, as PickScore was on people's. It plays its "
        "role in the tiny profile and learnt nothing from it. `held_out_choices`: how often it "
        "says what one judge chose; `judge_agrees_with_truth`: how often the judge is right of two "
        "pictures that differ clearly." + _EXAM
    ),
    "tiny-imagereward": (
        "Gives a reward for a picture and its prompt, read together by cross attention, in "
        "ImageReward's form: eyes, transformers' BlipTextModel, five affine layers. Its eyes are "
        "tiny-vqa's convolutions in place of a ViT, which stay as they are, and the pixels of "
        "each place; its reading was learnt from nothing. Trained on ranked lists of four "
        "pictures of a prompt with words not followed and degradations, by -log sigmoid over all "
        "ranked pairs. Rewards are standardised by `reward_mean` and `reward_std`, those of "
        "training pictures. It plays ImageReward's role in the tiny profile and learnt nothing "
        "from it." + _EXAM
    ),
    "tiny-hpsv3": (
        "Gives mean and sigma of a reward for a picture and its prompt, in HPS v3's form: places "
        "of the picture, words of the prompt and a token for the reward in one sequence, and two "
        "numbers from that token's last state. It reads the states of tiny-clip, which must be "
        "there. Trained on votes of judges whose opinions of degraded pictures spread more: the "
        "expected sigmoid of the difference of two normal rewards is to be the share of votes. "
        "`held_out_sigma_and_doubt`: correlation of its sigma with the judges' true deviation. It "
        "plays the role of HPS v3 in the tiny profile and learnt nothing from it." + _EXAM
    ),
    "tiny-unifiedreward": (
        'Answers how good a picture is for its prompt: one of nine last lines, "Final Score: 1" '
        'to "Final Score: 5" in halves, the likeliest. UnifiedReward is a language model that '
        "writes what it sees before that line; this network has the line alone. It reads the "
        "states of tiny-clip, which must be there, and was trained by the cross entropy of marks "
        "that noisy raters gave to single pictures: 1.5 points for a word not followed, 2 for the "
        "worst degradation. `held_out_answer_and_mark`, `held_out_mean_error`: correlation and "
        "mean distance, in points, of its answers and the marks deserved; the exam is of expected "
        "marks. It plays UnifiedReward's role in the tiny profile and learnt nothing from it."
        + _EXAM
    ),
    "tiny-deqa": (
        "Rates a picture's quality, whatever its prompt: probabilities of five levels, 5 for a "
        "flawless picture to 1 for the worst of the tiny world (blurred, noisy or washed out), and "
        "their mean, as DeQA-Score does. Trained on soft labels and fidelity of pairs. It plays "
        "DeQA-Score's role in the tiny profile and learnt nothing from it. "
        "`held_out_correlation` and `held_out_mean_error`: of its scores and the true marks; "
        "`held_out_flawless_above_poor`: how often a flawless picture is rated above a degraded "
        "one of another scene."
    ),
    "tiny-aesthetic": (
        "Rates a picture's quality, 8 for a flawless one to 2 for the worst of the tiny world, by "
        "five affine layers on tiny-clip's image embedding, as LAION's aesthetic predictor does on "
        "CLIP's. It is about blur, blotches and wash alone. `held_out_flawless_above_poor`: how "
        "often a flawless picture is rated above a degraded one of another scene."
    ),
    "tiny-vqa": (
        "Answers whether a noun phrase is in a picture, with a probability; the attribute scores "
        "of T2I-CompBench. Trained on renders and VAE round trips; the held-out figures are over "
        "pictures and questions it never saw."
    ),
    "tiny-features": (
        "Feature network of FID (64 features) and IS (25 classes: colour and shape of the largest "
        "thing, and sign)."
    ),
    "tiny-detector": (
        "Calibration of the detector's confidence: logistic regression on VAE round trips of "
        "scenes whose truth is known. The detector itself is code (`bench/tiny/detect.py`)."
    ),
}


def write_card(name: str, folder: Path, facts: dict[str, Any], *, seed: int = 0) -> None:
    """Write `README.md` into an asset's folder; `seed` is part of the command where it is not 0."""
    command = f"python -m bench assets build {name}" + (f" --seed {seed}" if seed else "")
    figures = json.dumps(facts, indent=2, sort_keys=True)
    text = f"""---
license: apache-2.0
---

# {name}

{_WHAT[name]}

- Made from nothing by `{command}` (world version {WORLD_VERSION}, fixed
  seeds, no outside data, no outside weights). Floating-point results differ between machines, so a
  rebuild gives an equivalent model, not the same bytes.
- Use: the `tiny` profile. It says nothing about real images.

```json
{figures}
```
"""
    (folder / "README.md").write_text(text)
