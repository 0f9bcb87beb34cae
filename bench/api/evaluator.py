"""The evaluator contract: a model back-end that writes raw predictions, and pure rules over them.

    image set --Backend.predict--> Predictions (stored) --Evaluator.score--> records
    records --Evaluator.aggregate--> {metric: Estimate}

Scoring and aggregation never need a model: rules can be re-run from stored predictions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bench.api.errors import UsageError
from bench.api.estimate import Estimate
from bench.api.generation import ImageSet
from bench.api.prompts import Prompt, PromptSuite

if TYPE_CHECKING:
    import numpy as np

Record = dict[str, Any]
"""One JSON-able row: `prompt_id`, `ordinal`, `tag`, and values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """What a metric means.

    Attributes:
        name: unique in its evaluator, e.g. `"overall"`.
        unit: `"fraction"`, `"distance"`, ...
        higher_is_better: direction.
        range: smallest and largest possible value; None where unbounded.
    """

    name: str
    higher_is_better: bool
    unit: str = "fraction"
    range: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Raw model output for one image set, before any scoring rule.

    Attributes:
        records: one JSON-able mapping per image with at least `prompt_id` and `ordinal`.
        arrays: named float arrays whose first axis runs over the records (features, logits).
    """

    records: Sequence[Record]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


class PythonEnvironment(Protocol):
    """A Python environment beside this one; see `evaluators.isolated.environments`."""

    @property
    def name(self) -> str:
        """What it is asked for by."""

    @property
    def fix(self) -> str:
        """The command that builds it."""

    def python(self) -> Path:
        """Return its interpreter.

        Raises:
            PrerequisiteError: it is not on this machine.
        """


class Backend(ABC):
    """A model that looks at images and writes raw predictions.

    Attributes:
        name: unique, e.g. `"tiny-detector"`.
        version: bumped whenever its predictions may change.
        verified: `"rules"`, `"random-weights"` or `"real-weights"`: how far its output was
            checked against the original implementation's.
        verified_for: by evaluator name, the same where what that evaluator reads was checked less.
        hub_models: hub ids of the models it loads; `bench assets fetch` gets them.
        other_weights: names of weights it loads that are not on the hub, as the registry of
            weights (`bench/assets/weights.yaml`) has them; likewise.
        batches_of: what a batch of `batch_size` is cut from, in record order, where what it says of
            an image depends on that batch alone: `"images"`, all of them, or `"asked"`, those of
            prompts it is asked something of. Then parts of a set may be looked at in several
            places at once. `""` (default): on other images too, such as all of a prompt.
        device: where its model runs; set by who runs it, None picks a GPU where there is one.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    verified: ClassVar[str] = "rules"
    verified_for: ClassVar[Mapping[str, str]] = {}
    hub_models: ClassVar[tuple[str, ...]] = ()
    other_weights: ClassVar[tuple[str, ...]] = ()
    batches_of: ClassVar[str] = ""
    device: str | None = None

    @property
    def environment(self) -> PythonEnvironment | None:
        """The Python environment its model runs in; None (default) is this one."""
        return None

    def identity(self) -> dict[str, Any]:
        """Return what can change the predictions; override to add weights hashes."""
        return {"backend": self.name, "version": self.version}

    def self_check(self) -> None:  # noqa: B027 (looking is optional)
        """Look at pictures of known content before anything is reported (default: none).

        A back-end that can be wrong in silence (another class list, weights that did not load,
        channels exchanged) overrides it; see `evaluators.sentinel`.

        Raises:
            SentinelError: it does not see what is there.
        """

    def unfit_for(self, evaluator: str) -> str:
        """Return why an evaluator cannot be measured with it as it is on this machine, or nothing.

        A cell is then `n/a` with this reason, where the same role serves other evaluators well
        (FID's network without its classifier).
        """
        return ""

    def unfit_for_prompts(self, evaluator: str, suite: PromptSuite) -> str:
        """Return why an evaluator cannot be measured with it on these prompts, or nothing.

        What it is asked for there and does not know would be scored as not found.
        """
        return ""

    @abstractmethod
    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield, in record order of `images`, a JSON record and the image's arrays (no batch axis).

        Args:
            images: a complete image set.
            queries: per prompt id, the texts to ask of its images (questions, captions);
                empty for back-ends that ask nothing.
            batch_size: images per forward; never changes the predictions beyond rounding.
        """


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """The evaluator's card.

    Attributes:
        name: registry name.
        version: integer, bumped when its numbers may change.
        metrics: the metrics `aggregate` returns; the first is the headline.
        backends: roles this evaluator needs (`"detector"`, `"vqa"`, `"clip"`, `"features"`).
        needs_reference: whether `aggregate` compares with a reference image set (FID).
        upstream: repository@commit of the protocol it follows.
        headline_varies: which of the metrics `aggregate` returns depends on what was measured
            (scorer version, prompt set); the first one returned is then the headline.
    """

    name: str
    version: int
    metrics: tuple[MetricSpec, ...]
    backends: tuple[str, ...]
    upstream: str
    needs_reference: bool = False
    headline_varies: bool = False


class StoredReference(Protocol):
    """Statistics of a reference set in a file: what a distribution metric compares with."""

    @property
    def name(self) -> str:
        """What it is asked for by."""
        ...

    @property
    def images(self) -> int:
        """How many images it has."""
        ...

    @property
    def backend(self) -> Mapping[str, Any]:
        """Identity of the back-end that made its features."""
        ...

    def about(self) -> dict[str, Any]:
        """Return what it is, JSON-able."""
        ...

    def predictions(self) -> Predictions:
        """Return what `aggregate` takes as the reference of its role."""
        ...

    def require_backend(self, measured: Mapping[str, Any]) -> None:
        """Raise ProtocolError where the measured features are another back-end's."""
        ...

    def require_counts(self, measured: int | None) -> None:
        """Raise ProtocolError where a number of images is not its protocol's."""
        ...


