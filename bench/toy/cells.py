"""From a request to the graph of all artifacts its cells need. No torch.

One step per reference (variant and seed) and one per (reference, method, N, seed). Which reference,
which pairs and which noise is used depends on the seed alone, so rows are paired seed by seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.method import Method
from bench.api.registry import METHODS
from bench.spec.methods import make_method, method_class, portable
from bench.spec.request import Request
from bench.spec.table import ColumnSpec, RowSpec
from bench.steps.cells import Cell
from bench.steps.graph import Graph
from bench.store import Source, Store, canonical_json, code_identity, source_of
from bench.toy.settings import ToySettings
from bench.toy.spec import PointRow, settings_of
from bench.toy.steps import ToyReferenceStep, ToyTrainingStep

TOY_VERSION = 2
"""Bumped when the toy's numbers may change."""
_BASE_SECONDS, _EXACT_SECONDS, _RUN_SECONDS = 2.5, 0.3, 0.6


class PointCells:
    """The cells of a table of points.

    Args:
        request: for it.
        store: not looked into: what these cells need is known without.

    Raises:
        UsageError: a method's settings do not fit it, or it has stages.
    """

    missing: tuple[PrerequisiteError, ...] = ()

    def __init__(self, request: Request, store: Store) -> None:
        self.graph = Graph()
        self._profile = settings_of(request)
        self._settings = self._profile.settings
        self._shared = _shared(self._settings)
        self._protocols = {c.key: _protocol(c, self._settings) for c in request.columns}
        # looked up once: finding a plug-in by name reads the installed packages' entry points
        self._methods: dict[tuple[str, bool, bool], tuple[dict[str, Any], Source]] = {}

    def cells(self, row: RowSpec, training_seed: int | None, noise_seed: int) -> Iterator[Cell]:
        """Yield a row's cells of one seed, adding what they need."""
        assert isinstance(row, PointRow)
        step = self._reference(row.reference, noise_seed)
        if row.method is not None:
            step = self._training(row, portable(row.method), noise_seed, step)
        for column, protocol in self._protocols.items():
            yield Cell(
                row=row.key,
                column=column,
                training_seed=training_seed,
                noise_seed=noise_seed,
                step=step,
                protocol=protocol,
            )

    def _reference(self, variant: str, seed: int) -> str:
        base = asdict(self._settings.base)
        step = ToyReferenceStep(
            name=f"{variant}-seed{seed}",
            identity={**self._shared, "variant": variant, "base": base, "seed": seed},
            settings=self._settings.shared(),
            variant=variant,
            seed=seed,
            label=f"{variant} reference, seed {seed}",
            seconds=_BASE_SECONDS if variant == "learned" else _EXACT_SECONDS,
            bytes=600_000,
        )
        return self.graph.add(step)

    def _training(self, row: PointRow, target: str, seed: int, reference: str) -> str:
        identity, source = self._method(row, target)
        method_settings, lr = self._profile.of_row(row)
        finetune = self._settings.finetune
        finetune = finetune if lr is None else replace(finetune, lr=lr)
        upstream = {"reference": reference}
        step = ToyTrainingStep(
            name=f"{row.key}-seed{seed}"[:120],
            identity={
                **self._shared,
                "method": identity,
                "finetune": asdict(finetune),
                "pairs_per_class": row.pairs_per_class,
                "seed": seed,
                "upstream": upstream,
            },
            upstream=upstream,
            sources=(source,),
            settings=self._settings.shared(),
            finetune=finetune,
            method=target,
            method_settings=method_settings,
            pairs_per_class=row.pairs_per_class,
            seed=seed,
            label=f"{row.label}, seed {seed}",
            seconds=_RUN_SECONDS,
            bytes=400_000,
        )
        return self.graph.add(step)

    def _method(self, row: PointRow, target: str) -> tuple[dict[str, Any], Source]:
        """Return what of a row's method enters the identities of its trainings."""
        key = (target, row.tuned, row.added)
        if key not in self._methods:
            cls = method_class(target)
            made = make_method(cls, self._profile.of_row(row)[0])
            if not isinstance(made, Method):
                raise UsageError(f"{cls.name} has stages; the 2D toy trains methods of one stage.")
            code = METHODS.entry(target).target
            identity = {**code_identity(cls, code), "settings": made.config()}
            self._methods[key] = identity, source_of(cls, code)
        return self._methods[key]


def _shared(settings: ToySettings) -> dict[str, Any]:
    return {
        "version": TOY_VERSION,
        "ring": asdict(settings.ring),
        "schedule": [settings.timesteps, settings.beta_start, settings.beta_end],
        "sampling": asdict(settings.sampling),
    }


def _protocol(column: ColumnSpec, settings: ToySettings) -> dict[str, Any]:
    """Return what makes two numbers of a column comparable."""
    ring, sampling = settings.ring, settings.sampling
    return {
        "name": "toy",
        "suite": {
            "name": f"ring of {ring.classes} classes",
            "version": f"(radius {ring.radius:g}, std {ring.std:g}, noisy std "
            f"{ring.noisy_std:g}, labels flipped {ring.label_flip:g})",
            "prompts": ring.classes,
            "sha256": hashlib.sha256(canonical_json(asdict(ring)).encode("ascii")).hexdigest(),
        },
        "limit": None,
        "images_per_prompt": sampling.per_class,
        "generation": {
            "scheduler": "DDIM, eta 0",
            "scheduler_config": {
                "num_train_timesteps": settings.timesteps,
                "beta_start": settings.beta_start,
                "beta_end": settings.beta_end,
                "beta_schedule": "linear",
            },
            "steps": sampling.steps,
            "cfg_scale": 1.0,
            "height": 1,
            "width": 2,
            "dtype": "float32",
            "file_format": "safetensors",
            "negative_prompt": "",
            "seed_rule": "starting noise by seed, the same for all rows",
        },
        "evaluator": {
            "name": "toy",
            "version": 1,
            "metric": column.metric,
            "upstream": column.label,
        },
        "backends": {},
        "reference": None,
        "deviations": [],
    }
