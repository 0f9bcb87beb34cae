"""Your own metric with a back-end and a role of its own: how colourful images are.

    python -m bench validate examples/my_evaluator.py:ColourfulnessOfPixels
    P=examples/my_profile.yaml
    python -m bench validate examples/my_evaluator.py:Colourfulness --profile $P --trust
    python -m bench run --table examples/my_table.yaml --profile $P --trust

The back-end looks at images and writes what it saw; the evaluator turns that into a number by pure
rules, so that rules can change without looking again. The number is M3 of Hasler and Suesstrunk,
"Measuring colourfulness in natural images" (2003), eq. 4 to 7, of 8-bit sRGB.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from PIL import Image

from bench.api import (
    Backend,
    Estimate,
    Evaluator,
    EvaluatorSpec,
    ImageSet,
    MetricSpec,
    Predictions,
    PromptSuite,
    Record,
)

ROLE = "colours"


class ColourfulnessOfPixels(Backend):
    """Writes the colourfulness of each image, from its pixels alone."""

    name: ClassVar[str] = "colourfulness-of-pixels"
    version: ClassVar[int] = 1

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield a record with `colourfulness` for each image, and no arrays."""
        for image in images.records:
            with Image.open(images.root / image.path) as picture:
                r, g, b = np.asarray(picture.convert("RGB"), dtype=np.float64).transpose(2, 0, 1)
            red_green, yellow_blue = r - g, (r + g) / 2 - b
            spread = np.hypot(red_green.std(), yellow_blue.std())
            shift = np.hypot(red_green.mean(), yellow_blue.mean())
            record: Record = {"prompt_id": image.prompt_id, "ordinal": image.ordinal}
            yield record | {"colourfulness": float(spread + 0.3 * shift)}, {}


class Colourfulness(Evaluator):
    """The mean over all images."""

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="colourfulness",
        version=1,
        metrics=(MetricSpec(name="mean", higher_is_better=True, unit="M3", range=(0.0, None)),),
        backends=(ROLE,),
        upstream="Hasler and Suesstrunk 2003",
    )

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return a record per image, with its prompt's tag."""
        tags = {prompt.id: prompt.tag for prompt in suite}
        return [{**row, "tag": tags[row["prompt_id"]]} for row in predictions[ROLE].records]

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return the mean.

        Raises:
            ValueError: a value is not finite.
        """
        values = np.array([row["colourfulness"] for row in records])
        if not np.isfinite(values).all():
            raise ValueError("a colourfulness is not finite")
        return {"mean": Estimate(value=float(values.mean()), n=len(values))}
