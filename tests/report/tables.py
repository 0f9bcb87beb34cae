"""Synthetic measured tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.api.estimate import Estimate
from bench.report.model import CellData, ImageValue, TableData
from bench.stats import assign_blocks, clustered_mean, combine

TAGS = ("colors", "counting")
PROTOCOL: Mapping[str, Any] = {
    "name": "micro",
    "suite": {"name": "suite", "version": "1", "prompts": 12, "sha256": "ab" * 32},
    "limit": None,
    "images_per_prompt": 2,
    "generation": {
        "scheduler": "default",
        "scheduler_config": {},
        "steps": 2,
        "cfg_scale": 2.0,
        "height": 8,
        "width": 8,
        "dtype": "float32",
        "negative_prompt": "",
        "seed_rule": "per-image",
        "file_format": "png",
    },
    "evaluator": {"name": "geneval", "version": 1, "upstream": "u", "metric": "overall"},
    "backends": {"detector": {"backend": "toy", "version": 1}},
    "reference": None,
    "deviations": [],
}


def images(row: str, shift: float, seed: int, prompts: int = 12) -> tuple[ImageValue, ...]:
    """Values of two images for each of `prompts` prompts in two tasks."""
    random = np.random.default_rng(11)
    own = np.random.default_rng([seed, *row.encode()])
    found = []
    for number in range(prompts):
        level = random.random()
        for ordinal in range(2):
            value = 0.5 * level + 0.05 * own.random() + shift
            found.append(
                ImageValue(
                    prompt_id=f"p{number:02d}",
                    ordinal=ordinal,
                    tag=TAGS[number % 2],
                    value=float(value),
                )
            )
    return tuple(found)


def mean_cell(row: str, seed: int | None, shift: float, **changes: Any) -> CellData:
    """A measured cell of the column GE."""
    values = images(row, shift, 0 if seed is None else seed)
    estimate = clustered_mean(
        [v.value for v in values], [v.prompt_id for v in values], [v.tag for v in values]
    )
    cell = CellData(
        row=row,
        column="GE",
        training_seed=seed,
        noise_seed=0,
        state="measured",
        estimate=estimate,
        parts={"colors": Estimate(value=0.5, n=12, clusters=6)},
        protocol=PROTOCOL,
        provenance={"artifacts": {"scores": f"scores/{row}"}, "commit": "c" * 40},
        values=values,
    )
    return replace(cell, **changes)


def set_cell(row: str, seed: int | None, value: float, **changes: Any) -> CellData:
    """A measured cell of the column FID, with leave-out values."""
    prompts = [f"p{number:02d}" for number in range(12) for _ in range(2)]
    blocks = assign_blocks(prompts)
    random = np.random.default_rng(0 if seed is None else seed)
    without = tuple(float(value + 0.1 * x) for x in random.standard_normal(int(blocks.max()) + 1))
    sizes = tuple(int(x) for x in np.bincount(blocks))
    estimate = combine(value, without, sizes).estimate(clusters=12)
    cell = CellData(
        row=row,
        column="FID",
        training_seed=seed,
        noise_seed=0,
        state="measured",
        estimate=replace(estimate, leave_out=without, block_sizes=sizes),
        protocol={**PROTOCOL, "evaluator": {**PROTOCOL["evaluator"], "name": "fid"}},
        provenance={"artifacts": {"scores": f"scores/{row}-fid"}, "commit": "c" * 40},
    )
    return replace(cell, **changes)


def row(key: str, **changes: Any) -> dict[str, Any]:
    base = {"key": key, "label": f"+ {key}", "checkpoint": None, "method": key, "render": None}
    rest = {
        "pairs": "standard",
        "sampling_seed": None,
        "control": False,
        "note": "",
        "added": False,
    }
    return {**base, **rest, "added": False, **changes}


ROWS = (row("base", label="base", checkpoint="base", method=None), row("dpo"), row("ddspo"))
COLUMNS = (
    {
        "key": "GE",
        "label": "GenEval",
        "evaluator": "geneval",
        "metric": "overall",
        "higher_is_better": True,
        "decimals": 4,
        "per_image": "correct",
        "range": [0.0, 1.0],
    },
    {
        "key": "FID",
        "label": "FID",
        "evaluator": "fid",
        "metric": "fid",
        "higher_is_better": False,
        "decimals": 2,
        "per_image": None,
        "range": [0.0, None],
    },
)


def table(
    *,
    seeds: Sequence[int] = (0, 1, 2),
    gain: Mapping[str, float] | None = None,
    **changes: Any,
) -> TableData:
    """A table of three rows and two columns; `gain` is each row's shift in GE."""
    gains = {"dpo": 0.05, "ddspo": 0.1, **(gain or {})}
    cells = [mean_cell("base", None, 0.0), set_cell("base", None, 10.0)]
    for key in ("dpo", "ddspo"):
        for seed in seeds:
            cells.append(mean_cell(key, seed, gains[key] + 0.001 * seed))
            cells.append(set_cell(key, seed, 10.0 - 10 * gains[key] + 0.01 * seed * len(key)))
    data = TableData(
        table="1a",
        title="Table 1a: a synthetic table with a title that is longer than eighty columns wide",
        source="nowhere",
        profile={
            "name": "micro",
            "title": "micro",
            "protocol": "micro",
            "checkpoint": "toy",
            "overrides": [],
        },
        orientation=True,
        limit=None,
        seeds=tuple(seeds),
        rows=ROWS,
        columns=COLUMNS,
        claims=(
            {"better": "ddspo", "worse": "dpo", "column": "GE", "circular": False},
            {"better": "dpo", "worse": "base", "column": "GE", "circular": False},
            {"better": "ddspo", "worse": "dpo", "column": "FID", "circular": False},
        ),
        footnotes={"one": "Quoted from elsewhere."},
        published={
            "base": {
                "GE": {"value": 0.4245, "source": "Paper", "quoted": False, "footnote": None},
                "FID": {"value": 13.05, "source": "Paper", "quoted": True, "footnote": "one"},
            },
            "ddspo": {
                "GE": {"value": 0.5045, "source": "Paper", "quoted": False, "footnote": None}
            },
        },
        cells=tuple(cells),
        command=("run", "--table", "1a"),
    )
    return replace(data, **changes)
