"""Rows of a table: what is measured, and, of a control row, what it must show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.api.errors import UsageError, did_you_mean
from bench.config import construct, mapping, sequence
from bench.config.files import Located
from bench.read.names import one_line
from bench.spec.placed import placed

RENDERS = ("exact", "through-vae")
SAMPLING = ("cfg_scale", "negative", "negative_prompt")
CHANGES = ("train", "method")
PAIRINGS = ("standard", "identity-degraded", "shuffled", "exchanged")
IMPROVES, NULL, PROBE, CEILING = "improves", "null", "probe", "ceiling"
CONTROLS = (IMPROVES, NULL, PROBE, CEILING)
TESTED = (IMPROVES, NULL)
"""Controls that pass or fail."""


@dataclass(frozen=True, kw_only=True)
class RowSpec:
    """One row. Exactly one of `checkpoint`, `method`, `weights` and `render` says where its images
    are from.

    Attributes:
        key: unique, what `--rows` takes.
        label: what the table shows.
        checkpoint: `"base"`: the profile's checkpoint, nothing trained.
        method: registry name or path of the method that trains the base.
        weights: published weights: hub id or path of a pipeline, a network or a LoRA; the last two
            are put into the base. `${NAME}` is taken from the environment.
        render: `"exact"` or `"through-vae"`: true scenes of the prompts, no model.
        start: what the method starts from in place of the base: another row's key, or weights as
            above.
        data: the profile's named data set the method is trained on; None takes the method's own.
        pairs: which pairs the method sees: `"standard"`, or a control in `PAIRINGS`: the degraded
            prompt is the prompt; in a random half of the pairs winner and loser exchange their
            images (`"shuffled"`), or all that makes them so, targets too (`"exchanged"`).
        seeds: the most training seeds, or noises of a row without training, the first of those
            asked for; None takes all. It is compared in those that the other row has too.
        sampling_seed: of the images; None takes the profile's.
        sampling: where the row is itself a way of sampling: changes of `SAMPLING` to the column's
            settings. Its note must say so, for all else of the column is alike.
        settings: the entry of the profile's `training.methods` that the row is trained by; None
            takes the method's own.
        changes: of the settings it is trained by, `{train: {steps: 540}, method: {...}}`: what an
            ablation varies; what `--set` gives still wins. Its label or note must say so.
        control: of a control row, which is left out unless asked for, what it must show:
            `"improves"`: better than `base` in each of `columns`, else no verdict there rests
            on anything; `"null"`: not better; `"probe"`: neither passes nor fails; `"ceiling"`.
        columns: of a control that is tested, where; the others are measured all the same. Of a
            row at another scale, those it is measured in.
        concerns: of a control that is tested, rows whose claims rest on it; empty takes those
            that `bench.report.controls.concerned_rows` finds.
        base: of a control that is tested, the row it is compared with; None takes the table's
            first base.
        rewards: of published weights, the back-ends that were their reward, and of a training those
            that chose or labelled data of others: what they measure is circular.
        note: what the row is for, shown below the table.
        scale_of: the row that this one is, sampled at another guidance scale for the table's
            planned claims (`bench.spec.scales`); it is shown with them alone.
        added: a row of `--method`, which no table file has.
    """

    key: str
    label: str
    checkpoint: str | None = None
    method: str | None = None
    render: str | None = None
    weights: str | None = None
    start: str | None = None
    data: str | None = None
    pairs: str = "standard"
    seeds: int | None = None
    sampling_seed: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    settings: str | None = None
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    control: str = ""
    columns: Sequence[str] = ()
    concerns: Sequence[str] = ()
    base: str | None = None
    rewards: Sequence[str] = ()
    note: str = ""
    scale_of: str | None = None
    added: bool = False

    def __post_init__(self) -> None:
        one_line(str(self.key), "the row key")
        one_line(str(self.label), "the row label")
        where = f"row {self.key!r}"
        origins = (self.checkpoint, self.method, self.weights, self.render)
        if sum(origin is not None for origin in origins) != 1:
            raise UsageError(
                f"{where} needs exactly one of checkpoint, method, weights and render."
            )
        if self.seeds is not None and (type(self.seeds) is not int or self.seeds < 1):
            raise UsageError(f"{where}: seeds is {self.seeds!r}; expected a number from 1.")
        if self.sampling_seed is not None and self.sampling_seed < 0:
            raise UsageError(f"{where}: sampling_seed is {self.sampling_seed}; expected from 0.")
        for key in self.sampling:
            if key not in SAMPLING:
                raise UsageError(
                    f"{where}: unknown key 'sampling.{key}'.{did_you_mean(key, SAMPLING)}"
                )
        if self.sampling and (self.render is not None or not self.note):
            raise UsageError(
                f"{where} is sampled in another way than the rest of its columns: it needs a note "
                "that says so, and cannot be rendered."
            )
        for part, values in mapping(self.changes, f"{where}: changes").items():
            if part not in CHANGES:
                raise UsageError(
                    f"{where}: unknown key 'changes.{part}'.{did_you_mean(part, CHANGES)}"
                )
            mapping(values, f"{where}: changes.{part}")
        for name in ("start", "data", "settings", "changes"):
            if getattr(self, name) not in (None, {}) and self.method is None:
                raise UsageError(f"{where} has {name} and no method to train; leave {name} out.")
        for name, value, known in (
            ("checkpoint", self.checkpoint, ("base",)),
            ("render", self.render, RENDERS),
            ("pairs", self.pairs, PAIRINGS),
        ):
            if value is not None and value not in known:
                raise UsageError(f"{where}: unknown {name} {value!r}.{did_you_mean(value, known)}")
        self._require_what_it_shows(where)

    def _require_what_it_shows(self, where: str) -> None:
        """Raise UsageError unless a control row says what it must show, and where."""
        if self.control and self.control not in CONTROLS:
            raise _wrong_control(where, None, self.control)
        tested = self.control in TESTED
        if tested and not sequence(self.columns, f"{where}: columns"):
            raise UsageError(
                f"{where} has control: {self.control} and no columns: it does not say where it "
                "must show that; add e.g. columns: [GE, CB]."
            )
        scaled = self.scale_of is not None
        for name in () if tested or scaled else ("columns", "concerns", "base"):
            if getattr(self, name):
                raise UsageError(
                    f"{where} has {name}, which only a control that is tested reads; leave it out, "
                    f"or say control: {IMPROVES} or {NULL}."
                )
        if tested and self.trained and self.sampling_seed is not None:
            raise UsageError(
                f"{where} has control: {self.control} and a sampling_seed of its own: its training "
                "seeds are not paired with those of the row it is compared with; leave it out."
            )

    @property
    def trained(self) -> bool:
        """Whether the row has training seeds."""
        return self.method is not None

    @property
    def origin(self) -> str | None:
        """What makes the row's samples, in a word."""
        return self.method or self.weights or self.render or self.checkpoint


