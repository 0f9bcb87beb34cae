"""How one column's images are made: prompts, images per prompt, sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError, did_you_mean
from bench.api.generation import GenerationSpec
from bench.api.prompts import PromptSuite
from bench.api.registry import SUITES
from bench.config import construct, expand, mapping, sequence

FILE_FORMATS = ("png", "jpeg75")
DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class SuiteSpec:
    """Where a prompt suite comes from.

    Attributes:
        function: registry name, or `"module:function"`, of what returns a PromptSuite.
        options: its keyword arguments; `${NAME}` in a text is taken from the environment.
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> PromptSuite:
        """Return the prompts.

        Raises:
            PrerequisiteError: files of the user's are needed and are not there.
            UsageError: there is no such function, it takes no such option, or it returns
                something else.
        """
        function = SUITES.load(self.function)
        options = expand(self.options, f"prompt suite {self.function}")
        try:
            suite = function(**options)
        except TypeError as error:
            raise UsageError(f"prompt suite {self.function}: {error}") from error
        if not isinstance(suite, PromptSuite):
            raise UsageError(
                f"{self.function} returned a {type(suite).__name__}; expected a PromptSuite."
            )
        return suite


@dataclass(frozen=True, kw_only=True)
class ColumnProtocol:
    """How a column's images are made.

    Attributes:
        suite: the prompts.
        images_per_prompt: images of each.
        generation: how they are sampled.
        deviations: in words, where this differs from what it is named after.
        reference: what a distribution metric compares with: images that are rendered, or named
            statistics that `bench assets build --fid-reference` stored; None where there is none.
        render_quality: how a ceiling row is rendered where a prompt leaves it open.
    """

    suite: SuiteSpec
    images_per_prompt: int
    generation: GenerationSpec
    deviations: tuple[str, ...] = ()
    reference: Reference | StoredName | None = None
    render_quality: str = "clean"

    def __post_init__(self) -> None:
        if not isinstance(self.images_per_prompt, int) or self.images_per_prompt < 1:
            raise UsageError(
                f"images_per_prompt is {self.images_per_prompt!r}; expected at least 1."
            )


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Reference images of a distribution metric: true scenes of prompts.

    Attributes:
        suite: the prompts; None takes the column's own.
        images_per_prompt: images of each.
        seed: of the rendering; far from the sampling seeds, so that a ceiling row does not
            render the very images it is compared with.
        quality: what is rendered where a prompt leaves it open.
    """

    suite: SuiteSpec | None = None
    images_per_prompt: int = 1
    seed: int = 1_000_000
    quality: str = "clean"


@dataclass(frozen=True, kw_only=True)
class StoredName:
    """The name of stored reference statistics; see `bench.steps.references`."""

    name: str


def read_suite(data: Any, where: str) -> SuiteSpec:
    """Read a suite (UsageError naming the key)."""
    return construct(SuiteSpec, data, where)


def read_generation(data: Any, where: str) -> GenerationSpec:
    """Read sampling settings.

    Raises:
        UsageError: an unknown or missing key, or a value that makes no sense.
    """
    spec = construct(GenerationSpec, data, where)
    for name, known in (("dtype", DTYPES), ("file_format", FILE_FORMATS)):
        value = getattr(spec, name)
        if value not in known:
            raise UsageError(f"{where}: unknown {name} {value!r}.{did_you_mean(str(value), known)}")
    for name in ("steps", "height", "width"):
        value = getattr(spec, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{where}: {name} is {value!r}; expected a whole number above 0.")
    return replace(spec, cfg_scale=float(spec.cfg_scale))


def read_protocol(data: Any, where: str) -> ColumnProtocol:
    """Read a column's protocol (UsageError naming the key)."""
    found = mapping(data, where)
    given: dict[str, Any] = {
        "suite": read_suite(found.pop("suite", None), f"{where}.suite"),
        "generation": read_generation(found.pop("generation", None), f"{where}.generation"),
        "deviations": tuple(sequence(found.pop("deviations", []), f"{where}.deviations")),
    }
    reference = found.pop("reference", None)
    if isinstance(reference, str):
        given["reference"] = StoredName(name=reference)
    elif reference is not None:
        entry = mapping(reference, f"{where}.reference")
        suite = entry.pop("suite", None)
        given["reference"] = construct(
            Reference,
            entry,
            f"{where}.reference",
            suite=None if suite is None else read_suite(suite, f"{where}.reference.suite"),
        )
    return construct(ColumnProtocol, found, where, **given)


def load_suite(spec: SuiteSpec, limit: int | None) -> PromptSuite:
    """Return the prompts, or a stratified, monotone subset of about `limit` of them.

    Raises:
        PrerequisiteError: files of the user's are not there, or hold no prompt.
        UsageError: as `SuiteSpec.load`.
    """
    suite = spec.load()
    if len(suite) == 0:
        raise PrerequisiteError(
            f"prompt suite {suite.name} is empty", fix="name a file that holds prompts"
        )
    return suite.limited(limit)