class Evaluator(ABC):
    """A metric: which prompts, what to ask the back-ends, and pure scoring rules.

    Attributes:
        spec: its card.
        pairwise: whether it compares two systems' images of the same prompts, `--images` with
            `--versus`: its image sets then hold the pairs that `bench.votes.pairs` lays out.
    """

    spec: ClassVar[EvaluatorSpec]
    pairwise: ClassVar[bool] = False

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the texts back-end `role` is asked about images of `prompt` (default: none)."""
        return ()

    def wants(self, role: str, prompt: Prompt) -> bool:
        """Whether back-end `role` must look at images of `prompt` (default: yes)."""
        return True

    def open_reference(self, path: Path) -> StoredReference:
        """Read a stored reference (default: the evaluator takes none).

        Raises:
            UsageError: the evaluator takes none.
            CorruptArtifactError: the file is damaged.
        """
        raise UsageError(
            f"{self.spec.name} compares with no stored reference, such as {path.stem!r}; leave "
            "it out."
        )

    @abstractmethod
    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Turn predictions by role into one record per image. Pure."""

    @abstractmethod
    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Turn records (and, for distribution metrics, features) into estimates. Pure.

        Raises:
            ValueError: a value is NaN or infinite, naming the record.
        """

    # Folders as the metric's authors lay them out. None of it changes a number of an image set:
    # an edit there makes no stored score stale.

    def official_suite(self) -> str | None:
        """Return the prompt suite meant where a folder names none (default: there is none)."""
        return None

    def read_folder(self, root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
        """Read images laid out as the metric's authors' scripts read them, whoever made them.

        By default a metric that asks nothing about prompts takes the pictures of any folder, each
        as a prompt without a text; others have no such layout. Override it where the authors have
        one, and where `score` reads the prompts' texts or meta.

        Args:
            root: the folder.
            suite: the prompts that must be there, all of them; None takes those that the folder
                names.

        Returns:
            A complete image set without generation settings.

        Raises:
            UsageError: no such folder, or the metric has no such layout.
            ProtocolError: the folder is not what the layout or the suite says.
            IncompleteError: images are missing, naming them.
        """
        asks = type(self).queries is not Evaluator.queries
        if asks or self.pairwise:
            raise UsageError(
                f"{self.spec.name} has no official folder layout. Describe the images in "
                f"{root / 'manifest.jsonl'}: one JSON object per image, with `file` and `prompt`."
            )
        from bench.api.folder import read_flat  # slow to import, and needed by few

        return read_flat(root, suite=suite)

    def as_stored(self) -> bool:
        """Return whether photographs are measured as their pixels are stored (default: upright).

        An EXIF turn is undone by what shows a photograph, not by the programs whose published
        numbers FID and its kin are compared with.
        """
        return False

    def complete_prompts(self, images: ImageSet) -> ImageSet:
        """Return the image set with what its prompts lack in their meta (default: as it is).

        Raises:
            PrerequisiteError: what must be known about the prompts is not known here.
            UsageError: it must be written into the prompts' meta.
        """
        return images

    def write_folder(self, images: ImageSet, root: Path, *, previews: bool = False) -> None:
        """Write a complete image set as the metric's authors' scripts read it.

        Args:
            images: the image set.
            root: a folder that does not exist; it appears when it is whole.
            previews: write what only people look at, too (GenEval's grid.png).

        Raises:
            UsageError: the metric has no such layout, or the prompts have no place in it.
            IncompleteError: images are missing, naming them.
            StoreError: `root` exists, or cannot be written.
        """
        raise UsageError(f"{self.spec.name} has no official folder layout to write.")

    def official_results(
        self,
        suite: PromptSuite,
        predictions: Mapping[str, Predictions],
        records: Sequence[Record],
        *,
        root: Path,
    ) -> Mapping[str, str]:
        """Return the result files of the metric's authors' scripts (default: none).

        Args:
            suite: the prompts.
            predictions: what the records were scored from, by role.
            records: what `score` returned.
            root: where `write_folder` puts the images.

        Returns:
            The text of each file by its path below `root`.

        Raises:
            IncompleteError: an image has no record, naming it.
            UsageError: a prompt has no place in the layout.
        """
        return {}