def read_rows(cls: type[RowSpec], entries: Any, where: str) -> tuple[RowSpec, ...]:
    """Return a table's rows (SpecError where one is wrong).

    Args:
        cls: what they are read as.
        entries: as a file has them.
        where: the table, for messages.
    """
    found = []
    for number, entry in enumerate(sequence(entries, f"{where}: rows")):
        at = f"{where}, row {number + 1}"
        with placed(at, "rows", number):
            found.append(construct(cls, _with_null(mapping(entry, at), at), at))
    return tuple(found)


def _wrong_control(where: str, key: object, control: object) -> UsageError:
    row = where if key is None else f"{where}: row {key!r}"
    return UsageError(
        f"{row}: control is {control!r}, which does not say what the row must show; "
        f"expected one of {', '.join(CONTROLS)}.{did_you_mean(str(control), CONTROLS)}"
    )


def _with_null(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a row's entry with the word `null`, which YAML takes for nothing, as a word."""
    if "control" not in entry or isinstance(entry["control"], str):
        return entry
    if entry["control"] is not None:
        raise _wrong_control(where, entry.get("key"), entry["control"])
    if isinstance(entry, Located) and "control" in entry.blank:
        raise UsageError(f"{where}: control is empty; expected one of {', '.join(CONTROLS)}.")
    entry["control"] = NULL
    return entry
