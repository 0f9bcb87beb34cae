"""tiny-inpaint on the whole picture: `python benchmarks/inpaint_whole.py FOLDER`.

Writes two pictures of every validation prompt, all of it painted, with the manifest that
`bench score --evaluator geneval --images FOLDER --layout manifest` reads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image

from bench.tiny.assets import path_of
from bench.tiny.suites import geneval_tiny

STEPS, CFG, BATCH, PER_PROMPT = 12, 3.0, 36, 2


def main() -> None:
    """Paint."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionInpaintPipeline

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(
        path_of("tiny-inpaint"), torch_dtype=torch.float32, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    prompts = list(geneval_tiny("validation"))
    generator = torch.Generator().manual_seed(0)
    blank, mask = Image.new("RGB", (32, 32), (235, 235, 235)), Image.new("L", (32, 32), 255)
    lines = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        for ordinal in range(PER_PROMPT):
            pictures = pipeline(
                prompt=[p.text for p in part], image=[blank] * len(part),
                mask_image=[mask] * len(part), height=32, width=32, num_inference_steps=STEPS,
                guidance_scale=CFG, generator=generator,
            ).images  # fmt: skip
            for prompt, picture in zip(part, pictures, strict=True):
                name = f"{prompt.id}-{ordinal}.png".replace("/", "_")
                picture.save(folder / name)
                told = prompt.to_json()
                lines.append(
                    {"file": name, "prompt": prompt.text, "prompt_id": prompt.id,
                     "ordinal": ordinal, "tag": prompt.tag, "meta": told["meta"]}
                )  # fmt: skip
    (folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
