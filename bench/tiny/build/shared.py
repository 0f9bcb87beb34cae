"""What is made once and used by several of the world's assets, each kept where it is resumed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC, AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPModel, CLIPTokenizer

from bench.api.errors import PrerequisiteError
from bench.tiny.assets import FIX, folder_sha256, weights_folder
from bench.tiny.build.clip import train_clip
from bench.tiny.build.exam import Exam
from bench.tiny.build.heads import ROUND_TRIPS, Truths, load_truths, round_trip
from bench.tiny.build.sana import train_autoencoder
from bench.tiny.build.scenes_cache import SceneSet, load_scenes
from bench.tiny.build.sd import encode_scenes
from bench.tiny.build.tokenizer import build_tokenizer
from bench.tiny.build.vae import train_vae

log = logging.getLogger("bench.assets")
SCENES = 40000
SEED = 0


@dataclass(frozen=True)
class Recipe:
    """What is made once and used by several assets.

    Attributes:
        work: scenes and states.
        out: finished assets, of which some are what others start from.
        seed: of the assets in SEEDED.
    """

    work: Path
    out: Path
    seed: int = 0

    @cached_property
    def scenes(self) -> SceneSet:
        """The rendered training scenes."""
        return load_scenes(self.work, SCENES, SEED)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        """The world's tokenizer."""
        return build_tokenizer()

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The trained VAE."""
        folder = self._once("vae", lambda: train_vae(self.scenes, self.work / "vae"))
        return AutoencoderKL.from_pretrained(folder)

    @cached_property
    def latents(self) -> np.ndarray:
        """Scaled latents of the training scenes."""
        return encode_scenes(self.vae, self.scenes, self.work / "latents-0.npy")

    @cached_property
    def autoencoder(self) -> AutoencoderDC:
        """The trained deep-compression autoencoder of tiny-sana."""
        folder = self._once(
            "autoencoder", lambda: train_autoencoder(self.scenes, self.work / "autoencoder")
        )
        return AutoencoderDC.from_pretrained(folder)

    @cached_property
    def text_start(self) -> CLIPModel:
        """A short contrastive run: where the base model's text encoder starts."""
        folder = self._once(
            "clip", lambda: train_clip(self.scenes, self.tokenizer, self.work / "clip")
        )
        return CLIPModel.from_pretrained(folder)

    @cached_property
    def truths(self) -> Truths:
        """Exact scenes with pictures and VAE round trips."""
        again = round_trip(self.vae, self.latents[:ROUND_TRIPS], self.work / "round-trips.npy")
        return load_truths(self.scenes, SEED, again)

    def finished(self, name: str) -> Path:
        """Return the folder of a finished asset: among those being made, else the shipped one.

        Raises:
            PrerequisiteError: it is at neither place.
        """
        if (self.out / name).is_dir():
            return self.out / name
        shipped = weights_folder() / name
        if not shipped.is_dir():
            raise PrerequisiteError(
                f"{name}, which the asset starts from, is neither in {self.out} nor at {shipped}",
                fix=f"{FIX} {name}",
            )
        log.info("%s: the shipped one, for there is none in %s", name, self.out)
        return shipped

    @cached_property
    def finished_sd(self) -> StableDiffusionPipeline:
        """The finished tiny-sd; whoever trains a part of it, trains a copy."""
        return StableDiffusionPipeline.from_pretrained(
            self.finished("tiny-sd"), dtype=torch.float32, safety_checker=None
        )

    @cached_property
    def finished_sd_latents(self) -> np.ndarray:
        """Scaled latents of the training scenes, by the finished tiny-sd's VAE."""
        name = f"latents-{folder_sha256(self.finished('tiny-sd') / 'vae')[:12]}.npy"
        return encode_scenes(self.finished_sd.vae, self.scenes, self.work / name)

    @cached_property
    def exam(self) -> Exam:
        """What every scorer is asked."""
        return Exam(self.work_from("exam", "tiny-sd"), self.finished_sd.vae)

    def work_from(self, name: str, *starts: str) -> Path:
        """Return where an asset keeps its state; it depends on the bytes it starts from."""
        joined = "".join(folder_sha256(self.finished(start)) for start in starts)
        return self.work / f"{name}-{hashlib.sha256(joined.encode()).hexdigest()[:12]}"

    def hashes(self, *names: str) -> dict[str, str]:
        """Return what the finished assets hash to that one starts from."""
        return {name: folder_sha256(self.finished(name)) for name in names}

    def _once(self, name: str, train: Callable[[], tuple[Any, dict[str, Any]]]) -> Path:
        folder = self.work / name / "out"
        if not (folder / "facts.json").is_file():
            model, facts = train()
            model.save_pretrained(folder)
            (folder / "facts.json").write_text(json.dumps(facts))
        return folder

    def facts(self, name: str) -> dict[str, Any]:
        """Return what was recorded when an intermediate network was trained."""
        data: dict[str, Any] = json.loads((self.work / name / "out" / "facts.json").read_text())
        return data
