"""HPS v2: 100 x cosine of image and prompt under the authors' fine-tuned CLIP.

The scorer's version is part of every metric's name: 2.0 and 2.1 are other networks on other
scales, and their numbers never to be compared.
Source: tgxs002/HPSv2@866735e:hpsv2/evaluation.py.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.api import (
    Estimate,
    EvaluatorSpec,
    ImageSet,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    ProtocolError,
    Record,
)
from bench.api.errors import unknown
from bench.read.folders import few
from bench.read.text import shown
from evaluators.records import column
from evaluators.rewards.hpsv2_folder import read_official
from evaluators.rewards.rules import RewardEvaluator, mean_of, mean_of_chunks

LOG = logging.getLogger(__name__)

ROLE = "hpsv2"
VERSIONS = ("v2.1", "v2.0", "tiny")
STYLES = ("anime", "concept-art", "paintings", "photo")
_BOUNDS = (-100.0, 100.0)


class HPSv2(RewardEvaluator):
    """The mean over all images, and each of the benchmark's styles the prompts' tags name.

    A style is the mean of the means of consecutive 80 images, as upstream computes it. The version
    is the back-end's: metrics are named after it, e.g. `v2.1` and `v2.1/anime`.
    """

    keep: ClassVar[tuple[str, ...]] = ("hps_version",)
    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="hpsv2",
        version=1,
        metrics=tuple(
            MetricSpec(name=name, higher_is_better=True, unit="100 x cosine", range=_BOUNDS)
            for version in VERSIONS
            for name in (version, *(f"{version}/{style}" for style in STYLES))
        ),
        backends=(ROLE,),
        upstream="tgxs002/HPSv2@866735ecaae999fa714bd9edfa05aa2672669ee3",
        headline_varies=True,
    )

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the prompt."""
        return (prompt.text,)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return the mean of all images and those of the styles, named after the version.

        Raises:
            ProtocolError: the records are of more than one version.
            UsageError: the version is unknown.
            ValueError: a score is NaN or infinite, naming the record; or there is none.
        """
        versions = sorted({record["hps_version"] for record in records})
        if len(versions) != 1:
            raise ProtocolError(
                f"scores of the HPS versions {', '.join(versions) or 'none'} together; expected "
                "those of one. Score each version on its own."
            )
        version = versions[0]
        if version not in VERSIONS:
            raise unknown("HPS version", version, VERSIONS)
        found = {version: mean_of(records, "score")}
        for style in STYLES:
            part = [record for record in records if record["tag"] == style]
            if part:
                value, _ = mean_of_chunks(column(part, "score"))
                found[f"{version}/{style}"] = _moved(mean_of(part, "score"), value)
        return found

    def official_suite(self) -> str:
        """Return the prompts of the benchmark."""
        return "hpdv2"

    def read_folder(self, root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
        """Read the benchmark's folders of styles; see `hpsv2_folder.read_official`."""
        return read_official(root, suite=suite)

    def complete_prompts(self, images: ImageSet) -> ImageSet:
        """Return the image set as it is; tags beside the styles' are said."""
        tags = [prompt.tag for prompt in images.suite]
        other = [tag for tag in tags if tag not in STYLES]
        if len(other) < len(tags) and other:
            LOG.warning(
                "%s: %d of %d prompts have tags that are no style (%s): they count in the mean of "
                "all, and in no style's; the styles are %s",
                *(shown(images.root), len(other), len(tags), few(sorted(map(repr, {*other})))),
                ", ".join(STYLES),
            )
        return images


def _moved(estimate: Estimate, value: float) -> Estimate:
    """Return the estimate with its interval around another value of the same quantity."""
    by = value - estimate.value
    low, high = (None if end is None else end + by for end in (estimate.low, estimate.high))
    return replace(estimate, value=value, low=low, high=high)
